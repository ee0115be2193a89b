//! What a residual block is made of.

use candle_core::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::{Activation, AntiAlias, Attention, Naming, NormKind, Order};

/// The branch F that the block adds to its shortcut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branch {
    /// One 3×3 convolution (He et al. 2016, Table 3, "1layer").
    Single,
    /// Two 3×3 convolutions (He et al. 2015, Fig. 5 left).
    Basic,
    /// 1×1, 3×3, 1×1; the outer channels are four times the inner (He et al. 2015, Fig. 5 right).
    Bottleneck(StrideIn),
}

impl Branch {
    /// Output channels over inner channels: 4 for bottleneck, else 1.
    pub fn expansion(self) -> usize {
        match self {
            Branch::Single | Branch::Basic => 1,
            Branch::Bottleneck(_) => 4,
        }
    }

    /// Convolutions of one branch.
    pub fn layers(self) -> usize {
        match self {
            Branch::Single => 1,
            Branch::Basic => 2,
            Branch::Bottleneck(_) => 3,
        }
    }
}

/// Which convolution of a bottleneck has the stride.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrideIn {
    /// The first 1×1, as in the paper (He et al. 2015, Table 1).
    First,
    /// The 3×3, as in torchvision and timm ("v1.5").
    Middle,
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

/// A residual block's configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockConfig {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Channels of the 3×3 convolution of a bottleneck, and between the two of a basic branch.
    pub inner: usize,
    /// Channels between a bottleneck's first 1×1 and its 3×3 convolution; `inner` in all but SENet-154.
    pub entry: usize,
    /// Groups of the 3×3 convolution of a bottleneck, or of both of a basic branch (Xie et al. 2017: the cardinality).
    pub groups: usize,
    /// Step of the block: 2 halves rows and columns.
    pub stride: usize,
    /// The convolutions.
    pub branch: Branch,
    /// Where norms and activations stand.
    pub order: Order,
    /// What follows the norms.
    pub activation: Activation,
    /// The shortcut.
    pub shortcut: ShortcutKind,
    /// How a projection takes the stride.
    pub projection: Projection,
    /// What happens to both before the addition.
    pub merge: Merge,
    /// What weighs the branch's channels.
    pub attention: Option<Attention>,
    /// Whether the attention stands before the last convolution, on its input; else behind it and its norm.
    pub attention_inside: bool,
    /// What takes the stride of the branch in place of its convolution.
    pub anti_alias: Option<AntiAlias>,
    /// The norms.
    pub norm: NormKind,
    /// ε of the convolutions' weight standardisation, where there is any.
    pub standardize: Option<f64>,
    /// Share of the images that skip the branch in training (Huang et al. 2016).
    pub drop_path: f64,
    /// Whether the branch's last norm begins with scale 0 (original order only).
    pub zero_init_last: bool,
    /// Pre-activation: whether the input is activated before it splits into branch and shortcut, as in a network's
    /// first unit (He et al. 2016, appendix). Units with a projection always share their activation, as in the
    /// authors' code.
    pub shared_activation: bool,
    /// What the parameters are called.
    pub naming: Naming,
}

impl BlockConfig {
    /// Two 3×3 convolutions, original order, option B.
    pub fn basic(inputs: usize, outputs: usize) -> Self {
        Self {
            inputs,
            outputs,
            inner: outputs,
            entry: outputs,
            groups: 1,
            stride: 1,
            branch: Branch::Basic,
            order: Order::Original,
            activation: Activation::Relu,
            shortcut: ShortcutKind::B,
            projection: Projection::Strided,
            merge: Merge::Identity,
            attention: None,
            attention_inside: false,
            anti_alias: None,
            norm: NormKind::Batch,
            standardize: None,
            drop_path: 0.,
            zero_init_last: false,
            shared_activation: false,
            naming: Naming::Torchvision,
        }
    }

    /// 1×1, 3×3 (with the stride), 1×1; original order, option B. `outputs` counts the wide end.
    pub fn bottleneck(inputs: usize, outputs: usize) -> Self {
        let branch = Branch::Bottleneck(StrideIn::Middle);
        let inner = outputs / branch.expansion();
        Self { branch, inner, entry: inner, ..Self::basic(inputs, outputs) }
    }

    /// With another stride.
    pub fn with_stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// With another shortcut.
    pub fn with_shortcut(mut self, shortcut: ShortcutKind) -> Self {
        self.shortcut = shortcut;
        self
    }

    /// With another order of norm and activation.
    pub fn with_order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// With something done to shortcut and branch before the addition.
    pub fn with_merge(mut self, merge: Merge) -> Self {
        self.merge = merge;
        self
    }

    /// With another width inside the branch.
    pub fn with_inner(mut self, inner: usize) -> Self {
        (self.inner, self.entry) = (inner, inner);
        self
    }

    /// With grouped 3×3 convolutions (ResNeXt).
    pub fn with_groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// With attention over the branch's channels.
    pub fn with_attention(mut self, attention: Attention) -> Self {
        self.attention = Some(attention);
        self
    }

    /// With stochastic depth at that rate.
    pub fn with_drop_path(mut self, rate: f64) -> Self {
        self.drop_path = rate;
        self
    }

    /// With the branch's last norm beginning at scale 0.
    pub fn with_zero_init_last(mut self, zero: bool) -> Self {
        self.zero_init_last = zero;
        self
    }

    /// Whether a block can be made of it.
    ///
    /// # Errors
    /// If a number is impossible or does not go with another; the message names the field.
    pub fn check(&self) -> Result<()> {
        let &Self { inputs, outputs, inner, entry, groups, stride, .. } = self;
        let sizes = [("inputs", inputs), ("outputs", outputs), ("inner", inner), ("entry", entry)];
        for (field, value) in sizes.into_iter().chain([("groups", groups), ("stride", stride)]) {
            check_size(field, value)?;
        }
        // What the convolutions with groups read and write.
        let grouped: &[_] = match self.branch {
            Branch::Single => &[("inputs", inputs), ("outputs", outputs)],
            Branch::Basic => &[("inputs", inputs), ("inner", inner), ("outputs", outputs)],
            Branch::Bottleneck(_) => &[("entry", entry), ("inner", inner)],
        };
        if let Some((field, channels)) = grouped.iter().find(|(_, channels)| !channels.is_multiple_of(groups)) {
            bail!("groups = {groups} do not divide {field} = {channels}");
        }
        if self.shortcut == ShortcutKind::A && outputs < inputs {
            bail!("shortcut A cannot go from inputs = {inputs} to outputs = {outputs} channels");
        }
        check_rate("drop_path", self.drop_path)?;
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

    pub(crate) fn changes_shape(&self) -> bool {
        self.stride != 1 || self.inputs != self.outputs
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

fn check_rate(field: &str, rate: f64) -> Result<()> {
    if !(0. ..1.).contains(&rate) {
        bail!("{field} = {rate} is not in [0, 1)");
    }
    Ok(())
}

fn check_finite(field: &str, value: f64) -> Result<()> {
    if !value.is_finite() {
        bail!("{field} = {value} is not finite");
    }
    Ok(())
}
