//! A network as a list of operations on named parameters.
//!
//! Layers describe themselves once, by appending operations to a [`GraphBuilder`]; everything else reads that one
//! description: the reference, the fused CPU engine, inference, summaries and exports.

mod builder;
pub(crate) mod dropout;
mod interpreter;
mod parameters;
mod rebuild;
pub(crate) mod shapes;

use std::fmt;
use std::sync::{Arc, OnceLock};

use candle_core::{DType, ModuleT, Result, Tensor, Var};

use crate::{AvgPoolConfig, ConvConfig, NormConfig, PoolConfig, cpu};
pub use builder::GraphBuilder;
pub use dropout::DropoutRng;
pub(crate) use interpreter::{Pass, apply};
pub(crate) use parameters::{by_channel, map_shape};
pub(crate) use shapes::Fit;
pub use shapes::MapShape;

/// A result within a graph: the position of the node that computes it. The default is the graph's input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) usize);

impl NodeId {
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
    /// A constant map (N, C, H, W) with the batch of the input; gradients flow to it as to a parameter.
    Constant(Tensor),
    /// Two-dimensional convolution, weight (O, C / groups, kh, kw), bias (O).
    Conv {
        /// (O, C / groups, kh, kw)
        weight: Tensor,
        /// (O)
        bias: Option<Tensor>,
        /// Stride, padding, dilation, groups.
        config: ConvConfig,
        /// Whether the weight is standardised before use, and the ε that its variance gets.
        standardize: Option<f64>,
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
    /// `scale · x + shift` with constants.
    Affine {
        /// The factor.
        scale: f64,
        /// What is added.
        shift: f64,
    },
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// Product of two values, the second (N, C, H, W), (N, C, 1, 1) or (N, 1, H, W).
    Mul,
    /// In training, values or whole images times 0 or 1 / (1 − rate), drawn from the graph's [`DropoutRng`].
    Dropout {
        /// The share that is dropped, in [0, 1).
        rate: f64,
        /// What is dropped as one.
        unit: DropUnit,
    },
    /// Mean of each window.
    AvgPool(AvgPoolConfig),
    /// Group norm.
    GroupNorm {
        /// Scale (C).
        weight: Tensor,
        /// Shift (C).
        bias: Tensor,
        /// Channel groups.
        groups: usize,
        /// Added to the variance.
        eps: f64,
    },
    /// The binomial filter 1 2 1, then every stride-th row and column; the border is reflected.
    BlurPool {
        /// Step in rows and columns.
        stride: usize,
    },
    /// One-dimensional convolution along the channels of (N, C, 1, 1), weight (1, 1, k).
    ChannelConv {
        /// (1, 1, k), k odd
        weight: Tensor,
    },
    /// Zeros around each map.
    ZeroPad {
        /// Rows above and below, columns left and right.
        padding: (usize, usize),
    },
    /// Values over the spread of their image's and group's channels and pixels.
    DivideBySpread {
        /// What they are divided by.
        spread: Spread,
        /// Channel groups.
        groups: usize,
        /// Added under the root.
        eps: f64,
    },
    /// A scale and a shift for each channel.
    ChannelAffine {
        /// (C)
        weight: Tensor,
        /// (C)
        bias: Option<Tensor>,
    },
    /// The greater of each value and its channel's threshold.
    ChannelFloor {
        /// (C)
        threshold: Tensor,
    },
}

/// What [`Op::DivideBySpread`] divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// The root of the mean squared distance from the mean.
    Deviation,
    /// The root of the mean square.
    RootMeanSquare,
}

/// What a dropout drops as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropUnit {
    /// Single values (Srivastava et al. 2014).
    Value,
    /// Whole images, which is stochastic depth where it stands on a residual branch (Huang et al. 2016).
    Image,
}

impl Op {
    /// The parameters that gradients flow to: weight and bias. A constant map counts as a weight.
    pub fn parameters(&self) -> [Option<&Tensor>; 2] {
        match self {
            Op::Conv { weight, bias, .. } | Op::Linear { weight, bias } | Op::ChannelAffine { weight, bias } => {
                [Some(weight), bias.as_ref()]
            }
            Op::Norm(p) => [p.weight.as_ref(), p.bias.as_ref()],
            Op::GroupNorm { weight, bias, .. } => [Some(weight), Some(bias)],
            Op::ChannelConv { weight } | Op::Constant(weight) | Op::ChannelFloor { threshold: weight } => {
                [Some(weight), None]
            }
            _ => [None, None],
        }
    }

    /// The same operation on other parameters; those without a counterpart stay.
    pub(crate) fn with_parameters(&self, [w, b]: [Option<Tensor>; 2]) -> Self {
        let mut op = self.clone();
        match &mut op {
            Op::Conv { weight, bias, .. } | Op::Linear { weight, bias } | Op::ChannelAffine { weight, bias } => {
                *weight = w.unwrap_or_else(|| weight.clone());
                *bias = b.or_else(|| bias.take());
            }
            Op::Norm(p) => {
                p.weight = w.or_else(|| p.weight.take());
                p.bias = b.or_else(|| p.bias.take());
            }
            Op::GroupNorm { weight, bias, .. } => {
                *weight = w.unwrap_or_else(|| weight.clone());
                *bias = b.unwrap_or_else(|| bias.clone());
            }
            Op::ChannelConv { weight } | Op::Constant(weight) | Op::ChannelFloor { threshold: weight } => {
                *weight = w.unwrap_or_else(|| weight.clone());
            }
            _ => {}
        }
        op
    }
}

/// An operation with its name and the values that it reads.
#[derive(Debug, Clone)]
pub struct Node {
    /// Dotted path as in a state dict (`layer1.0.conv1`); empty for operations without a name.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<NodeId>,
}

/// Which interpreter runs a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// The fused engine where it applies (f32 parameters on the CPU or a CUDA device), else the reference.
    #[default]
    Auto,
    /// candle's own tensor operations.
    Reference,
}

/// A network as a list of operations in the order of execution.
#[derive(Clone)]
pub struct Graph {
    nodes: Vec<Node>,
    output: NodeId,
    backend: Backend,
    compute: DType,
    dropout_rng: DropoutRng,
    plan: Arc<OnceLock<Option<Arc<cpu::Plan>>>>,
    #[cfg(feature = "cuda")]
    cuda_plan: Arc<OnceLock<Option<Arc<crate::cuda::Plan>>>>,
    /// Whether the parameters never change.
    frozen: bool,
    /// What follows from them then.
    #[cfg(feature = "cuda")]
    cuda_constants: Arc<crate::cuda::Constants<candle_core::CudaDevice>>,
    /// Where the graph is cut for recomputation.
    cuts: Vec<NodeId>,
    segments: Arc<OnceLock<Option<Arc<cpu::Segments>>>>,
}

impl Graph {
    /// A builder that holds the input only.
    pub fn builder() -> GraphBuilder {
        GraphBuilder::new()
    }

    pub(crate) fn from_nodes(nodes: Vec<Node>, output: NodeId) -> Self {
        let plan = Arc::default();
        Self {
            nodes,
            output,
            backend: Backend::Auto,
            compute: DType::F32,
            dropout_rng: DropoutRng::default(),
            plan,
            #[cfg(feature = "cuda")]
            cuda_plan: Arc::default(),
            frozen: false,
            #[cfg(feature = "cuda")]
            cuda_constants: Arc::default(),
            cuts: Vec::new(),
            segments: Arc::default(),
        }
    }

    /// The operations in the order of execution; node 0 is the input.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The value that the graph returns.
    pub fn output(&self) -> NodeId {
        self.output
    }

    /// The same graph, run by another interpreter.
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// The same graph with activations kept and multiplied in `dtype` (f32 or bf16; on CUDA f16 too) where a fused engine
    /// runs it;
    /// parameters, statistics and sums stay in f32.
    pub fn with_compute_dtype(mut self, dtype: DType) -> Self {
        self.compute = dtype;
        self
    }

    /// What activations are computed in.
    pub fn compute_dtype(&self) -> DType {
        self.compute
    }

    /// The same graph whose values between `cuts` are not kept for the backward pass but computed again: less memory,
    /// and about a third more time a training step. Running statistics are updated once. Only the fused engine does it;
    /// elsewhere, and where more than one value passes a cut, everything is kept.
    ///
    /// Sums are taken in another order than without, so that results agree up to rounding.
    pub fn with_recomputation(mut self, cuts: &[NodeId]) -> Self {
        self.cuts = cuts.iter().copied().filter(|cut| *cut > self.input() && *cut < self.output).collect();
        self.cuts.sort();
        self.cuts.dedup();
        self.segments = Arc::default();
        self
    }

    /// The graph that ends with `value`, on the same parameters.
    pub fn subgraph_to(&self, value: NodeId) -> Self {
        self.with_nodes(self.nodes[..self.nodes.len().min(value.0.saturating_add(1))].to_vec(), value)
    }

    /// The graph's input.
    pub fn input(&self) -> NodeId {
        NodeId(0)
    }

    /// The graph that computes `to` from `from`, on the same parameters.
    ///
    /// Between two blocks of a residual network one value alone passes, so that a chain of such parts computes what
    /// the whole does: for features, for gradients in the middle of a network, and for activations that are computed
    /// again in the backward pass instead of kept.
    ///
    /// # Errors
    /// If `to` comes before `from` or depends on a value before it by another way.
    pub fn subgraph(&self, from: NodeId, to: NodeId) -> Result<Self> {
        if from > to || to.0 >= self.nodes.len() {
            bail!("graph: there is nothing between node {} and node {}", from.0, to.0);
        }
        let mut nodes = vec![Node { name: String::new(), op: Op::Input, inputs: Vec::new() }];
        for node in &self.nodes[from.0 + 1..=to.0] {
            if let Some(value) = node.inputs.iter().find(|value| **value < from) {
                bail!("graph: {} reads node {}, which comes before node {}", node.name, value.0, from.0);
            }
            let inputs = node.inputs.iter().map(|value| NodeId(value.0 - from.0)).collect();
            nodes.push(Node { inputs, ..node.clone() });
        }
        Ok(self.with_nodes(nodes, NodeId(to.0 - from.0)))
    }

    /// Where dropout takes its random numbers from; shared by all clones of this graph.
    pub fn dropout_rng(&self) -> &DropoutRng {
        &self.dropout_rng
    }

    /// Runs the graph on `x` (N, C, H, W).
    ///
    /// With `train`, batch norm uses the batch's statistics and updates the running ones; without, it uses the
    /// running ones. Gradients flow to `x` and to all parameters in both cases. Dropout acts in training only.
    ///
    /// # Errors
    /// If a parameter is impossible, the input's shape, dtype or device does not fit, a result would not fit into memory, or
    /// a frozen graph is to train. Nothing was computed then.
    pub fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        if train && self.frozen {
            bail!("graph: a frozen graph does not train");
        }
        let fit = self.fit(x, train)?;
        let draw = if train { self.dropout_rng.next() } else { dropout::Draw::default() };
        self.run(x, &fit, Pass { train, keep: train, draw })
    }

    /// Runs the graph in evaluation mode, as `forward_t(x, false)`, where gradients will be asked for: what the backward pass
    /// reads is kept, where an evaluation would compute it again. For training with norms that stay as they are.
    ///
    /// # Errors
    /// As [`Self::forward_t`].
    pub fn forward_with_fixed_norms(&self, x: &Tensor) -> Result<Tensor> {
        self.run(x, &self.fit(x, false)?, Pass { train: false, keep: true, draw: dropout::Draw::default() })
    }

    fn run(&self, x: &Tensor, fit: &Fit, pass: Pass) -> Result<Tensor> {
        if self.backend == Backend::Auto
            && x.device().is_cpu()
            && x.dtype() == DType::F32
            && let Some(plan) = self.plan.get_or_init(|| cpu::Plan::new(self).map(Arc::new))
        {
            if pass.train
                && !self.cuts.is_empty()
                && let Some(segments) = self.segments.get_or_init(|| cpu::Segments::new(self, &self.cuts).map(Arc::new))
            {
                return cpu::run_recomputed(segments, x, fit, pass, self.compute);
            }
            return cpu::run(plan, x, fit, pass, self.compute);
        }
        #[cfg(feature = "cuda")]
        if self.backend == Backend::Auto
            && let candle_core::Device::Cuda(device) = x.device()
            && (x.dtype() == DType::F32 || x.dtype() == self.compute)
            && let Some(plan) = self.cuda_plan.get_or_init(|| crate::cuda::Plan::new(self, x.device()).map(Arc::new))
        {
            let constants = self.frozen.then_some(&*self.cuda_constants);
            return crate::cuda::run(plan, device.clone(), x, pass, self.compute, constants);
        }
        interpreter::run(self, x, pass)
    }
}

impl ModuleT for Graph {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        Graph::forward_t(self, x, train)
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").field("nodes", &self.nodes.len()).field("output", &self.output).finish()
    }
}
