use candle_core::Tensor;

use super::{DropUnit, Graph, Node, NodeId, NormParameters, Op, Spread};
use crate::{AvgPoolConfig, ConvConfig, PoolConfig};

/// Appends operations to a [`Graph`], one call each, in the order of execution.
#[derive(Debug, Clone)]
pub struct GraphBuilder {
    nodes: Vec<Node>,
}

impl GraphBuilder {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node { name: String::new(), op: Op::Input, inputs: Vec::new() }] }
    }

    pub(super) fn going_on(nodes: Vec<Node>) -> Self {
        Self { nodes }
    }

    /// The graph's input.
    pub fn input(&self) -> NodeId {
        NodeId(0)
    }

    /// A constant map (N, C, H, W), with the batch of the input.
    pub fn constant(&mut self, map: &Tensor) -> NodeId {
        self.push("", Op::Constant(map.clone()), &[])
    }

    /// Convolution with `weight` (O, C / groups, kh, kw) and `bias` (O).
    pub fn conv(
        &mut self,
        name: &str,
        x: NodeId,
        weight: &Tensor,
        bias: Option<&Tensor>,
        config: ConvConfig,
    ) -> NodeId {
        self.push(name, Op::Conv { weight: weight.clone(), bias: bias.cloned(), config, standardize: None }, &[x])
    }

    /// Convolution with the standardised `weight` (O, C / groups, kh, kw): mean 0 and variance 1, plus `eps`, over each
    /// output channel (Qiao et al. 2019).
    pub fn standardized_conv(
        &mut self,
        name: &str,
        x: NodeId,
        weight: &Tensor,
        eps: f64,
        config: ConvConfig,
    ) -> NodeId {
        self.push(name, Op::Conv { weight: weight.clone(), bias: None, config, standardize: Some(eps) }, &[x])
    }

    /// Batch norm.
    pub fn norm(&mut self, name: &str, x: NodeId, parameters: &NormParameters) -> NodeId {
        self.push(name, Op::Norm(parameters.clone()), &[x])
    }

    /// Rectified linear unit.
    pub fn relu(&mut self, x: NodeId) -> NodeId {
        self.push("", Op::Relu, &[x])
    }

    /// Sum of two values of one shape.
    pub fn add(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.push("", Op::Add, &[a, b])
    }

    /// Maximum of each window.
    pub fn max_pool(&mut self, name: &str, x: NodeId, config: PoolConfig) -> NodeId {
        self.push(name, Op::MaxPool(config), &[x])
    }

    /// Mean over all pixels.
    pub fn global_avg_pool(&mut self, name: &str, x: NodeId) -> NodeId {
        self.push(name, Op::GlobalAvgPool, &[x])
    }

    /// Fully connected layer with `weight` (O, I) and `bias` (O).
    pub fn linear(&mut self, name: &str, x: NodeId, weight: &Tensor, bias: Option<&Tensor>) -> NodeId {
        self.push(name, Op::Linear { weight: weight.clone(), bias: bias.cloned() }, &[x])
    }

    /// Every stride-th row and column, from the first.
    pub fn subsample(&mut self, x: NodeId, stride: (usize, usize)) -> NodeId {
        self.push("", Op::Subsample { stride }, &[x])
    }

    /// Zero channels before and after the given ones.
    pub fn pad_channels(&mut self, x: NodeId, before: usize, after: usize) -> NodeId {
        self.push("", Op::PadChannels { before, after }, &[x])
    }

    /// `scale · x + shift`; nothing where that is `x`.
    pub fn affine(&mut self, x: NodeId, scale: f64, shift: f64) -> NodeId {
        if (scale, shift) == (1., 0.) { x } else { self.push("", Op::Affine { scale, shift }, &[x]) }
    }

    /// `1 / (1 + e^-x)`.
    pub fn sigmoid(&mut self, x: NodeId) -> NodeId {
        self.push("", Op::Sigmoid, &[x])
    }

    /// Product of `x` and a gate (N, C, H, W), (N, C, 1, 1), (N, C) or (N, 1, H, W).
    pub fn mul(&mut self, x: NodeId, gate: NodeId) -> NodeId {
        self.push("", Op::Mul, &[x, gate])
    }

    /// In training, values (or whole images) are dropped at that rate and the others divided by 1 − rate; nothing at
    /// rate 0. See [`DropoutRng`](super::DropoutRng) for the seed.
    pub fn dropout(&mut self, x: NodeId, rate: f64, unit: DropUnit) -> NodeId {
        if rate == 0. { x } else { self.push("", Op::Dropout { rate, unit }, &[x]) }
    }

    /// Mean of each window.
    pub fn avg_pool(&mut self, name: &str, x: NodeId, config: AvgPoolConfig) -> NodeId {
        self.push(name, Op::AvgPool(config), &[x])
    }

    /// Group norm with `weight` and `bias` (C).
    pub fn group_norm(
        &mut self,
        name: &str,
        x: NodeId,
        (weight, bias): (&Tensor, &Tensor),
        groups: usize,
        eps: f64,
    ) -> NodeId {
        self.push(name, Op::GroupNorm { weight: weight.clone(), bias: bias.clone(), groups, eps }, &[x])
    }

    /// The binomial filter 1 2 1 over a reflected border, then every stride-th row and column.
    pub fn blur_pool(&mut self, name: &str, x: NodeId, stride: usize) -> NodeId {
        self.push(name, Op::BlurPool { stride }, &[x])
    }

    /// One-dimensional convolution along the channels of a vector (N, C) or (N, C, 1, 1), `weight` (1, 1, k).
    pub fn channel_conv(&mut self, name: &str, x: NodeId, weight: &Tensor) -> NodeId {
        self.push(name, Op::ChannelConv { weight: weight.clone() }, &[x])
    }

    /// Zeros around each map: so many rows above and below, columns left and right.
    pub fn zero_pad(&mut self, x: NodeId, padding: (usize, usize)) -> NodeId {
        self.push("", Op::ZeroPad { padding }, &[x])
    }

    /// `x` over the spread of each image's and group's channels and pixels.
    pub fn divide_by_spread(&mut self, name: &str, x: NodeId, spread: Spread, groups: usize, eps: f64) -> NodeId {
        self.push(name, Op::DivideBySpread { spread, groups, eps }, &[x])
    }

    /// A scale `weight` and a shift `bias` (C) for each channel.
    pub fn channel_affine(&mut self, name: &str, x: NodeId, weight: &Tensor, bias: Option<&Tensor>) -> NodeId {
        self.push(name, Op::ChannelAffine { weight: weight.clone(), bias: bias.cloned() }, &[x])
    }

    /// The greater of each value and its channel's `threshold` (C).
    pub fn channel_floor(&mut self, name: &str, x: NodeId, threshold: &Tensor) -> NodeId {
        self.push(name, Op::ChannelFloor { threshold: threshold.clone() }, &[x])
    }

    /// The graph that returns `output`.
    pub fn finish(self, output: NodeId) -> Graph {
        Graph::from_nodes(self.nodes, output)
    }

    fn push(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> NodeId {
        self.nodes.push(Node { name: name.to_string(), op, inputs: inputs.to_vec() });
        NodeId(self.nodes.len() - 1)
    }
}
