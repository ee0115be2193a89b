//! What a training trains, one phase after the other.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The parameters that a [`Phase`] trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trains {
    /// The last linear layer, on features of the network as it is, without augmentation by dropout.
    Head,
    /// Everything.
    #[default]
    All,
}

/// A part of a training: its length, what it trains, and how fast. Each has a schedule and an optimizer of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Length, at most where the recipe has a `patience`; 0 leaves the phase out.
    pub epochs: u64,
    /// Which parameters.
    #[serde(default)]
    pub trains: Trains,
    /// The greatest learning rate, in place of the schedule's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// What the rate is multiplied by from a stage to the one before it (discriminative rates, Howard and Ruder 2018); the
    /// head and the last stage have the whole.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub stage_decay: f64,
    /// Whether norms keep the statistics that they have, as a few images say less of them. The network is then run as in
    /// evaluation, without dropout.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub freeze_norms: bool,
}

fn whole() -> f64 {
    1.0
}
fn is_whole(share: &f64) -> bool {
    *share == 1.0
}

impl Phase {
    /// All parameters at one rate, for so many epochs.
    pub(super) fn all(epochs: u64) -> Self {
        Self { epochs, trains: Trains::All, lr: None, stage_decay: 1.0, freeze_norms: false }
    }

    pub(super) fn check(&self, number: usize) -> Result<()> {
        let invalid = |message: String| Err(Error::Invalid(format!("phases[{number}].{message}")));
        if let Some(lr) = self.lr
            && !(lr > 0.0 && lr.is_finite())
        {
            return invalid(format!("lr = {lr} must be above 0"));
        }
        if !(self.stage_decay > 0.0 && self.stage_decay <= 1.0) {
            return invalid(format!("stage_decay = {} must be above 0 and up to 1", self.stage_decay));
        }
        Ok(())
    }
}
