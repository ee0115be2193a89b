//! The way around the branch.

use candle_core::{Result, bail};
use candle_nn::VarBuilder;
use resnet_ops::{GraphBuilder, Value};

use crate::layers::join;
use crate::{BlockConfig, Conv2d, Layer, Norm2d, Order, ShortcutKind};

/// What is added to the branch.
#[derive(Debug, Clone)]
pub enum Shortcut {
    /// Nothing (plain network).
    None,
    /// The input.
    Identity,
    /// The input, subsampled, with zero channels around it (option A).
    PadSubsample {
        /// Step in rows and columns.
        stride: usize,
        /// Zero channels in front.
        before: usize,
        /// Zero channels behind.
        after: usize,
    },
    /// A 1×1 convolution, `downsample.0`, in the original order with a norm, `downsample.1` (options B and C).
    Projection {
        /// `downsample.0`
        conv: Conv2d,
        /// `downsample.1`
        norm: Option<Norm2d>,
    },
}

impl Shortcut {
    /// The shortcut that a block's configuration asks for.
    ///
    /// # Errors
    /// If option A would have to remove channels, or the builder lacks a parameter.
    pub fn new(config: &BlockConfig, vb: VarBuilder) -> Result<Self> {
        Ok(match (config.shortcut, config.changes_shape()) {
            (ShortcutKind::None, _) => Self::None,
            (ShortcutKind::A | ShortcutKind::B, false) => Self::Identity,
            (ShortcutKind::A, true) => {
                let Some(extra) = config.outputs.checked_sub(config.inputs) else {
                    bail!("shortcut A cannot go from {} to {} channels", config.inputs, config.outputs)
                };
                Self::PadSubsample { stride: config.stride, before: extra / 2, after: extra - extra / 2 }
            }
            (ShortcutKind::B, true) | (ShortcutKind::C, _) => {
                let vb = vb.pp("downsample");
                let conv = Conv2d::new(config.inputs, config.outputs, 1, config.stride, vb.pp("0"))?;
                let norm = match config.order {
                    Order::Original => Some(Norm2d::new(config.outputs, vb.pp("1"))?),
                    Order::PreActivation => None,
                };
                Self::Projection { conv, norm }
            }
        })
    }

    /// Whether it has a convolution of its own.
    pub fn is_projection(&self) -> bool {
        matches!(self, Self::Projection { .. })
    }

    /// Appends it; `None` where there is nothing to add.
    pub fn append(&self, graph: &mut GraphBuilder, path: &str, x: Value) -> Option<Value> {
        match self {
            Self::None => None,
            Self::Identity => Some(x),
            Self::PadSubsample { stride, before, after } => {
                let x = if *stride == 1 { x } else { graph.subsample(x, (*stride, *stride)) };
                Some(graph.pad_channels(x, *before, *after))
            }
            Self::Projection { conv, norm } => {
                let y = conv.append(graph, &join(path, "downsample.0"), x);
                Some(match norm {
                    Some(norm) => norm.append(graph, &join(path, "downsample.1"), y),
                    None => y,
                })
            }
        }
    }
}
