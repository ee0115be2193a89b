//! A pretrained network on images of one's own.
//!
//! First a new head learns on the features as they are, then all parameters with rates that fall from stage to stage
//! towards the images, as the early stages are good for any picture. Norms keep the statistics that they came with: a
//! few dozen images say less of them. Classes count alike, however many images they have, in the loss and in the
//! choice of the best epoch. Training ends when the held-back images get no better, and the best weights are kept.

mod page;
mod run;
mod state;
mod steps;
#[cfg(test)]
mod tests;

use resnet_data::OnBroken;
use resnet_models::Preprocessing;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use run::{Finetuned, Task, finetune};

/// How a network is fine-tuned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuneConfig {
    /// Epochs of the head alone.
    pub head_epochs: u64,
    /// Epochs of all parameters after that, at most.
    pub epochs: u64,
    /// Images a step.
    pub batch_size: usize,
    /// Greatest rate of the head.
    pub head_lr: f64,
    /// Greatest rate of the head and the last stage when all parameters are trained.
    pub lr: f64,
    /// What the rate is multiplied by from a stage to the one before.
    pub stage_decay: f64,
    /// Weight decay of weights; norms and biases have none.
    pub weight_decay: f64,
    /// Share of the target spread over all classes.
    pub label_smoothing: f64,
    /// Whether each class counts alike in the loss.
    pub balance: bool,
    /// Epochs without a lower loss on the held-back images, classes weighted as in training, after which training ends.
    pub patience: u64,
    /// Decides the split, the new head, order and augmentation.
    pub seed: u64,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        Self {
            head_epochs: 5,
            epochs: 15,
            batch_size: 16,
            head_lr: 0.05,
            lr: 0.005,
            stage_decay: 0.5,
            weight_decay: 1e-4,
            label_smoothing: 0.1,
            balance: true,
            patience: 5,
            seed: 0,
        }
    }
}

impl FinetuneConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first one that is out of its range.
    pub fn check(&self) -> Result<()> {
        let wants = |ok: bool, key: &str, value: f64, range: &str| {
            if ok { Ok(()) } else { Err(Error::Invalid(format!("{key} = {value} must be {range}"))) }
        };
        wants(self.head_epochs + self.epochs > 0, "epochs", self.epochs as f64, "1 or more")?;
        wants(self.batch_size > 0, "batch_size", 0.0, "1 or more")?;
        for (key, value) in [("head_lr", self.head_lr), ("lr", self.lr)] {
            wants(value > 0.0 && value.is_finite(), key, value, "above 0")?;
        }
        let share = |value: f64| value > 0.0 && value <= 1.0;
        wants(share(self.stage_decay), "stage_decay", self.stage_decay, "above 0 and up to 1")?;
        wants(
            self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
            "weight_decay",
            self.weight_decay,
            "0 or more",
        )?;
        wants(
            (0.0..1.0).contains(&self.label_smoothing),
            "label_smoothing",
            self.label_smoothing,
            "from 0 to below 1",
        )?;
        wants(self.patience > 0, "patience", 0.0, "1 or more")
    }
}

/// What `config.toml` of a fine-tuning says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Written<'a> {
    /// Where the weights came from.
    pub pretrained: &'a str,
    /// The network.
    pub arch: &'a str,
    /// The images.
    pub dataset: &'a str,
    pub train_images: usize,
    pub test_images: usize,
    pub classes: &'a [String],
    /// Version of this library and revision of its source.
    pub version: &'static str,
    pub revision: String,
    /// What an image that cannot be read does.
    pub on_broken: OnBroken,
    pub preprocessing: Preprocessing,
    pub finetune: &'a FinetuneConfig,
}
