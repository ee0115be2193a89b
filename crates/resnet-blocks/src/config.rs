//! What a residual block is made of.

use serde::{Deserialize, Serialize};

/// The branch F that the block adds to its shortcut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branch {
    /// Two 3×3 convolutions (He et al. 2015, Fig. 5 left).
    Basic,
    /// 1×1, 3×3, 1×1; the outer channels are four times the inner (He et al. 2015, Fig. 5 right).
    Bottleneck(StrideIn),
}

impl Branch {
    /// Output channels over inner channels: 1 for basic, 4 for bottleneck.
    pub fn expansion(self) -> usize {
        match self {
            Branch::Basic => 1,
            Branch::Bottleneck(_) => 4,
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

/// Where norm and activation stand (He et al. 2016, Fig. 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Convolution, norm, ReLU; the last ReLU after the addition (Fig. 4a).
    Original,
    /// Norm, ReLU, convolution: nothing after the addition (Fig. 4e).
    PreActivation,
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
    /// Option C: a 1×1 convolution in every block.
    C,
}

/// A residual block's configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockConfig {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Step of the block: 2 halves rows and columns.
    pub stride: usize,
    /// The convolutions.
    pub branch: Branch,
    /// Where norms and activations stand.
    pub order: Order,
    /// The shortcut.
    pub shortcut: ShortcutKind,
    /// Whether the branch's last norm begins with scale 0 (original order only).
    pub zero_init_last: bool,
    /// Pre-activation: whether the input is activated before it splits into branch and shortcut, as in a network's
    /// first unit (He et al. 2016, appendix). Units with a projection always share their activation, as in the
    /// authors' code.
    pub shared_activation: bool,
}

impl BlockConfig {
    /// Two 3×3 convolutions, original order, option B.
    pub fn basic(inputs: usize, outputs: usize) -> Self {
        Self {
            inputs,
            outputs,
            stride: 1,
            branch: Branch::Basic,
            order: Order::Original,
            shortcut: ShortcutKind::B,
            zero_init_last: false,
            shared_activation: false,
        }
    }

    /// 1×1, 3×3 (with the stride), 1×1; original order, option B. `outputs` counts the wide end.
    pub fn bottleneck(inputs: usize, outputs: usize) -> Self {
        Self { branch: Branch::Bottleneck(StrideIn::Middle), ..Self::basic(inputs, outputs) }
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

    /// With the branch's last norm beginning at scale 0.
    pub fn with_zero_init_last(mut self, zero: bool) -> Self {
        self.zero_init_last = zero;
        self
    }

    pub(crate) fn changes_shape(&self) -> bool {
        self.stride != 1 || self.inputs != self.outputs
    }
}
