//! Weights for a branch's channels, from their means over all pixels.

use candle_core::{Error, Result, Tensor};
use candle_nn::VarBuilder;
use resnet_ops::{ConvConfig, GraphBuilder, NodeId};
use serde::{Deserialize, Serialize};

use crate::check::check_size;
use crate::conv::he;
use crate::layer::{at, modules, within};
use crate::{Conv2d, Layer};

/// Which attention a block has, under the name `se` (or `attn`) as in timm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// Squeeze and excitation (Hu et al. 2018, eq. 2 to 4): two layers with C / reduction channels between, rounded to a
    /// multiple of 8 as in timm.
    SqueezeExcitation {
        /// How many times fewer channels the middle has.
        reduction: usize,
    },
    /// Efficient channel attention (Wang et al. 2020, eq. 6 and 12): a convolution along the channels, whose kernel
    /// grows with their logarithm.
    EfficientChannel,
    /// Likewise with a kernel of that size.
    ChannelKernel {
        /// An odd number.
        kernel: usize,
    },
}

impl Attention {
    /// The attention that a block of so many channels has, to be kept where channels are then taken away: pruned networks
    /// have the kernels of the whole ones.
    pub fn sized_for(self, channels: usize) -> Self {
        match self {
            Self::EfficientChannel => Self::ChannelKernel { kernel: channel_kernel(channels) },
            other => other,
        }
    }
}

/// An attention with its parameters.
#[derive(Debug, Clone)]
pub struct ChannelAttention {
    path: String,
    weights: Weights,
}

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one a block: indirection would save nothing
enum Weights {
    /// `se.fc1`, `se.fc2`: 1×1 convolutions with biases.
    SqueezeExcitation { fc1: Conv2d, fc2: Conv2d },
    /// `se.conv.weight` (1, 1, k)
    EfficientChannel(Tensor),
}

impl ChannelAttention {
    /// The attention over that many channels.
    ///
    /// # Errors
    /// If a size is impossible or the builder lacks a parameter.
    pub fn new(attention: Attention, channels: usize, vb: VarBuilder) -> Result<Self> {
        check_size("channels", channels).map_err(|error| at(&vb, "attention", error))?;
        let weights = match attention {
            Attention::SqueezeExcitation { reduction } => {
                check_size("reduction", reduction).map_err(|error| at(&vb, "attention", error))?;
                let middle = squeezed(channels, reduction);
                let pointwise = |inputs, outputs, name: &str| {
                    Conv2d::with_config(inputs, outputs, (1, 1), ConvConfig::default(), vb.pp(name))?
                        .with_bias(0., vb.pp(name))
                };
                Weights::SqueezeExcitation {
                    fc1: pointwise(channels, middle, "fc1")?,
                    fc2: pointwise(middle, channels, "fc2")?,
                }
            }
            Attention::EfficientChannel => return Self::new(attention.sized_for(channels), channels, vb),
            Attention::ChannelKernel { kernel } => {
                if kernel % 2 == 0 || kernel > MOST_KERNEL {
                    let error = Error::Msg(format!("kernel = {kernel}; an odd number to {MOST_KERNEL} is needed"));
                    return Err(at(&vb, "attention", error));
                }
                Weights::EfficientChannel(vb.pp("conv").get_with_hints((1, 1, kernel), "weight", he())?)
            }
        };
        Ok(Self { path: vb.prefix(), weights })
    }
}

impl Layer for ChannelAttention {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        let mean = graph.global_avg_pool(&within(&self.path, "pool"), x);
        let weights = match &self.weights {
            Weights::SqueezeExcitation { fc1, fc2 } => {
                let y = fc1.append(graph, mean);
                let y = graph.relu(y);
                fc2.append(graph, y)
            }
            Weights::EfficientChannel(weight) => graph.channel_conv(&within(&self.path, "conv"), mean, weight),
        };
        let weights = graph.sigmoid(weights);
        graph.mul(x, weights)
    }
}

modules!(ChannelAttention);

/// The largest kernel along the channels.
const MOST_KERNEL: usize = (1 << 16) - 1;

/// The nearest multiple of 8, at least 8.
fn squeezed(channels: usize, reduction: usize) -> usize {
    let exact = channels as f64 / reduction as f64;
    (((exact + 4.) / 8.) as usize * 8).max(8)
}

/// The odd number at `(log2 C + 1) / 2`, at least 3.
fn channel_kernel(channels: usize) -> usize {
    let t = (((channels.max(1) as f64).log2() + 1.).abs() / 2.) as usize;
    (if t % 2 == 1 { t } else { t + 1 }).max(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_papers() {
        assert_eq!([64, 256, 512, 2048].map(|c| squeezed(c, 16)), [8, 16, 32, 128]);
        assert_eq!([64, 256, 512, 2048].map(channel_kernel), [3, 5, 5, 7]);
    }
}
