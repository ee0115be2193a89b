//! The optimizer that a recipe chooses.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Gradients, Lamb, LambConfig, Sgd, SgdConfig};
use crate::Result;

/// An optimizer's settings. Without `kind` they are SGD's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", try_from = "Keys")]
pub enum OptimizerConfig {
    /// [`Sgd`].
    Sgd(SgdConfig),
    /// [`Lamb`].
    Lamb(LambConfig),
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Sgd(SgdConfig::default())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Sgd,
    Lamb,
}

/// The keys of all kinds: those that are left out have the kind's defaults.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    kind: Kind,
    momentum: Option<f64>,
    nesterov: Option<bool>,
    weight_decay: Option<f64>,
    decay_norm_and_bias: Option<bool>,
    beta1: Option<f64>,
    beta2: Option<f64>,
    eps: Option<f64>,
    max_grad_norm: Option<f64>,
}

impl TryFrom<Keys> for OptimizerConfig {
    type Error = String;

    fn try_from(keys: Keys) -> std::result::Result<Self, String> {
        let (sgd, lamb) = (SgdConfig::default(), LambConfig::default());
        let others = |given: &[(&str, bool)], kind: &str| match given.iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(format!("optimizer.{key} is no setting of {kind}: leave it out")),
            None => Ok(()),
        };
        Ok(match keys.kind {
            Kind::Sgd => {
                let given = [
                    ("beta1", keys.beta1.is_some()),
                    ("beta2", keys.beta2.is_some()),
                    ("eps", keys.eps.is_some()),
                    ("max_grad_norm", keys.max_grad_norm.is_some()),
                ];
                others(&given, "sgd")?;
                Self::Sgd(SgdConfig {
                    momentum: keys.momentum.unwrap_or(sgd.momentum),
                    nesterov: keys.nesterov.unwrap_or(sgd.nesterov),
                    weight_decay: keys.weight_decay.unwrap_or(sgd.weight_decay),
                    decay_norm_and_bias: keys.decay_norm_and_bias.unwrap_or(sgd.decay_norm_and_bias),
                })
            }
            Kind::Lamb => {
                others(&[("momentum", keys.momentum.is_some()), ("nesterov", keys.nesterov.is_some())], "lamb")?;
                Self::Lamb(LambConfig {
                    beta1: keys.beta1.unwrap_or(lamb.beta1),
                    beta2: keys.beta2.unwrap_or(lamb.beta2),
                    eps: keys.eps.unwrap_or(lamb.eps),
                    weight_decay: keys.weight_decay.unwrap_or(lamb.weight_decay),
                    decay_norm_and_bias: keys.decay_norm_and_bias.unwrap_or(lamb.decay_norm_and_bias),
                    max_grad_norm: keys.max_grad_norm.unwrap_or(lamb.max_grad_norm),
                })
            }
        })
    }
}

impl OptimizerConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key that is out of its range.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Sgd(config) => config.check(),
            Self::Lamb(config) => config.check(),
        }
    }
}

/// Either optimizer.
#[derive(Debug)]
pub enum Optimizer {
    /// SGD.
    Sgd(Sgd),
    /// LAMB.
    Lamb(Lamb),
}

impl Optimizer {
    /// The optimizer of that configuration.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn new(named: &[(String, Var)], config: OptimizerConfig) -> Result<Self> {
        Ok(match config {
            OptimizerConfig::Sgd(config) => Self::Sgd(Sgd::new(named, config)?),
            OptimizerConfig::Lamb(config) => Self::Lamb(Lamb::new(named, config)?),
        })
    }

    /// The parameters in the order in which [`Optimizer::step`] wants their gradients.
    pub fn parameters(&self) -> Vec<(String, Var)> {
        match self {
            Self::Sgd(sgd) => sgd.parameters(),
            Self::Lamb(lamb) => lamb.parameters(),
        }
    }

    /// Takes one step with the gradients multiplied by `scale`. Without any gradient (all images of a step were left
    /// out) it only counts.
    ///
    /// # Errors
    /// When the gradients are not those of [`Optimizer::parameters`].
    pub fn step(&mut self, gradients: &Gradients, scale: f64, lr: f64) -> Result<()> {
        match self {
            Self::Lamb(lamb) if gradients.batches() == 0 => {
                lamb.skip();
                Ok(())
            }
            Self::Sgd(_) if gradients.batches() == 0 => Ok(()),
            Self::Sgd(sgd) => sgd.step(gradients, scale, lr),
            Self::Lamb(lamb) => lamb.step(gradients, scale, lr),
        }
    }

    /// What the optimizer remembers, under `velocity/NAME`, or `moment1/NAME` and `moment2/NAME`.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        match self {
            Self::Sgd(sgd) => Ok(sgd.state()?.into_iter().map(|(n, t)| (format!("velocity/{n}"), t)).collect()),
            Self::Lamb(lamb) => Ok(lamb.state()),
        }
    }

    /// Loads what [`Optimizer::state`] gave after so many steps.
    ///
    /// # Errors
    /// When something is missing or has another shape.
    pub fn load_state(&mut self, state: BTreeMap<String, Tensor>, steps: u64) -> Result<()> {
        match self {
            Self::Sgd(sgd) => {
                let own = |(n, t): (String, Tensor)| Some((n.strip_prefix("velocity/")?.to_string(), t));
                sgd.load_state(&state.into_iter().filter_map(own).collect())
            }
            Self::Lamb(lamb) => lamb.load_state(&state, steps),
        }
    }
}
