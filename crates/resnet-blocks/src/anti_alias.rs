//! Strides that are taken by a low-pass filter (Zhang 2019, "Making convolutional networks shift-invariant again").

use candle_nn::VarBuilder;
use resnet_ops::{AvgPoolConfig, GraphBuilder, NodeId};
use serde::{Deserialize, Serialize};

use crate::Layer;
use crate::layer::modules;

/// Which filter takes the stride in place of a convolution or max-pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AntiAlias {
    /// The binomial filter of three taps.
    Blur,
    /// The mean of stride × stride pixels.
    Average,
}

/// An [`AntiAlias`] filter with its stride: (N, C, H, W) to (N, C, ⌈H / stride⌉, ⌈W / stride⌉), the mean rounding down.
#[derive(Debug, Clone)]
pub struct AntiAliasPool {
    path: String,
    filter: AntiAlias,
    stride: usize,
}

impl AntiAliasPool {
    /// The builder gives its name alone.
    pub fn new(filter: AntiAlias, stride: usize, vb: VarBuilder) -> Self {
        Self { path: vb.prefix(), filter, stride }
    }
}

impl Layer for AntiAliasPool {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        match self.filter {
            AntiAlias::Blur => graph.blur_pool(&self.path, x, self.stride),
            AntiAlias::Average => graph.avg_pool(&self.path, x, AvgPoolConfig::square(self.stride, self.stride, false)),
        }
    }
}

modules!(AntiAliasPool);
