//! The blocks of the ablations in He et al. 2016: every order of Table 2, every merge of Table 1, on every branch.

use candle_core::Result;
use candle_nn::VarBuilder;
use resnet_ops::{GraphBuilder, NodeId};

use crate::merge::ResidualAdd;
use crate::{
    Activation, AntiAliasPool, BlockConfig, Branch, ChannelAttention, Conv2d, DropPath, Layer, Norm2d, Order, Shortcut,
};

/// A branch of convolutions, a shortcut and their merge, with norms and activations in any [`Order`]: what is tried
/// against the blocks that networks are made of ([`BasicBlock`](crate::BasicBlock),
/// [`PreActBasic`](crate::PreActBasic), …), and equal to them where it is asked for the same.
///
/// (N, inputs, H, W) to (N, outputs, ⌈H / stride⌉, ⌈W / stride⌉).
#[derive(Debug, Clone)]
pub struct AblationBlock {
    units: Vec<Unit>,
    attention: Option<ChannelAttention>,
    drop_path: DropPath,
    shortcut: Shortcut,
    addition: ResidualAdd,
    order: Order,
    activation: Activation,
    shared_activation: bool,
}

/// A convolution of the branch, with the norm that belongs to it and what takes its stride.
#[derive(Debug, Clone)]
struct Unit {
    conv: Conv2d,
    norm: Norm2d,
    anti_alias: Option<AntiAliasPool>,
    /// Before the convolution.
    attention: Option<ChannelAttention>,
}

impl AblationBlock {
    /// The block of that configuration, with its parameters from `vb`.
    ///
    /// # Errors
    /// If the builder lacks a parameter.
    pub fn new(config: &BlockConfig, vb: VarBuilder) -> Result<Self> {
        let &BlockConfig { inputs, first, inner, outputs, stride, dilation, options, .. } = config;
        let (stride1, stride2) = config.bottleneck_strides();
        // Channels, kernel and stride of each convolution.
        let convs: &[([usize; 2], usize, usize)] = match config.branch {
            Branch::Single => &[([inputs, outputs], 3, stride)],
            Branch::Basic => &[([inputs, inner], 3, stride), ([inner, outputs], 3, 1)],
            Branch::Bottleneck(_) => {
                &[([inputs, first], 1, stride1), ([first, inner], 3, stride2), ([inner, outputs], 1, 1)]
            }
        };
        let mut units = Vec::with_capacity(convs.len());
        for (i, &(channels, kernel, stride)) in convs.iter().enumerate() {
            let (number, last) = (i + 1, i + 1 == convs.len());
            units.push(Unit {
                attention: if last && !options.attn_last { config.attention(channels[0], &vb)? } else { None },
                conv: match kernel {
                    1 => config.conv1x1(number, channels, stride, &vb)?,
                    _ => config.conv3x3(number, channels, stride, dilation[usize::from(last && number == 2)], &vb)?,
                },
                norm: match options.order {
                    Order::PreActivation => config.norm(number, kernel, channels[0], &vb)?,
                    Order::Original if last => config.last_norm(number, kernel, &vb)?,
                    _ => config.norm(number, kernel, channels[1], &vb)?,
                },
                anti_alias: config.anti_alias(stride, &vb),
            });
        }
        let shortcut = Shortcut::new(config, vb.clone())?;
        Ok(Self {
            units,
            attention: if options.attn_last { config.attention(outputs, &vb)? } else { None },
            drop_path: DropPath(config.drop_path),
            addition: ResidualAdd::new(config, &vb)?,
            order: options.order,
            activation: options.activation,
            shared_activation: config.shared_activation || shortcut.is_projection(),
            shortcut,
        })
    }

    /// The branch, and what the shortcut begins with (Fig. 4, each from left to right).
    fn branch(&self, graph: &mut GraphBuilder, x: NodeId) -> (NodeId, NodeId) {
        let (mut y, mut start) = (x, x);
        for (i, Unit { conv, norm, anti_alias, attention }) in self.units.iter().enumerate() {
            let last = i + 1 == self.units.len();
            y = attention.append(graph, y);
            // Pre-activation: what comes before the convolution.
            if self.order == Order::PreActivation {
                y = norm.append(graph, y);
            }
            if self.order.is_pre_activation() {
                y = self.activation.append(graph, y);
                if i == 0 && self.shared_activation {
                    start = y;
                }
            }
            y = conv.append(graph, y);
            // What comes behind it, as far as it does not come behind the addition.
            y = match self.order {
                Order::PreActivation => y,
                Order::NormAfterAddition if last => y,
                _ => norm.append(graph, y),
            };
            y = match self.order {
                Order::ReluBeforeAddition => self.activation.append(graph, y),
                Order::Original | Order::NormAfterAddition if !last => self.activation.append(graph, y),
                _ => y,
            };
            y = anti_alias.append(graph, y);
        }
        (y, start)
    }
}

impl Layer for AblationBlock {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        let (y, start) = self.branch(graph, x);
        let y = self.attention.append(graph, y);
        let y = self.drop_path.append(graph, y);
        let y = match self.shortcut.append(graph, start) {
            Some(shortcut) => self.addition.append(graph, start, shortcut, y),
            None => y,
        };
        match (self.order, self.units.last()) {
            (Order::Original, _) => self.activation.append(graph, y),
            (Order::NormAfterAddition, Some(unit)) => {
                let y = unit.norm.append(graph, y);
                self.activation.append(graph, y)
            }
            _ => y,
        }
    }
}
