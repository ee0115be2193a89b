//! One block's configuration.

use candle_core::{Result, bail};
use candle_nn::VarBuilder;
use resnet_ops::ConvConfig;
use serde::{Deserialize, Serialize};

use crate::check::{check_rate, check_size};
use crate::{
    AntiAliasPool, Attention, BlockOptions, ChannelAttention, Conv2d, Merge, Norm2d, Order, Projection, ShortcutKind,
};

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

/// A residual block's configuration: its sizes, and what it has in common with the network's other blocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockConfig {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Channels of the 3×3 convolution of a bottleneck, and between the two of a basic branch.
    pub inner: usize,
    /// Channels between a bottleneck's first 1×1 and its 3×3 convolution; `inner` in all but SENet-154.
    pub first: usize,
    /// Groups of the 3×3 convolution of a bottleneck, or of both of a basic branch (Xie et al. 2017: the cardinality).
    pub groups: usize,
    /// Step of the block: 2 halves rows and columns.
    pub stride: usize,
    /// Distance of the taps of 3×3 convolutions, in pixels: of the one that may have the stride, and of one behind it
    /// (Yu & Koltun 2016). A stage whose stride is taken away has a greater one in its place.
    pub dilation: [usize; 2],
    /// The convolutions.
    pub branch: Branch,
    /// Share of the images that skip the branch in training (Huang et al. 2016).
    pub drop_path: f64,
    /// Pre-activation: whether the input is activated before it splits into branch and shortcut, as in a network's
    /// first unit (He et al. 2016, appendix). Units with a projection always share their activation, as in the
    /// authors' code.
    pub shared_activation: bool,
    /// What all blocks have in common.
    pub options: BlockOptions,
}

impl BlockConfig {
    /// Two 3×3 convolutions, original order, option B.
    pub fn basic(inputs: usize, outputs: usize) -> Self {
        Self {
            inputs,
            outputs,
            inner: outputs,
            first: outputs,
            groups: 1,
            stride: 1,
            dilation: [1, 1],
            branch: Branch::Basic,
            drop_path: 0.,
            shared_activation: false,
            options: BlockOptions::default(),
        }
    }

    /// 1×1, 3×3 (with the stride), 1×1; original order, option B. `outputs` counts the wide end.
    pub fn bottleneck(inputs: usize, outputs: usize) -> Self {
        let branch = Branch::Bottleneck(StrideIn::Middle);
        let inner = outputs / branch.expansion();
        Self { branch, inner, first: inner, ..Self::basic(inputs, outputs) }
    }

    /// With another stride.
    pub fn with_stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// With another shortcut.
    pub fn with_shortcut(mut self, shortcut: ShortcutKind) -> Self {
        self.options.shortcut = shortcut;
        self
    }

    /// With another order of norm and activation.
    pub fn with_order(mut self, order: Order) -> Self {
        self.options.order = order;
        self
    }

    /// With something done to shortcut and branch before the addition.
    pub fn with_merge(mut self, merge: Merge) -> Self {
        self.options.merge = merge;
        self
    }

    /// With another width inside the branch.
    pub fn with_inner(mut self, inner: usize) -> Self {
        (self.inner, self.first) = (inner, inner);
        self
    }

    /// With grouped 3×3 convolutions (ResNeXt).
    pub fn with_groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// With attention over the branch's channels.
    pub fn with_attention(mut self, attention: Attention) -> Self {
        self.options.attention = Some(attention);
        self
    }

    /// With stochastic depth at that rate.
    pub fn with_drop_path(mut self, rate: f64) -> Self {
        self.drop_path = rate;
        self
    }

    /// With the branch's last norm beginning at scale 0.
    pub fn with_zero_init_last(mut self, zero: bool) -> Self {
        self.options.zero_init_last = zero;
        self
    }

    /// With other options.
    pub fn with_options(mut self, options: BlockOptions) -> Self {
        self.options = options;
        self
    }

    /// Whether a block can be made of it.
    ///
    /// # Errors
    /// If a number is impossible or does not go with another; the message names the field.
    pub fn check(&self) -> Result<()> {
        let &Self { inputs, outputs, inner, first, groups, stride, .. } = self;
        let sizes = [("inputs", inputs), ("outputs", outputs), ("inner", inner), ("first", first)];
        let [first_dilation, dilation] = self.dilation;
        let steps = [("groups", groups), ("stride", stride), ("dilation", first_dilation), ("dilation", dilation)];
        for (field, value) in sizes.into_iter().chain(steps) {
            check_size(field, value)?;
        }
        // What the convolutions with groups read and write.
        let grouped: &[_] = match self.branch {
            Branch::Single => &[("inputs", inputs), ("outputs", outputs)],
            Branch::Basic => &[("inputs", inputs), ("inner", inner), ("outputs", outputs)],
            Branch::Bottleneck(_) => &[("first", first), ("inner", inner)],
        };
        if let Some((field, channels)) = grouped.iter().find(|(_, channels)| !channels.is_multiple_of(groups)) {
            bail!("groups = {groups} do not divide {field} = {channels}");
        }
        if self.options.shortcut == ShortcutKind::A && outputs < inputs {
            bail!("shortcut A cannot go from inputs = {inputs} to outputs = {outputs} channels");
        }
        let pools = self.options.anti_alias.is_some() || self.options.projection == Projection::Pooled;
        if self.dilation != [1, 1] && pools {
            bail!("dilation does not go with anti_alias, nor with a projection that pools");
        }
        check_rate("drop_path", self.drop_path)?;
        self.options.check()
    }

    pub(crate) fn changes_shape(&self) -> bool {
        self.stride != 1 || self.inputs != self.outputs
    }
}

/// The layers of a branch, under the names that the network's naming gives them.
impl BlockConfig {
    /// The 1×1 convolution of that number.
    pub(crate) fn conv1x1(
        &self,
        number: usize,
        channels: [usize; 2],
        stride: usize,
        vb: &VarBuilder,
    ) -> Result<Conv2d> {
        self.conv(number, 1, channels, ConvConfig::square(stride, 0), vb)
    }

    /// The 3×3 convolution of that number, in groups.
    pub(crate) fn conv3x3(
        &self,
        number: usize,
        channels: [usize; 2],
        stride: usize,
        dilation: usize,
        vb: &VarBuilder,
    ) -> Result<Conv2d> {
        let dilated = ConvConfig { dilation: (dilation, dilation), ..ConvConfig::square(stride, dilation) };
        self.conv(number, 3, channels, ConvConfig { groups: self.groups, ..dilated }, vb)
    }

    fn conv(
        &self,
        number: usize,
        kernel: usize,
        [inputs, outputs]: [usize; 2],
        config: ConvConfig,
        vb: &VarBuilder,
    ) -> Result<Conv2d> {
        let vb = vb.pp(self.options.naming.conv(number, kernel));
        // A filter behind it takes the stride.
        let stride = if self.options.anti_alias.is_some() { (1, 1) } else { config.stride };
        let conv = Conv2d::with_config(inputs, outputs, (kernel, kernel), ConvConfig { stride, ..config }, vb)?;
        Ok(conv.with_standardization(self.options.standardize))
    }

    /// Strides of a bottleneck's first 1×1 and of its 3×3 convolution: the paper has it in the first, torchvision and all that
    /// followed in the 3×3 ("v1.5").
    pub(crate) fn bottleneck_strides(&self) -> (usize, usize) {
        match self.branch {
            Branch::Bottleneck(StrideIn::First) => (self.stride, 1),
            _ => (1, self.stride),
        }
    }

    /// The norm that belongs to a convolution of that number and kernel.
    pub(crate) fn norm(&self, number: usize, kernel: usize, channels: usize, vb: &VarBuilder) -> Result<Norm2d> {
        self.scaled_norm(number, kernel, channels, 1., vb)
    }

    /// Likewise the norm that ends a branch, which may begin as zero.
    pub(crate) fn last_norm(&self, number: usize, kernel: usize, vb: &VarBuilder) -> Result<Norm2d> {
        let scale = if self.options.zero_init_last { 0. } else { 1. };
        self.scaled_norm(number, kernel, self.outputs, scale, vb)
    }

    fn scaled_norm(
        &self,
        number: usize,
        kernel: usize,
        channels: usize,
        scale: f64,
        vb: &VarBuilder,
    ) -> Result<Norm2d> {
        let vb = vb.pp(self.options.naming.norm(number, kernel));
        Norm2d::of_kind(self.options.norm, channels, scale, vb)
    }

    /// What follows a convolution of that stride.
    pub(crate) fn anti_alias(&self, stride: usize, vb: &VarBuilder) -> Option<AntiAliasPool> {
        let filter = self.options.anti_alias.filter(|_| stride > 1)?;
        Some(AntiAliasPool::new(filter, stride, vb.pp("aa")))
    }

    /// The attention over that many channels, if there is one.
    pub(crate) fn attention(&self, channels: usize, vb: &VarBuilder) -> Result<Option<ChannelAttention>> {
        let vb = vb.pp(self.options.naming.attention());
        self.options.attention.map(|attention| ChannelAttention::new(attention, channels, vb)).transpose()
    }
}
