//! AdamW (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2), as PyTorch writes it.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::Gradients;
use super::moments::{Adam, Moments, check};
use crate::Result;

/// Settings of [`AdamW`]; the learning rate comes with each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Share of the mean gradient kept from step to step.
    pub beta1: f64,
    /// Share of the mean squared gradient kept from step to step.
    pub beta2: f64,
    /// Added to the root of the mean squared gradient.
    pub eps: f64,
    /// Weight decay, times the learning rate taken off a parameter beside the gradient's step.
    pub weight_decay: f64,
    /// Whether parameters of one axis (the norms' weights and every bias) decay too.
    pub decay_norm_and_bias: bool,
}

impl Default for AdamWConfig {
    /// PyTorch's: 0.9 and 0.999, 1e-8, weight decay 0.01; norms and biases do not decay.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, decay_norm_and_bias: false }
    }
}

impl AdamWConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key that is out of its range.
    pub fn check(&self) -> Result<()> {
        check(self.adam(), self.weight_decay)
    }

    fn adam(&self) -> Adam {
        Adam { beta1: self.beta1, beta2: self.beta2, eps: self.eps }
    }
}

/// AdamW: for each parameter `p` with gradient `g`, at step `t` from 1,
///
/// ```text
/// p -= lr weight_decay p
/// m  = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g²
/// p -= lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)
/// ```
///
/// A parameter without gradient is left as it is, decay included.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    moments: Moments,
}

impl AdamW {
    /// An optimizer of the named parameters; names of running statistics are left out.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn new(named: &[(String, Var)], config: AdamWConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config, moments: Moments::new(named, config.weight_decay, config.decay_norm_and_bias)? })
    }

    /// Multiplies the learning rate of each parameter by a scale of its name; 1 where this is not called.
    pub fn set_lr_scales(&mut self, lr_scale: impl Fn(&str) -> f64) {
        self.moments.set_lr_scales(lr_scale);
    }

    /// The parameters in the order in which [`AdamW::step`] wants their gradients.
    pub fn parameters(&self) -> Vec<(String, Var)> {
        self.moments.parameters()
    }

    /// Takes one step with the gradients multiplied by `scale` (see [`Gradients::scale`]).
    ///
    /// # Errors
    /// When the gradients are not those of [`AdamW::parameters`].
    pub fn step(&mut self, gradients: &Gradients, scale: f64, lr: f64) -> Result<()> {
        self.moments.step(gradients, scale, self.config.adam(), |slot, update| {
            let lr = lr * slot.lr_scale;
            let p = (slot.var.as_detached_tensor() * (1.0 - lr * slot.weight_decay))?;
            Ok(slot.var.set(&(p - (update * lr)?)?)?)
        })
    }

    /// Counts a step without gradients.
    pub(super) fn skip(&mut self) {
        self.moments.steps += 1;
    }

    /// Both moments by parameter name, under `moment1/` and `moment2/`; exact.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.moments.state()
    }

    /// Loads what [`AdamW::state`] gave after so many steps.
    ///
    /// # Errors
    /// When a moment is missing or has another shape.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>, steps: u64) -> Result<()> {
        self.moments.load_state(state, steps)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    /// PyTorch 2.15, a matrix that decays and a vector that does not; with bf16 gradients on f32 parameters:
    ///
    /// ```python
    /// import torch
    /// for dtype in [torch.float32, torch.bfloat16]:
    ///     w = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 0.25]]))
    ///     b = torch.nn.Parameter(torch.tensor([0.3, -0.1]))
    ///     opt = torch.optim.AdamW([dict(params=[w], weight_decay=0.02), dict(params=[b], weight_decay=0.0)], lr=0.1)
    ///     for t in range(4):
    ///         factor = 3 if t % 2 else 0.2
    ///         w.grad = (torch.sin(torch.arange(4) + 1.5 * t).reshape(2, 2) * factor).to(dtype).float()
    ///         b.grad = (torch.cos(torch.arange(2) + 1.5 * t) * factor).to(dtype).float()
    ///         opt.step()
    ///         print(["%.9g" % v for v in w.flatten().tolist() + b.tolist()])
    /// ```
    const TORCH: [[[f64; 6]; 4]; 2] = [
        [
            [0.998000026, -2.09599996, 0.399000019, 0.149500042, 0.200000018, -0.199999988],
            [0.921590328, -2.17214775, 0.460125118, 0.22296676, 0.0998895019, -0.128669441],
            [0.861624956, -2.22434258, 0.517614186, 0.280749232, 0.0717849955, -0.0701442361],
            [0.866607964, -2.20578361, 0.527960598, 0.27433905, 0.111358196, -0.0726839378],
        ],
        [
            [0.998000026, -2.09599996, 0.399000019, 0.149500042, 0.200000018, -0.199999988],
            [0.921590388, -2.17213249, 0.460170209, 0.222968444, 0.0998922512, -0.128661364],
            [0.861627042, -2.22431993, 0.517654777, 0.280750751, 0.0718572736, -0.0701304823],
            [0.866580009, -2.20590901, 0.52810514, 0.274423063, 0.11146798, -0.0726053715],
        ],
    ];

    #[test]
    fn steps_equal_pytorch() {
        for (dtype, want) in [DType::F32, DType::BF16].into_iter().zip(TORCH) {
            let var = |values: &[f32], shape: &[usize]| {
                Var::from_tensor(&Tensor::from_slice(values, shape, &Device::Cpu).unwrap()).unwrap()
            };
            let named = vec![
                ("w".to_string(), var(&[1.0, -2.0, 0.5, 0.25], &[2, 2])),
                ("b".to_string(), var(&[0.3, -0.1], &[2])),
            ];
            let config = AdamWConfig { weight_decay: 0.02, ..AdamWConfig::default() };
            let mut adamw = AdamW::new(&named, config).unwrap();
            for (t, want) in want.iter().enumerate() {
                let factor = if t % 2 == 1 { 3.0 } else { 0.2 };
                let gradient = |f: fn(f32) -> f32, n: usize, shape: &[usize]| {
                    let values: Vec<f32> = (0..n).map(|i| factor * f(i as f32 + 1.5 * t as f32)).collect();
                    Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
                };
                let (gw, gb) = (gradient(f32::sin, 4, &[2, 2]), gradient(f32::cos, 2, &[2]));
                let master = |g: &Tensor| g.to_dtype(DType::F32).unwrap();
                let loss = (named[0].1.as_tensor() * master(&gw)).unwrap().sum_all().unwrap();
                let loss = (loss + (named[1].1.as_tensor() * master(&gb)).unwrap().sum_all().unwrap()).unwrap();
                let mut gradients = Gradients::new();
                gradients.add(&named, loss.backward().unwrap(), 1).unwrap();
                // A checkpoint between any two steps changes nothing.
                let saved = adamw.state().into_iter().collect();
                adamw = AdamW::new(&named, config).unwrap();
                adamw.load_state(&saved, t as u64).unwrap();
                adamw.step(&gradients, 1.0, 0.1).unwrap();
                let got = named.iter().flat_map(|(_, v)| v.flatten_all().unwrap().to_vec1::<f32>().unwrap());
                for (got, want) in got.zip(want) {
                    assert!((f64::from(got) - want).abs() < 2e-6, "{dtype:?} step {t}: {got} for {want}");
                }
            }
        }
    }

    #[test]
    fn settings_out_of_range_are_named() {
        for (config, key) in [
            (AdamWConfig { beta1: 1.0, ..AdamWConfig::default() }, "beta1"),
            (AdamWConfig { eps: 0.0, ..AdamWConfig::default() }, "eps"),
            (AdamWConfig { weight_decay: -1.0, ..AdamWConfig::default() }, "weight_decay"),
        ] {
            assert!(config.check().unwrap_err().to_string().contains(key));
        }
    }
}
