//! Which loss a recipe trains with.

use candle_core::Tensor;
use resnet_data::Mixed;
use serde::{Deserialize, Serialize};

use crate::loss::{BinaryCrossEntropy, CrossEntropy, mixed, one_hot, weighted_cross_entropy};
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

/// How much each class counts in the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeights {
    /// By its number of images.
    #[default]
    None,
    /// As every other: an image has the weight of the mean number of images a class over that of its own, up to 10, so that
    /// a class of one image does not rule.
    Balanced,
}

impl ClassWeights {
    /// The greatest weight.
    const MOST: f32 = 10.0;

    /// The weight of each class; `None` where all are 1.
    pub fn of(self, labels: impl Iterator<Item = u32>, classes: usize) -> Option<Vec<f32>> {
        if self == Self::None {
            return None;
        }
        let mut counts = vec![0_u32; classes];
        labels.for_each(|label| counts[label as usize] += 1);
        let mean = counts.iter().sum::<u32>() as f32 / classes as f32;
        Some(counts.iter().map(|&n| if n > 0 { (mean / n as f32).min(Self::MOST) } else { 1.0 }).collect())
    }
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
    /// Of cross-entropy: how much each class counts.
    #[serde(skip_serializing_if = "super::is_default")]
    pub class_weights: ClassWeights,
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
        if self.class_weights != ClassWeights::None && self.kind != LossKind::CrossEntropy {
            return invalid("loss.class_weights is for kind = \"cross-entropy\": leave it out".into());
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

    /// The mean loss of a batch: `logits` (N, classes), `labels` u32 (N,), what the images were mixed with,
    /// and f32 (classes,) the classes' weights.
    pub(crate) fn of(
        &self,
        logits: &Tensor,
        labels: &Tensor,
        with: Option<&Mixed>,
        weights: Option<&Tensor>,
    ) -> Result<Tensor> {
        let smoothing = self.label_smoothing;
        let classes = logits.dim(1)?;
        let soft = |smoothing| match with {
            Some(with) => mixed(labels, &with.labels.to_device(labels.device())?, with.share, classes, smoothing),
            None => one_hot(labels, classes, smoothing),
        };
        if let Some(weights) = weights {
            let own = weights.index_select(labels, 0)?;
            let total = match with {
                Some(with) => {
                    let others = weights.index_select(&with.labels.to_device(labels.device())?, 0)?;
                    ((own * with.share)? + (others * (1.0 - with.share))?)?
                }
                None => own,
            };
            return weighted_cross_entropy(logits, &soft(smoothing)?, weights, &total.sum_all()?);
        }
        match self.kind {
            LossKind::BinaryCrossEntropy => {
                BinaryCrossEntropy { target_threshold: self.target_threshold }.forward(logits, &soft(smoothing)?)
            }
            LossKind::CrossEntropy if with.is_some() => CrossEntropy::default().forward(logits, &soft(smoothing)?),
            LossKind::CrossEntropy => CrossEntropy { label_smoothing: smoothing }.forward(logits, labels),
        }
    }
}
