//! The means of gradients and of their squares, which LAMB and AdamW step by.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use super::{Gradients, is_buffer};
use crate::{Error, Result};

/// A parameter with its moments.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) var: Var,
    pub(super) weight_decay: f64,
    /// What the learning rate is multiplied by.
    pub(super) lr_scale: f64,
    /// Means of the gradient and of its square; zeros at first.
    moments: [Tensor; 2],
}

/// How fast both means move, and what keeps their ratio finite.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adam {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
}

/// All parameters, and the steps done.
#[derive(Debug)]
pub(super) struct Moments {
    pub(super) slots: Vec<Slot>,
    pub(super) steps: u64,
}

impl Moments {
    /// Of the named parameters; names of running statistics are left out.
    pub(super) fn new(named: &[(String, Var)], weight_decay: f64, decay_norm_and_bias: bool) -> Result<Self> {
        let slot = |(name, var): &(String, Var)| -> Result<Slot> {
            let decays = decay_norm_and_bias || var.rank() > 1;
            Ok(Slot {
                name: name.clone(),
                var: var.clone(),
                weight_decay: if decays { weight_decay } else { 0.0 },
                lr_scale: 1.0,
                moments: [var.zeros_like()?.detach(), var.zeros_like()?.detach()],
            })
        };
        let slots = named.iter().filter(|(name, _)| !is_buffer(name)).map(slot).collect::<Result<_>>()?;
        Ok(Self { slots, steps: 0 })
    }

    pub(super) fn parameters(&self) -> Vec<(String, Var)> {
        self.slots.iter().map(|s| (s.name.clone(), s.var.clone())).collect()
    }

    pub(super) fn set_lr_scales(&mut self, lr_scale: impl Fn(&str) -> f64) {
        self.slots.iter_mut().for_each(|slot| slot.lr_scale = lr_scale(&slot.name));
    }

    /// Takes a step: `apply` changes a parameter by `m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)`.
    pub(super) fn step(
        &mut self,
        gradients: &Gradients,
        scale: f64,
        adam: Adam,
        apply: impl Fn(&Slot, Tensor) -> Result<()>,
    ) -> Result<()> {
        let tensors = gradients.tensors();
        if tensors.len() != self.slots.len() {
            let (given, want) = (tensors.len(), self.slots.len());
            return Err(Error::Invalid(format!("optimizer: {given} gradients for {want} parameters")));
        }
        self.steps += 1;
        let Adam { beta1, beta2, eps } = adam;
        let correction = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let (first, second) = (correction(beta1), correction(beta2).sqrt());
        for (slot, gradient) in self.slots.iter_mut().zip(tensors) {
            let Some(gradient) = gradient else { continue };
            // Out of the graph, or every step would keep the one before alive; in the parameter's dtype.
            let g = (gradient.detach().to_dtype(slot.var.dtype())? * scale)?;
            let m = ((&slot.moments[0] * beta1)? + (&g * (1.0 - beta1))?)?;
            let v = ((&slot.moments[1] * beta2)? + (g.sqr()? * (1.0 - beta2))?)?;
            let update = ((&m / first)? / ((v.sqrt()? / second)? + eps)?)?;
            slot.moments = [m, v];
            apply(slot, update)?;
        }
        Ok(())
    }

    /// Both moments by parameter name, under `moment1/` and `moment2/`; exact.
    pub(super) fn state(&self) -> Vec<(String, Tensor)> {
        let parts =
            |slot: &Slot| [1, 2].map(|which| (format!("moment{which}/{}", slot.name), slot.moments[which - 1].clone()));
        self.slots.iter().flat_map(parts).collect()
    }

    /// Loads what [`Moments::state`] gave after so many steps.
    ///
    /// # Errors
    /// When a moment is missing or has another shape.
    pub(super) fn load_state(&mut self, state: &BTreeMap<String, Tensor>, steps: u64) -> Result<()> {
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

/// Checks what both have.
///
/// # Errors
/// Names the first key that is out of its range.
pub(super) fn check(adam: Adam, weight_decay: f64) -> Result<()> {
    for (key, value) in [("beta1", adam.beta1), ("beta2", adam.beta2)] {
        wants((0.0..1.0).contains(&value), key, value, "in [0, 1)")?;
    }
    wants(adam.eps > 0.0 && adam.eps.is_finite(), "eps", adam.eps, "above 0")?;
    wants(weight_decay >= 0.0 && weight_decay.is_finite(), "weight_decay", weight_decay, "0 or more")
}

pub(super) fn wants(ok: bool, key: &str, value: f64, range: &str) -> Result<()> {
    if ok { Ok(()) } else { Err(Error::Invalid(format!("optimizer.{key} = {value} must be {range}"))) }
}
