//! The way around the branch.

use candle_core::Result;
use candle_nn::VarBuilder;
use resnet_ops::{AvgPoolConfig, ConvConfig, GraphBuilder, Value};

use crate::layers::{at, join};
use crate::{BlockConfig, Conv2d, Layer, Naming, Norm2d, Projection, ShortcutKind};

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
    /// A convolution and, unless norms stand before convolutions, a norm (options B and C); a pooling may precede.
    Projection {
        /// Takes the stride in place of the convolution.
        pool: Option<AvgPoolConfig>,
        /// `downsample.0`, or `downsample.1` after a pooling
        conv: Conv2d,
        /// `downsample.1`, or `downsample.2` after a pooling
        norm: Option<Norm2d>,
        /// What these are called.
        naming: Naming,
        /// Whether the names count the pooling.
        pooled: bool,
    },
}

impl Shortcut {
    /// The shortcut that a block's configuration asks for.
    ///
    /// # Errors
    /// If the configuration is impossible, as where option A would have to remove channels, or the builder lacks a parameter.
    pub fn new(config: &BlockConfig, vb: VarBuilder) -> Result<Self> {
        config.check().map_err(|error| at(&vb, "a shortcut", error))?;
        Ok(match (config.shortcut, config.changes_shape()) {
            (ShortcutKind::None, _) => Self::None,
            (ShortcutKind::A | ShortcutKind::B, false) => Self::Identity,
            (ShortcutKind::A, true) => {
                let extra = config.outputs.saturating_sub(config.inputs);
                Self::PadSubsample { stride: config.stride, before: extra / 2, after: extra - extra / 2 }
            }
            (ShortcutKind::B, true) | (ShortcutKind::C, _) => {
                let (naming, pooled) = (config.naming, config.projection == Projection::Pooled);
                let pool = (pooled && config.stride > 1).then(|| AvgPoolConfig::square(2, config.stride, true));
                let stride = if pooled { 1 } else { config.stride };
                let kernel = if config.projection == Projection::Strided3x3 && stride > 1 { 3 } else { 1 };
                let (conv_name, norm_name) = naming.projection(pooled);
                let conv_config = ConvConfig::square(stride, kernel / 2);
                let size = (kernel, kernel);
                let conv = Conv2d::with_config(config.inputs, config.outputs, size, conv_config, vb.pp(conv_name))?;
                let conv = conv.with_standardization(config.standardize);
                let norm = match config.order.norm_first() {
                    false => Some(Norm2d::of_kind(config.norm, config.outputs, 1., vb.pp(norm_name))?),
                    true => None,
                };
                Self::Projection { pool, conv, norm, naming, pooled }
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
            Self::Projection { pool, conv, norm, naming, pooled } => {
                let (conv_name, norm_name) = naming.projection(*pooled);
                let x = match pool {
                    Some(pool) => graph.avg_pool(&join(path, "downsample.pool"), x, *pool),
                    None => x,
                };
                let y = conv.append(graph, &join(path, conv_name), x);
                Some(match norm {
                    Some(norm) => norm.append(graph, &join(path, norm_name), y),
                    None => y,
                })
            }
        }
    }
}
