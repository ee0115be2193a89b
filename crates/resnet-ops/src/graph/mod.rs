//! A network as a list of operations on named parameters.
//!
//! Layers describe themselves once, by appending operations to a [`GraphBuilder`]; everything else reads that one
//! description: the portable interpreter, the fused CPU engine, inference, summaries and exports.

mod builder;
mod interpreter;
mod segment;
mod shapes;

use std::fmt;
use std::sync::{Arc, OnceLock};

use candle_core::{DType, Result, Tensor, Var};

use crate::{ConvConfig, NormConfig, PoolConfig, cpu};
pub use builder::GraphBuilder;
pub use shapes::MapShape;

/// A result within a graph: the position of the node that computes it. The default is the graph's input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub(crate) usize);

impl Value {
    /// The position of the node, counted from 0 in the order of execution.
    pub fn index(self) -> usize {
        self.0
    }
}

/// Parameters and running statistics of a batch norm, all of shape (C).
#[derive(Debug, Clone)]
pub struct NormParameters {
    /// Scale (γ), absent if not affine.
    pub weight: Option<Tensor>,
    /// Shift (β), absent if not affine.
    pub bias: Option<Tensor>,
    /// Running mean: read in evaluation, updated in training.
    pub running_mean: Var,
    /// Running (unbiased) variance: read in evaluation, updated in training.
    pub running_var: Var,
    /// Epsilon and momentum.
    pub config: NormConfig,
}

/// One operation. Shapes are (N, C, H, W) unless said otherwise.
#[derive(Debug, Clone)]
pub enum Op {
    /// The graph's input.
    Input,
    /// A given map (N, C, H, W) with the batch of the input; gradients flow to it as to a parameter.
    Given(Tensor),
    /// Two-dimensional convolution, weight (O, C / groups, kh, kw), bias (O).
    Conv {
        /// (O, C / groups, kh, kw)
        weight: Tensor,
        /// (O)
        bias: Option<Tensor>,
        /// Stride, padding, dilation, groups.
        config: ConvConfig,
    },
    /// Batch norm.
    Norm(NormParameters),
    /// Rectified linear unit.
    Relu,
    /// Sum of two values of one shape.
    Add,
    /// Maximum of each window.
    MaxPool(PoolConfig),
    /// Mean over all pixels: (N, C, H, W) to (N, C).
    GlobalAvgPool,
    /// `x wᵀ + b` on (N, I), weight (O, I), bias (O).
    Linear {
        /// (O, I)
        weight: Tensor,
        /// (O)
        bias: Option<Tensor>,
    },
    /// Every stride-th row and column, from the first.
    Subsample {
        /// Steps (rows, columns).
        stride: (usize, usize),
    },
    /// Zero channels before and after the given ones.
    PadChannels {
        /// Number of zero channels in front.
        before: usize,
        /// Number of zero channels behind.
        after: usize,
    },
}

/// An operation with its name and the values that it reads.
#[derive(Debug, Clone)]
pub struct Node {
    /// Dotted path as in a state dict (`layer1.0.conv1`); empty for operations without a name.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<Value>,
}

/// Which interpreter runs a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// The fused engine where it applies (f32 on the CPU), else portable.
    #[default]
    Auto,
    /// candle's own tensor operations.
    Portable,
}

/// A network as a list of operations in the order of execution.
#[derive(Clone)]
pub struct Graph {
    nodes: Vec<Node>,
    output: Value,
    backend: Backend,
    compute: DType,
    plan: Arc<OnceLock<Option<Arc<cpu::Plan>>>>,
}

impl Graph {
    /// A builder that holds the input only.
    pub fn builder() -> GraphBuilder {
        GraphBuilder::new()
    }

    pub(crate) fn from_nodes(nodes: Vec<Node>, output: Value) -> Self {
        let plan = Arc::default();
        Self { nodes, output, backend: Backend::Auto, compute: DType::F32, plan }
    }

    /// The operations in the order of execution; node 0 is the input.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The value that the graph returns.
    pub fn output(&self) -> Value {
        self.output
    }

    /// The same graph, run by another interpreter.
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// The same graph with activations kept and multiplied in `dtype` (f32 or bf16) where the fused engine runs it;
    /// parameters, statistics and sums stay in f32.
    pub fn with_compute_dtype(mut self, dtype: DType) -> Self {
        self.compute = dtype;
        self
    }

    /// The graph that ends with `value`, on the same parameters.
    pub fn until(&self, value: Value) -> Self {
        let mut graph = Self::from_nodes(self.nodes[..=value.0].to_vec(), value);
        (graph.backend, graph.compute) = (self.backend, self.compute);
        graph
    }

    /// Runs the graph on `x` (N, C, H, W).
    ///
    /// With `train`, batch norm uses the batch's statistics and updates the running ones; without, it uses the
    /// running ones. Gradients flow to `x` and to all parameters in both cases.
    ///
    /// # Errors
    /// If the input's shape, dtype or device does not fit the parameters.
    pub fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        if self.backend == Backend::Auto
            && x.device().is_cpu()
            && x.dtype() == DType::F32
            && let Some(plan) = self.plan.get_or_init(|| cpu::Plan::new(self).map(Arc::new))
        {
            return cpu::run(plan, x, train, self.compute);
        }
        interpreter::run(self, x, train)
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").field("nodes", &self.nodes.len()).field("output", &self.output).finish()
    }
}
