use candle_core::Tensor;

use super::{Graph, Node, NormParameters, Op, Value};
use crate::{ConvConfig, PoolConfig};

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
    pub fn input(&self) -> Value {
        Value(0)
    }

    /// A given map (N, C, H, W), with the batch of the input.
    pub fn given(&mut self, map: &Tensor) -> Value {
        self.push("", Op::Given(map.clone()), &[])
    }

    /// Convolution with `weight` (O, C / groups, kh, kw) and `bias` (O).
    pub fn conv(&mut self, name: &str, x: Value, weight: &Tensor, bias: Option<&Tensor>, config: ConvConfig) -> Value {
        self.push(name, Op::Conv { weight: weight.clone(), bias: bias.cloned(), config }, &[x])
    }

    /// Batch norm.
    pub fn norm(&mut self, name: &str, x: Value, parameters: &NormParameters) -> Value {
        self.push(name, Op::Norm(parameters.clone()), &[x])
    }

    /// Rectified linear unit.
    pub fn relu(&mut self, x: Value) -> Value {
        self.push("", Op::Relu, &[x])
    }

    /// Sum of two values of one shape.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.push("", Op::Add, &[a, b])
    }

    /// Maximum of each window.
    pub fn max_pool(&mut self, name: &str, x: Value, config: PoolConfig) -> Value {
        self.push(name, Op::MaxPool(config), &[x])
    }

    /// Mean over all pixels.
    pub fn global_avg_pool(&mut self, name: &str, x: Value) -> Value {
        self.push(name, Op::GlobalAvgPool, &[x])
    }

    /// Fully connected layer with `weight` (O, I) and `bias` (O).
    pub fn linear(&mut self, name: &str, x: Value, weight: &Tensor, bias: Option<&Tensor>) -> Value {
        self.push(name, Op::Linear { weight: weight.clone(), bias: bias.cloned() }, &[x])
    }

    /// Every stride-th row and column, from the first.
    pub fn subsample(&mut self, x: Value, stride: (usize, usize)) -> Value {
        self.push("", Op::Subsample { stride }, &[x])
    }

    /// Zero channels before and after the given ones.
    pub fn pad_channels(&mut self, x: Value, before: usize, after: usize) -> Value {
        self.push("", Op::PadChannels { before, after }, &[x])
    }

    /// The graph that returns `output`.
    pub fn finish(self, output: Value) -> Graph {
        Graph::from_nodes(self.nodes, output)
    }

    fn push(&mut self, name: &str, op: Op, inputs: &[Value]) -> Value {
        self.nodes.push(Node { name: name.to_string(), op, inputs: inputs.to_vec() });
        Value(self.nodes.len() - 1)
    }
}
