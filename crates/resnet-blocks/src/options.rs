//! What a network chooses for all its blocks.

use candle_core::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::{Activation, AntiAlias, Attention, Merge, Naming, NormKind, Order, Projection, ShortcutKind};

/// What all blocks of a network have in common.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockOptions {
    /// Where norms and activations stand.
    pub order: Order,
    /// What follows the norms.
    pub activation: Activation,
    /// The norms.
    pub norm: NormKind,
    /// The shortcuts.
    pub shortcut: ShortcutKind,
    /// How projections take the stride.
    pub projection: Projection,
    /// What happens to shortcut and branch before they are added.
    pub merge: Merge,
    /// What weighs each branch's channels.
    pub attention: Option<Attention>,
    /// Whether the attention stands behind a branch's last convolution and its norm; else before that convolution.
    pub attn_last: bool,
    /// What takes the strides of the branches in place of their convolutions.
    pub anti_alias: Option<AntiAlias>,
    /// ε of the convolutions' weight standardisation, where there is any.
    pub standardize: Option<f64>,
    /// Whether each branch's last norm begins with scale 0 (original order only).
    pub zero_init_last: bool,
    /// What the parameters are called.
    pub naming: Naming,
}

impl Default for BlockOptions {
    /// Those of torchvision's networks: original order, ReLU, batch norm, option B.
    fn default() -> Self {
        Self {
            order: Order::Original,
            activation: Activation::Relu,
            norm: NormKind::Batch,
            shortcut: ShortcutKind::B,
            projection: Projection::Strided,
            merge: Merge::Identity,
            attention: None,
            attn_last: true,
            anti_alias: None,
            standardize: None,
            zero_init_last: false,
            naming: Naming::Torchvision,
        }
    }
}

impl BlockOptions {
    /// # Errors
    /// If a number is out of its range; the message names the field.
    pub(crate) fn check(&self) -> Result<()> {
        match self.merge {
            Merge::Identity => {}
            Merge::Scaled { shortcut, branch } => {
                check_finite("merge: shortcut", shortcut)?;
                check_finite("merge: branch", branch)?;
            }
            Merge::ExclusiveGate { bias } | Merge::ShortcutGate { bias } => check_finite("merge: bias", bias)?,
            Merge::Dropout { rate } => check_rate("merge: rate", rate)?,
        }
        match self.standardize {
            Some(eps) if !(eps >= 0. && eps.is_finite()) => {
                bail!("standardize = {eps}; it has to be finite and at least 0")
            }
            _ => Ok(()),
        }
    }
}

/// Channels, rows or columns of anything: what the operations count in.
const MOST: usize = i32::MAX as usize;

/// # Errors
/// If there is nothing of it, or more than can be counted.
pub(crate) fn check_size(field: &str, value: usize) -> Result<()> {
    if !(1..=MOST).contains(&value) {
        bail!("{field} = {value}; 1 to {MOST} are possible");
    }
    Ok(())
}

pub(crate) fn check_rate(field: &str, rate: f64) -> Result<()> {
    if !(0. ..1.).contains(&rate) {
        bail!("{field} = {rate} is not in [0, 1)");
    }
    Ok(())
}

pub(crate) fn check_finite(field: &str, value: f64) -> Result<()> {
    if !value.is_finite() {
        bail!("{field} = {value} is not finite");
    }
    Ok(())
}
