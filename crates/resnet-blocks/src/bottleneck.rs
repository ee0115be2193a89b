//! The bottleneck block (He et al. 2015, Fig. 5 right).

use candle_core::Result;
use candle_nn::VarBuilder;
use resnet_ops::{GraphBuilder, NodeId};

use crate::{Activation, AntiAliasPool, BlockConfig, ChannelAttention, Conv2d, DropPath, Layer, Norm2d, Shortcut};

/// A 1×1 convolution that reduces the channels, a 3×3, and a 1×1 that restores them, beside a shortcut; a ReLU after the
/// addition.
///
/// ```text
/// x ─┬─ conv1 1×1 ─ bn1 ─ ReLU ─ conv2 3×3 ─ bn2 ─ ReLU ─ conv3 1×1 ─ bn3 ─ (+) ─ ReLU ─
///    └─────────────────────────── shortcut ─────────────────────────────────┘
/// ```
///
/// (N, inputs, H, W) to (N, outputs, ⌈H / stride⌉, ⌈W / stride⌉).
#[derive(Debug, Clone)]
pub struct Bottleneck {
    conv1: Conv2d,
    bn1: Norm2d,
    conv2: Conv2d,
    bn2: Norm2d,
    anti_alias: Option<AntiAliasPool>,
    inner_attention: Option<ChannelAttention>,
    conv3: Conv2d,
    bn3: Norm2d,
    last_attention: Option<ChannelAttention>,
    drop_path: DropPath,
    shortcut: Shortcut,
    activation: Activation,
}

impl Bottleneck {
    /// The block of that configuration, with its parameters from `vb`; order and merge are its own.
    ///
    /// # Errors
    /// If the builder lacks a parameter.
    pub fn new(config: &BlockConfig, vb: VarBuilder) -> Result<Self> {
        let &BlockConfig { inputs, first, inner, outputs, dilation: [dilation, _], .. } = config;
        let (stride1, stride2) = config.bottleneck_strides();
        let attn_last = config.options.attn_last;
        Ok(Self {
            conv1: config.conv1x1(1, [inputs, first], stride1, &vb)?,
            bn1: config.norm(1, 1, first, &vb)?,
            conv2: config.conv3x3(2, [first, inner], stride2, dilation, &vb)?,
            bn2: config.norm(2, 3, inner, &vb)?,
            anti_alias: config.anti_alias(stride2, &vb),
            inner_attention: if attn_last { None } else { config.attention(inner, &vb)? },
            conv3: config.conv1x1(3, [inner, outputs], 1, &vb)?,
            bn3: config.last_norm(3, 1, &vb)?,
            last_attention: if attn_last { config.attention(outputs, &vb)? } else { None },
            drop_path: DropPath(config.drop_path),
            shortcut: Shortcut::new(config, vb)?,
            activation: config.options.activation,
        })
    }
}

impl Layer for Bottleneck {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        let y = self.conv1.append(graph, x);
        let y = self.bn1.append(graph, y);
        let y = self.activation.append(graph, y);

        let y = self.conv2.append(graph, y);
        let y = self.bn2.append(graph, y);
        let y = self.activation.append(graph, y);
        let y = self.anti_alias.append(graph, y);
        let y = self.inner_attention.append(graph, y);

        let y = self.conv3.append(graph, y);
        let y = self.bn3.append(graph, y);
        let y = self.last_attention.append(graph, y);
        let y = self.drop_path.append(graph, y);

        let y = self.shortcut.add(graph, x, y);
        self.activation.append(graph, y)
    }
}
