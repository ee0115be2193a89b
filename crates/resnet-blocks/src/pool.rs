//! Pooling.

use candle_nn::VarBuilder;
use resnet_ops::{AvgPoolConfig, GraphBuilder, NodeId, PoolConfig};

use crate::Layer;
use crate::layer::modules;

/// The maximum of each window: (N, C, H, W) to (N, C, H', W').
#[derive(Debug, Clone)]
pub struct MaxPool2d {
    path: String,
    config: PoolConfig,
}

impl MaxPool2d {
    /// A pooling of that window; the builder gives its name alone.
    pub fn new(config: PoolConfig, vb: VarBuilder) -> Self {
        Self { path: vb.prefix(), config }
    }
}

impl Layer for MaxPool2d {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        graph.max_pool(&self.path, x, self.config)
    }
}

/// The mean of each window: (N, C, H, W) to (N, C, H', W').
#[derive(Debug, Clone)]
pub struct AvgPool2d {
    path: String,
    config: AvgPoolConfig,
}

impl AvgPool2d {
    /// A pooling of that window; the builder gives its name alone.
    pub fn new(config: AvgPoolConfig, vb: VarBuilder) -> Self {
        Self { path: vb.prefix(), config }
    }
}

impl Layer for AvgPool2d {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        graph.avg_pool(&self.path, x, self.config)
    }
}

/// The mean over all pixels: (N, C, H, W) to (N, C).
#[derive(Debug, Clone)]
pub struct GlobalAvgPool2d {
    path: String,
}

impl GlobalAvgPool2d {
    /// The builder gives its name alone.
    pub fn new(vb: VarBuilder) -> Self {
        Self { path: vb.prefix() }
    }
}

impl Layer for GlobalAvgPool2d {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        graph.global_avg_pool(&self.path, x)
    }
}

modules!(MaxPool2d, AvgPool2d, GlobalAvgPool2d);
