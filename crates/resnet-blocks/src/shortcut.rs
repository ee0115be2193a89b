//! The way around the branch.

use candle_core::Result;
use candle_nn::VarBuilder;
use resnet_ops::{AvgPoolConfig, ConvConfig, GraphBuilder, NodeId};

use crate::layer::at;
use crate::{AvgPool2d, BlockConfig, Conv2d, Layer, Norm2d, Projection, ShortcutKind};

/// What is added to the branch.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one a block: indirection would save nothing
pub enum Shortcut {
    /// Nothing (plain network).
    None,
    /// The input.
    Identity,
    /// Option A: the input, subsampled, with zero channels around it.
    PadSubsample {
        /// Step in rows and columns.
        stride: usize,
        /// Zero channels in front.
        before: usize,
        /// Zero channels behind.
        after: usize,
    },
    /// Options B and C: a convolution and, unless norms stand before convolutions, a norm; a pooling may precede.
    Projection {
        /// Takes the stride in place of the convolution.
        pool: Option<AvgPool2d>,
        /// `downsample.0`, or `downsample.1` after a pooling
        conv: Conv2d,
        /// `downsample.1`, or `downsample.2` after a pooling
        norm: Option<Norm2d>,
    },
}

impl Shortcut {
    /// The shortcut that a block's configuration asks for.
    ///
    /// # Errors
    /// If the configuration is impossible, as where option A would have to remove channels, or the builder lacks a
    /// parameter.
    pub fn new(config: &BlockConfig, vb: VarBuilder) -> Result<Self> {
        config.check().map_err(|error| at(&vb, "a shortcut", error))?;
        match (config.options.shortcut, config.changes_shape()) {
            (ShortcutKind::None, _) => Ok(Self::None),
            (ShortcutKind::A | ShortcutKind::B, false) => Ok(Self::Identity),
            (ShortcutKind::A, true) => {
                let extra = config.outputs - config.inputs;
                Ok(Self::PadSubsample { stride: config.stride, before: extra / 2, after: extra - extra / 2 })
            }
            (ShortcutKind::B, true) | (ShortcutKind::C, _) => Self::projection(config, &vb),
        }
    }

    fn projection(config: &BlockConfig, vb: &VarBuilder) -> Result<Self> {
        let &BlockConfig { inputs, outputs, stride, dilation, options, .. } = config;
        let pooled = options.projection == Projection::Pooled;
        let (conv_name, norm_name) = options.naming.projection(pooled);
        let pool = AvgPoolConfig::square(2, stride, true);
        let (kernel, conv_stride) = match options.projection {
            Projection::Strided => (1, stride),
            Projection::Pooled => (1, 1),
            Projection::Strided3x3 => (if stride > 1 || dilation[1] > 1 { 3 } else { 1 }, stride),
        };
        let first_dilation = if kernel > 1 { dilation[0] } else { 1 };
        let conv_config = ConvConfig {
            dilation: (first_dilation, first_dilation),
            ..ConvConfig::square(conv_stride, kernel / 2 * first_dilation)
        };
        let conv = Conv2d::with_config(inputs, outputs, (kernel, kernel), conv_config, vb.pp(conv_name))?;
        Ok(Self::Projection {
            pool: (pooled && stride > 1).then(|| AvgPool2d::new(pool, vb.pp("downsample.pool"))),
            conv: conv.with_standardization(options.standardize),
            norm: match options.order.norm_first() {
                true => None,
                false => Some(Norm2d::of_kind(options.norm, outputs, 1., vb.pp(norm_name))?),
            },
        })
    }

    /// Whether it has a convolution of its own.
    pub fn is_projection(&self) -> bool {
        matches!(self, Self::Projection { .. })
    }

    /// Appends it; `None` where there is nothing to add.
    pub fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> Option<NodeId> {
        match self {
            Self::None => None,
            Self::Identity => Some(x),
            Self::PadSubsample { stride, before, after } => {
                let x = if *stride == 1 { x } else { graph.subsample(x, (*stride, *stride)) };
                Some(graph.pad_channels(x, *before, *after))
            }
            Self::Projection { pool, conv, norm } => {
                let x = pool.append(graph, x);
                let x = conv.append(graph, x);
                Some(norm.append(graph, x))
            }
        }
    }

    /// Appends it and its addition to a branch's result (He et al. 2015, eq. 1 and 2); the result alone in a plain network.
    pub fn add(&self, graph: &mut GraphBuilder, x: NodeId, branch: NodeId) -> NodeId {
        match self.append(graph, x) {
            Some(shortcut) => graph.add(branch, shortcut),
            None => branch,
        }
    }
}
