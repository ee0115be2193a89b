//! The basic block (He et al. 2015, Fig. 5 left).

use candle_core::Result;
use candle_nn::VarBuilder;
use resnet_ops::{GraphBuilder, NodeId};

use crate::{Activation, AntiAliasPool, BlockConfig, ChannelAttention, Conv2d, DropPath, Layer, Norm2d, Shortcut};

/// Two 3×3 convolutions beside a shortcut, and a ReLU after the addition.
///
/// ```text
/// x ─┬─ conv1 3×3 ─ bn1 ─ ReLU ─ conv2 3×3 ─ bn2 ─ (+) ─ ReLU ─
///    └──────────────── shortcut ───────────────────┘
/// ```
///
/// (N, inputs, H, W) to (N, outputs, ⌈H / stride⌉, ⌈W / stride⌉).
#[derive(Debug, Clone)]
pub struct BasicBlock {
    conv1: Conv2d,
    bn1: Norm2d,
    anti_alias: Option<AntiAliasPool>,
    conv2: Conv2d,
    bn2: Norm2d,
    attention: Option<ChannelAttention>,
    drop_path: DropPath,
    shortcut: Shortcut,
    activation: Activation,
}

impl BasicBlock {
    /// The block of that configuration, with its parameters from `vb`; branch, order and merge are its own.
    ///
    /// # Errors
    /// If the builder lacks a parameter.
    pub fn new(config: &BlockConfig, vb: VarBuilder) -> Result<Self> {
        let &BlockConfig { inputs, inner, outputs, stride, dilation: [dilation1, dilation2], .. } = config;
        Ok(Self {
            conv1: config.conv3x3(1, [inputs, inner], stride, dilation1, &vb)?,
            bn1: config.norm(1, 3, inner, &vb)?,
            anti_alias: config.anti_alias(stride, &vb),
            conv2: config.conv3x3(2, [inner, outputs], 1, dilation2, &vb)?,
            bn2: config.last_norm(2, 3, &vb)?,
            attention: config.attention(outputs, &vb)?,
            drop_path: DropPath(config.drop_path),
            shortcut: Shortcut::new(config, vb)?,
            activation: config.options.activation,
        })
    }
}

impl Layer for BasicBlock {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        let y = self.conv1.append(graph, x);
        let y = self.bn1.append(graph, y);
        let y = self.activation.append(graph, y);
        let y = self.anti_alias.append(graph, y);

        let y = self.conv2.append(graph, y);
        let y = self.bn2.append(graph, y);
        let y = self.attention.append(graph, y);
        let y = self.drop_path.append(graph, y);

        let y = self.shortcut.add(graph, x, y);
        self.activation.append(graph, y)
    }
}
