//! Stochastic gradient descent with momentum (Sutskever et al. 2013, as PyTorch writes it).

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use resnet_ops::{SgdParameter, SgdStep, Velocity, sgd};
use serde::{Deserialize, Serialize};

use super::{Gradients, is_buffer};
use crate::{Error, Result};

/// Settings of [`Sgd`]; the learning rate comes with each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SgdConfig {
    /// Share of the velocity kept from step to step.
    pub momentum: f64,
    /// Look ahead along the velocity (Nesterov's momentum).
    pub nesterov: bool,
    /// Weight decay, added to the gradient as `weight_decay * parameter`.
    pub weight_decay: f64,
    /// Whether parameters of one axis (the norms' weights and every bias) decay too.
    pub decay_norm_and_bias: bool,
}

impl Default for SgdConfig {
    /// He et al. 2015: momentum 0.9, weight decay 1e-4 on everything.
    fn default() -> Self {
        Self { momentum: 0.9, nesterov: false, weight_decay: 1e-4, decay_norm_and_bias: true }
    }
}

impl SgdConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key that is out of its range.
    pub fn check(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(Error::Invalid(format!("optimizer.momentum = {} must be between 0 and 1", self.momentum)));
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return Err(Error::Invalid(format!("optimizer.weight_decay = {} must be 0 or more", self.weight_decay)));
        }
        if self.nesterov && self.momentum == 0.0 {
            return Err(Error::Invalid("optimizer.nesterov = true wants a momentum above 0".into()));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Slot {
    name: String,
    var: Var,
    weight_decay: f64,
    /// What the learning rate is multiplied by.
    lr_scale: f64,
    velocity: Velocity,
}

/// SGD with momentum, Nesterov's momentum and weight decay: for each parameter `p` with gradient `g`
///
/// ```text
/// g += weight_decay * p
/// v  = momentum * v + g          (the first step: v = g)
/// p -= lr * (nesterov ? g + momentum * v : v)
/// ```
///
/// A parameter without gradient is left as it is, decay included.
///
/// Parameters are updated in their own dtype. Master weights of a wider dtype would be a third kind
/// of slot beside the velocity's two.
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    slots: Vec<Slot>,
}

impl Sgd {
    /// An optimizer of the named parameters; names of running statistics are left out.
    pub fn new(named: &[(String, Var)], config: SgdConfig) -> Result<Self> {
        config.check()?;
        let slots = named
            .iter()
            .filter(|(name, _)| !is_buffer(name))
            .map(|(name, var)| {
                let decays = config.decay_norm_and_bias || var.rank() > 1;
                let velocity = Velocity::new(var, config.momentum);
                let weight_decay = if decays { config.weight_decay } else { 0.0 };
                Slot { name: name.clone(), var: var.clone(), weight_decay, lr_scale: 1.0, velocity }
            })
            .collect();
        Ok(Self { config, slots })
    }

    /// Multiplies the learning rate of each parameter by a scale of its name; 1 where this is not called.
    pub fn set_lr_scales(&mut self, lr_scale: impl Fn(&str) -> f64) {
        for slot in &mut self.slots {
            slot.lr_scale = lr_scale(&slot.name);
        }
    }

    /// The parameters in the order in which [`Sgd::step`] wants their gradients.
    pub fn parameters(&self) -> Vec<(String, Var)> {
        self.slots.iter().map(|s| (s.name.clone(), s.var.clone())).collect()
    }

    /// Takes one step with the gradients multiplied by `scale` (see [`Gradients::scale`]).
    ///
    /// # Errors
    /// When the gradients are not those of [`Sgd::parameters`].
    pub fn step(&mut self, gradients: &Gradients, scale: f64, lr: f64) -> Result<()> {
        let gradients = gradients.tensors();
        if gradients.len() != self.slots.len() {
            return Err(Error::Invalid(format!(
                "optimizer: {} gradients for {} parameters",
                gradients.len(),
                self.slots.len()
            )));
        }
        let SgdConfig { momentum, nesterov, .. } = self.config;
        let slots = self.slots.iter_mut().zip(gradients);
        let mut parameters: Vec<SgdParameter> = slots
            .filter_map(|(slot, gradient)| {
                let Slot { var, weight_decay, lr_scale, velocity, .. } = slot;
                let (rate, decay) = (lr * *lr_scale, *weight_decay);
                Some(SgdParameter { parameter: var, gradient: gradient.as_ref()?, velocity, rate, decay })
            })
            .collect();
        Ok(sgd(&mut parameters, SgdStep { scale, momentum, nesterov })?)
    }

    /// The velocities by parameter name, as f32 or the parameter's dtype; exact.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut out = Vec::new();
        for slot in &self.slots {
            let velocity = slot.velocity.to_tensor(&slot.var)?;
            out.extend(velocity.map(|velocity| (slot.name.clone(), velocity)));
        }
        Ok(out)
    }

    /// Loads the velocities that [`Sgd::state`] gave.
    ///
    /// # Errors
    /// When one is missing or has another shape.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        for slot in &mut self.slots {
            let saved = state.get(&slot.name);
            if let Some(t) = saved
                && t.shape() != slot.var.shape()
            {
                return Err(Error::State(format!(
                    "velocity of {} has shape {:?}, the parameter has {:?}",
                    slot.name,
                    t.dims(),
                    slot.var.dims()
                )));
            }
            if saved.is_none() && slot.velocity.begins_as_zeros() {
                return Err(Error::State(format!("the velocity of {} is missing", slot.name)));
            }
            slot.velocity.set(&slot.var, saved)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
