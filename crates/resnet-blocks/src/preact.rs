//! The blocks with full pre-activation (He et al. 2016, Fig. 1b and 4e): norm and ReLU come before each convolution, and
//! nothing after the addition.

use candle_core::Result;
use candle_nn::VarBuilder;
use resnet_ops::{GraphBuilder, NodeId};

use crate::{Activation, AntiAliasPool, BlockConfig, ChannelAttention, Conv2d, DropPath, Layer, Norm2d, Shortcut};

/// Two 3×3 convolutions.
///
/// ```text
/// x ─┬─ bn1 ─ ReLU ─ conv1 3×3 ─ bn2 ─ ReLU ─ conv2 3×3 ─ (+) ─
///    └──────────────────── shortcut ───────────────────────┘
/// ```
///
/// (N, inputs, H, W) to (N, outputs, ⌈H / stride⌉, ⌈W / stride⌉).
#[derive(Debug, Clone)]
pub struct PreActBasic {
    bn1: Norm2d,
    conv1: Conv2d,
    anti_alias: Option<AntiAliasPool>,
    bn2: Norm2d,
    conv2: Conv2d,
    attention: Option<ChannelAttention>,
    drop_path: DropPath,
    shortcut: Shortcut,
    activation: Activation,
    /// Whether the shortcut begins behind bn1 and ReLU (He et al. 2016, appendix).
    shared_activation: bool,
}

impl PreActBasic {
    /// The block of that configuration, with its parameters from `vb`; branch, order and merge are its own.
    ///
    /// # Errors
    /// If the builder lacks a parameter.
    pub fn new(config: &BlockConfig, vb: VarBuilder) -> Result<Self> {
        let &BlockConfig { inputs, inner, outputs, stride, dilation: [dilation1, dilation2], .. } = config;
        let shortcut = Shortcut::new(config, vb.clone())?;
        Ok(Self {
            bn1: config.norm(1, 3, inputs, &vb)?,
            conv1: config.conv3x3(1, [inputs, inner], stride, dilation1, &vb)?,
            anti_alias: config.anti_alias(stride, &vb),
            bn2: config.norm(2, 3, inner, &vb)?,
            conv2: config.conv3x3(2, [inner, outputs], 1, dilation2, &vb)?,
            attention: config.attention(outputs, &vb)?,
            drop_path: DropPath(config.drop_path),
            shared_activation: config.shared_activation || shortcut.is_projection(),
            shortcut,
            activation: config.options.activation,
        })
    }
}

impl Layer for PreActBasic {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        let y = self.bn1.append(graph, x);
        let y = self.activation.append(graph, y);
        let start = if self.shared_activation { y } else { x };
        let y = self.conv1.append(graph, y);
        let y = self.anti_alias.append(graph, y);

        let y = self.bn2.append(graph, y);
        let y = self.activation.append(graph, y);
        let y = self.conv2.append(graph, y);
        let y = self.attention.append(graph, y);
        let y = self.drop_path.append(graph, y);

        self.shortcut.add(graph, start, y)
    }
}

/// 1×1, 3×3 and 1×1 convolutions.
///
/// ```text
/// x ─┬─ bn1 ─ ReLU ─ conv1 1×1 ─ bn2 ─ ReLU ─ conv2 3×3 ─ bn3 ─ ReLU ─ conv3 1×1 ─ (+) ─
///    └──────────────────────────────── shortcut ────────────────────────────────────┘
/// ```
///
/// (N, inputs, H, W) to (N, outputs, ⌈H / stride⌉, ⌈W / stride⌉).
#[derive(Debug, Clone)]
pub struct PreActBottleneck {
    bn1: Norm2d,
    conv1: Conv2d,
    bn2: Norm2d,
    conv2: Conv2d,
    anti_alias: Option<AntiAliasPool>,
    bn3: Norm2d,
    conv3: Conv2d,
    attention: Option<ChannelAttention>,
    drop_path: DropPath,
    shortcut: Shortcut,
    activation: Activation,
    /// Whether the shortcut begins behind bn1 and ReLU (He et al. 2016, appendix).
    shared_activation: bool,
}

impl PreActBottleneck {
    /// The block of that configuration, with its parameters from `vb`; order and merge are its own.
    ///
    /// # Errors
    /// If the builder lacks a parameter.
    pub fn new(config: &BlockConfig, vb: VarBuilder) -> Result<Self> {
        let &BlockConfig { inputs, first, inner, outputs, dilation: [dilation, _], .. } = config;
        let (stride1, stride2) = config.bottleneck_strides();
        let shortcut = Shortcut::new(config, vb.clone())?;
        Ok(Self {
            bn1: config.norm(1, 1, inputs, &vb)?,
            conv1: config.conv1x1(1, [inputs, first], stride1, &vb)?,
            bn2: config.norm(2, 3, first, &vb)?,
            conv2: config.conv3x3(2, [first, inner], stride2, dilation, &vb)?,
            anti_alias: config.anti_alias(stride2, &vb),
            bn3: config.norm(3, 1, inner, &vb)?,
            conv3: config.conv1x1(3, [inner, outputs], 1, &vb)?,
            attention: config.attention(outputs, &vb)?,
            drop_path: DropPath(config.drop_path),
            shared_activation: config.shared_activation || shortcut.is_projection(),
            shortcut,
            activation: config.options.activation,
        })
    }
}

impl Layer for PreActBottleneck {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        let y = self.bn1.append(graph, x);
        let y = self.activation.append(graph, y);
        let start = if self.shared_activation { y } else { x };
        let y = self.conv1.append(graph, y);

        let y = self.bn2.append(graph, y);
        let y = self.activation.append(graph, y);
        let y = self.conv2.append(graph, y);
        let y = self.anti_alias.append(graph, y);

        let y = self.bn3.append(graph, y);
        let y = self.activation.append(graph, y);
        let y = self.conv3.append(graph, y);
        let y = self.attention.append(graph, y);
        let y = self.drop_path.append(graph, y);

        self.shortcut.add(graph, start, y)
    }
}
