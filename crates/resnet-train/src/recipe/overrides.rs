//! What a command line changes in a recipe.

use super::{Compute, Recipe};
use crate::Result;

/// Values that replace a recipe's; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// The network.
    pub arch: Option<String>,
    /// The data set.
    pub dataset: Option<String>,
    /// Length in epochs. The schedule's times, and that of a low rate to begin with, are stretched with it, a plateau's
    /// patience too; where the recipe is in iterations of images of one's own, what counts epochs stays as it is.
    pub epochs: Option<u64>,
    /// Images of one batch. The learning rate stays as it is.
    pub batch_size: Option<usize>,
    /// The greatest learning rate.
    pub lr: Option<f64>,
    /// The seed.
    pub seed: Option<u64>,
    /// What the network computes in.
    pub dtype: Option<Compute>,
    /// Whether activations are computed again in the backward pass.
    pub recompute: Option<bool>,
}

impl Recipe {
    /// The recipe with these values in place of its own.
    ///
    /// # Errors
    /// When a new value is out of its range.
    pub fn with(mut self, overrides: &Overrides) -> Result<Self> {
        let o = overrides.clone();
        if let Some(epochs) = o.epochs {
            let factor = epochs as f64 / self.length().value();
            self.schedule.stretch(factor);
            if let Some(before) = self.length_in_epochs() {
                self.schedule.stretch_patience(epochs as f64 / before);
            }
            if let Some(hold) = &mut self.hold {
                hold.stretch(self.iterations.is_some(), factor);
            }
            (self.epochs, self.iterations) = (Some(epochs), None);
        }
        if let Some(lr) = o.lr {
            self.schedule.set_lr(lr);
        }
        self.arch = o.arch.unwrap_or(self.arch);
        self.dataset = o.dataset.unwrap_or(self.dataset);
        self.batch_size = o.batch_size.unwrap_or(self.batch_size);
        self.seed = o.seed.unwrap_or(self.seed);
        self.dtype = o.dtype.unwrap_or(self.dtype);
        self.recompute = o.recompute.unwrap_or(self.recompute);
        self.check()?;
        Ok(self)
    }
}
