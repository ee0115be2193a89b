//! Which loss a recipe trains with.

use candle_core::Tensor;
use resnet_data::Mixed;
use serde::{Deserialize, Serialize};

use crate::loss::{BinaryCrossEntropy, CrossEntropy, mixed, one_hot};
use crate::{Error, Result};

/// The kind of a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// [`CrossEntropy`].
    #[default]
    CrossEntropy,
    /// [`BinaryCrossEntropy`].
    BinaryCrossEntropy,
}

/// Settings of the loss.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Which loss.
    #[serde(skip_serializing_if = "is_usual")]
    pub kind: LossKind,
    /// Share of the target spread evenly over all classes.
    pub label_smoothing: f64,
    /// Of binary cross-entropy: mixed targets above this become 1 and all others 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_threshold: Option<f64>,
}

fn is_usual(kind: &LossKind) -> bool {
    *kind == LossKind::default()
}

impl LossConfig {
    pub(super) fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::Invalid(message));
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return invalid(format!("loss.label_smoothing = {} must be in [0, 1)", self.label_smoothing));
        }
        match self.target_threshold {
            Some(_) if self.kind != LossKind::BinaryCrossEntropy => {
                invalid("loss.target_threshold is for kind = \"binary-cross-entropy\": leave it out".into())
            }
            Some(share) if !(0.0..1.0).contains(&share) => {
                invalid(format!("loss.target_threshold = {share} must be in [0, 1)"))
            }
            _ => Ok(()),
        }
    }

    /// The mean loss of a batch: `logits` (N, classes), `labels` u32 (N,), and what the images were mixed with.
    pub(crate) fn of(&self, logits: &Tensor, labels: &Tensor, with: Option<&Mixed>) -> Result<Tensor> {
        let smoothing = self.label_smoothing;
        let classes = logits.dim(1)?;
        let soft = |smoothing| match with {
            Some(with) => mixed(labels, &with.labels.to_device(labels.device())?, with.share, classes, smoothing),
            None => one_hot(labels, classes, smoothing),
        };
        match self.kind {
            LossKind::BinaryCrossEntropy => {
                BinaryCrossEntropy { target_threshold: self.target_threshold }.forward(logits, &soft(smoothing)?)
            }
            LossKind::CrossEntropy if with.is_some() => CrossEntropy::default().forward(logits, &soft(smoothing)?),
            LossKind::CrossEntropy => CrossEntropy { label_smoothing: smoothing }.forward(logits, labels),
        }
    }
}
