//! What a network chooses for all its blocks.

use candle_core::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::check::{check_finite, check_rate};
use crate::{Activation, AntiAlias, Attention, Naming, NormKind, Order};

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

/// How the input reaches the addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShortcutKind {
    /// Not at all: a plain network (He et al. 2015, 3.3).
    None,
    /// Option A: identity; where the shape changes, subsampled with zero channels split evenly before and after.
    A,
    /// Option B: identity; where the shape changes, a 1×1 convolution.
    B,
    /// Option C: a 1×1 convolution in every block (He et al. 2016, Fig. 2e).
    C,
}

/// How a projection (options B and C) takes the stride.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Projection {
    /// The convolution has it.
    #[default]
    Strided,
    /// A 2×2 average pooling has it, so that no pixel is left out (He et al. 2019, "Bag of tricks", Fig. 2c: ResNet-D).
    Pooled,
    /// A 3×3 convolution has it where it is not 1 (SENet-154).
    Strided3x3,
}

/// What happens to shortcut and branch before they are added (He et al. 2016, Table 1 and Fig. 2).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    /// Nothing: `x + F(x)`.
    #[default]
    Identity,
    /// Both times constants (Fig. 2b).
    Scaled {
        /// λ on the shortcut.
        shortcut: f64,
        /// The factor of F.
        branch: f64,
    },
    /// `(1 - g) x + g F(x)` with `g = σ(W x + b)`, a 1×1 convolution `gate` (Fig. 2c).
    ExclusiveGate {
        /// Initial value of b.
        bias: f64,
    },
    /// `(1 - g) x + F(x)` with the same g (Fig. 2d).
    ShortcutGate {
        /// Initial value of b.
        bias: f64,
    },
    /// Dropout on the shortcut (Fig. 2f): in training, values that stay are divided by 1 − rate, as in the layers of
    /// Caffe, Torch and PyTorch, so that the mean is the input; in evaluation it is the identity. (The paper speaks of
    /// "a scale of λ with an expectation of 0.5", which is dropout without that division.)
    Dropout {
        /// The share that is dropped.
        rate: f64,
    },
}
