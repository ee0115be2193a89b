//! LAMB (You et al. 2019, "Large Batch Optimization for Deep Learning", algorithm 2), as timm writes it.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Gradients, is_buffer};
use crate::{Error, Result};

/// Settings of [`Lamb`]; the learning rate comes with each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LambConfig {
    /// Share of the mean gradient kept from step to step.
    pub beta1: f64,
    /// Share of the mean squared gradient kept from step to step.
    pub beta2: f64,
    /// Added to the root of the mean squared gradient.
    pub eps: f64,
    /// Weight decay, added to the update as `weight_decay * parameter`.
    pub weight_decay: f64,
    /// Whether parameters of one axis (the norms' weights and every bias) decay too, and are scaled by their norm.
    pub decay_norm_and_bias: bool,
    /// Gradients with a greater norm, all together, are shortened to it.
    pub max_grad_norm: f64,
}

impl Default for LambConfig {
    /// timm's: 0.9 and 0.999, 1e-6, weight decay 0.01 but for norms and biases, gradients of a norm of 1 at most.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-6, weight_decay: 0.01, decay_norm_and_bias: false, max_grad_norm: 1.0 }
    }
}

impl LambConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key that is out of its range.
    pub fn check(&self) -> Result<()> {
        let wants = |ok: bool, key: &str, value: f64, range: &str| {
            if ok { Ok(()) } else { Err(Error::Invalid(format!("optimizer.{key} = {value} must be {range}"))) }
        };
        for (key, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            wants((0.0..1.0).contains(&value), key, value, "in [0, 1)")?;
        }
        for (key, value) in [("eps", self.eps), ("max_grad_norm", self.max_grad_norm)] {
            wants(value > 0.0 && value.is_finite(), key, value, "above 0")?;
        }
        let decay = self.weight_decay;
        wants(decay >= 0.0 && decay.is_finite(), "weight_decay", decay, "0 or more")
    }
}

#[derive(Debug)]
struct Slot {
    name: String,
    var: Var,
    weight_decay: f64,
    /// Means of the gradient and of its square; zeros at first.
    moments: [Tensor; 2],
}

/// LAMB: for each parameter `p` with gradient `g`, at step `t` from 1,
///
/// ```text
/// g  = g / max(1, |all gradients| / max_grad_norm)
/// m  = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g²
/// u  = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay p
/// p -= lr u |p| / |u|
/// ```
///
/// Where a parameter does not decay, the last ratio is 1; so it is where one of the norms is 0.
#[derive(Debug)]
pub struct Lamb {
    config: LambConfig,
    slots: Vec<Slot>,
    steps: u64,
}

impl Lamb {
    /// An optimizer of the named parameters; names of running statistics are left out.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn new(named: &[(String, Var)], config: LambConfig) -> Result<Self> {
        config.check()?;
        let slot = |(name, var): &(String, Var)| -> Result<Slot> {
            let decays = config.decay_norm_and_bias || var.rank() > 1;
            Ok(Slot {
                name: name.clone(),
                var: var.clone(),
                weight_decay: if decays { config.weight_decay } else { 0.0 },
                moments: [var.zeros_like()?.detach(), var.zeros_like()?.detach()],
            })
        };
        let slots = named.iter().filter(|(name, _)| !is_buffer(name)).map(slot).collect::<Result<_>>()?;
        Ok(Self { config, slots, steps: 0 })
    }

    /// The parameters in the order in which [`Lamb::step`] wants their gradients.
    pub fn parameters(&self) -> Vec<(String, Var)> {
        self.slots.iter().map(|s| (s.name.clone(), s.var.clone())).collect()
    }

    /// Takes one step with the gradients multiplied by `scale` (see [`Gradients::scale`]).
    ///
    /// # Errors
    /// When the gradients are not those of [`Lamb::parameters`].
    pub fn step(&mut self, gradients: &Gradients, scale: f64, lr: f64) -> Result<()> {
        let tensors = gradients.tensors();
        if tensors.len() != self.slots.len() {
            let (given, want) = (tensors.len(), self.slots.len());
            return Err(Error::Invalid(format!("optimizer: {given} gradients for {want} parameters")));
        }
        self.steps += 1;
        let c = self.config;
        // The norm comes with the mean over the batches, which `scale` may shorten further.
        let norm = gradients.norm()? * scale / gradients.scale();
        let scale = scale / (norm / c.max_grad_norm).max(1.0);
        let correction = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let (first, second) = (correction(c.beta1), correction(c.beta2).sqrt());
        for (slot, gradient) in self.slots.iter_mut().zip(tensors) {
            let Some(gradient) = gradient else { continue };
            // Out of the graph, or every step would keep the one before alive.
            let (p, g) = (slot.var.as_detached_tensor(), (gradient.detach() * scale)?);
            let m = ((&slot.moments[0] * c.beta1)? + (&g * (1.0 - c.beta1))?)?;
            let v = ((&slot.moments[1] * c.beta2)? + (g.sqr()? * (1.0 - c.beta2))?)?;
            let mut update = ((&m / first)? / ((v.sqrt()? / second)? + c.eps)?)?;
            slot.moments = [m, v];
            let mut rate = lr;
            if slot.weight_decay != 0.0 {
                update = (update + (&p * slot.weight_decay)?)?;
                let (weight, length) = (norm_of(&p)?, norm_of(&update)?);
                if weight > 0.0 && length > 0.0 {
                    rate *= weight / length;
                }
            }
            slot.var.set(&(p - (update * rate)?)?)?;
        }
        Ok(())
    }

    /// Counts a step without gradients.
    pub(super) fn skip(&mut self) {
        self.steps += 1;
    }

    /// Both moments by parameter name, under `moment1/` and `moment2/`; exact.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let parts =
            |slot: &Slot| [1, 2].map(|which| (format!("moment{which}/{}", slot.name), slot.moments[which - 1].clone()));
        self.slots.iter().flat_map(parts).collect()
    }

    /// Loads what [`Lamb::state`] gave after so many steps.
    ///
    /// # Errors
    /// When a moment is missing or has another shape.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>, steps: u64) -> Result<()> {
        for slot in &mut self.slots {
            for (which, moment) in slot.moments.iter_mut().enumerate() {
                let key = format!("moment{}/{}", which + 1, slot.name);
                let saved = state.get(&key).ok_or_else(|| Error::State(format!("{key} is missing")))?;
                if saved.shape() != slot.var.shape() {
                    let (saved, want) = (saved.dims(), slot.var.dims());
                    return Err(Error::State(format!("{key} has shape {saved:?}, the parameter has {want:?}")));
                }
                *moment = saved.to_dtype(slot.var.dtype())?.to_device(slot.var.device())?;
            }
        }
        self.steps = steps;
        Ok(())
    }
}

/// The Euclidean norm.
fn norm_of(t: &Tensor) -> Result<f64> {
    let sum = t.sqr()?.sum_all()?.to_device(&Device::Cpu)?;
    Ok(sum.to_dtype(DType::F64)?.to_scalar::<f64>()?.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// timm 1.0.31 on PyTorch 2.15, a matrix that decays and a vector that does not:
    ///
    /// ```python
    /// import torch
    /// from timm.optim import Lamb
    /// w = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 0.25]]))
    /// b = torch.nn.Parameter(torch.tensor([0.3, -0.1]))
    /// opt = Lamb([dict(params=[w], weight_decay=0.02), dict(params=[b], weight_decay=0.0)], lr=0.1)
    /// for t in range(4):
    ///     w.grad = torch.sin(torch.arange(4) + 1.5 * t).reshape(2, 2) * (3 if t % 2 else 0.2)
    ///     b.grad = torch.cos(torch.arange(2) + 1.5 * t) * (3 if t % 2 else 0.2)
    ///     opt.step()
    ///     print(["%.9g" % v for v in w.flatten().tolist() + b.tolist()])
    /// ```
    const TIMM: [[f64; 6]; 4] = [
        [0.997317016, -2.12878275, 0.364509761, 0.115184531, 0.200000495, -0.199999079],
        [0.866688907, -2.28626847, 0.380330265, 0.23605302, 0.119606331, -0.143008322],
        [0.719127059, -2.38331604, 0.480950803, 0.379120201, 0.119542196, -0.0834187046],
        [0.769538164, -2.17286897, 0.603979528, 0.317813694, 0.142624468, -0.0839243457],
    ];

    #[test]
    fn steps_equal_timm() {
        for dtype in [DType::F32, DType::F64] {
            let var = |values: &[f32], shape: &[usize]| {
                let t = Tensor::from_slice(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                Var::from_tensor(&t).unwrap()
            };
            let named = vec![
                ("w".to_string(), var(&[1.0, -2.0, 0.5, 0.25], &[2, 2])),
                ("b".to_string(), var(&[0.3, -0.1], &[2])),
            ];
            let config = LambConfig { weight_decay: 0.02, ..LambConfig::default() };
            let mut lamb = Lamb::new(&named, config).unwrap();
            for (t, want) in TIMM.iter().enumerate() {
                let factor = if t % 2 == 1 { 3.0 } else { 0.2 };
                let gradient = |f: fn(f64) -> f64, n: usize, shape: &[usize]| {
                    let values: Vec<f64> = (0..n).map(|i| factor * f(i as f64 + 1.5 * t as f64)).collect();
                    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
                };
                let (gw, gb) = (gradient(f64::sin, 4, &[2, 2]), gradient(f64::cos, 2, &[2]));
                let loss = (named[0].1.as_tensor() * gw).unwrap().sum_all().unwrap();
                let loss = (loss + (named[1].1.as_tensor() * gb).unwrap().sum_all().unwrap()).unwrap();
                let mut gradients = Gradients::new();
                gradients.add(&named, loss.backward().unwrap(), 1).unwrap();
                // A checkpoint between any two steps changes nothing.
                let saved = lamb.state().into_iter().collect();
                let steps = lamb.steps;
                lamb = Lamb::new(&named, config).unwrap();
                lamb.load_state(&saved, steps).unwrap();
                lamb.step(&gradients, 1.0, 0.1).unwrap();
                let got: Vec<f64> = named
                    .iter()
                    .flat_map(|(_, v)| v.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap())
                    .collect();
                for (got, want) in got.iter().zip(want) {
                    assert!((got - want).abs() < 1e-6, "{dtype:?} step {t}: {got} for {want}");
                }
            }
            let message = lamb.load_state(&BTreeMap::new(), 0).unwrap_err().to_string();
            assert!(message.contains("moment1/w"), "{message}");
        }
    }

    #[test]
    fn settings_out_of_range_are_named() {
        for (config, key) in [
            (LambConfig { beta2: 1.0, ..LambConfig::default() }, "beta2"),
            (LambConfig { max_grad_norm: 0.0, ..LambConfig::default() }, "max_grad_norm"),
        ] {
            assert!(config.check().unwrap_err().to_string().contains(key));
        }
    }
}
