//! What a command line changes in a recipe.

use resnet_data::MixConfig;

use super::{Compute, Recipe};
use crate::Result;
use crate::optimizer::{EmaConfig, OptimizerKind};

/// Values that replace a recipe's; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// The network.
    pub arch: Option<String>,
    /// The data set.
    pub dataset: Option<String>,
    /// Length in epochs, of a recipe with phases that of the last one. The schedule's times, and that of a low rate to begin with, are stretched with it, a plateau's
    /// patience too; where the recipe is in iterations of images of one's own, what counts epochs stays as it is.
    pub epochs: Option<u64>,
    /// Images of one batch. The learning rate stays as it is.
    pub batch_size: Option<usize>,
    /// The greatest learning rate.
    pub lr: Option<f64>,
    /// The optimizer: the recipe's settings where it is the same, else the defaults of that one.
    pub optimizer: Option<OptimizerKind>,
    /// Weight decay.
    pub weight_decay: Option<f64>,
    /// Share of the target spread over all classes.
    pub label_smoothing: Option<f64>,
    /// Share of the average of the weights kept at each step, which makes one where the recipe has none.
    pub ema_decay: Option<f64>,
    /// Strength of mixup.
    pub mixup: Option<f64>,
    /// Strength of CutMix.
    pub cutmix: Option<f64>,
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
            let last = self.phases.len().checked_sub(1);
            let before = last.map_or(self.length().value(), |last| self.phases[last].epochs.max(1) as f64);
            let factor = epochs as f64 / before;
            self.schedule.stretch(factor);
            if let Some(before) = self.length_in_epochs() {
                self.schedule.stretch_patience(epochs as f64 / before);
            }
            if let Some(hold) = &mut self.hold {
                hold.stretch(self.iterations.is_some(), factor);
            }
            match last {
                Some(last) => self.phases[last].epochs = epochs,
                None => (self.epochs, self.iterations) = (Some(epochs), None),
            }
        }
        if let Some(lr) = o.lr {
            self.schedule.set_lr(lr);
        }
        if let Some(kind) = o.optimizer {
            self.optimizer = self.optimizer.of_kind(kind);
        }
        if let Some(decay) = o.weight_decay {
            self.optimizer.set_weight_decay(decay);
        }
        self.loss.label_smoothing = o.label_smoothing.unwrap_or(self.loss.label_smoothing);
        if let Some(decay) = o.ema_decay {
            self.ema = Some(EmaConfig { decay, ..self.ema.unwrap_or(EmaConfig { decay, warmup: true }) });
        }
        if o.mixup.is_some() || o.cutmix.is_some() {
            let own = self.mix.unwrap_or_default();
            self.mix =
                Some(MixConfig { mixup: o.mixup.unwrap_or(own.mixup), cutmix: o.cutmix.unwrap_or(own.cutmix), ..own })
                    .filter(|mix| mix.mixup != 0.0 || mix.cutmix != 0.0);
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
