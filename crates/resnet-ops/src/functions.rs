//! The operations as functions on (N, C, H, W) tensors.

use candle_core::{Result, Tensor, Var};

use crate::graph::NormParameters;
use crate::{ConvConfig, Graph, NormConfig, PoolConfig, reference};

/// Two-dimensional convolution (cross-correlation, as in PyTorch), differentiable in all its tensors.
///
/// `x` is (N, C, H, W), `weight` (O, C / groups, kh, kw), `bias` (O); the result is (N, O, H', W').
///
/// # Errors
/// If the shapes do not fit together.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, config: &ConvConfig) -> Result<Tensor> {
    let mut graph = Graph::builder();
    let y = graph.conv("conv2d", graph.input(), weight, bias, *config);
    graph.finish(y).forward_t(x, true)
}

/// Where a batch norm takes its statistics from.
#[derive(Debug, Clone)]
pub struct BatchStats {
    /// Running mean (C).
    pub running_mean: Var,
    /// Running variance (C).
    pub running_var: Var,
    /// Epsilon and momentum.
    pub config: NormConfig,
}

impl BatchStats {
    fn with(&self, weight: Option<&Tensor>, bias: Option<&Tensor>) -> NormParameters {
        NormParameters {
            weight: weight.cloned(),
            bias: bias.cloned(),
            running_mean: self.running_mean.clone(),
            running_var: self.running_var.clone(),
            config: self.config,
        }
    }
}

/// Batch norm (Ioffe & Szegedy 2015) of `x` (N, C, H, W); `weight` and `bias` (C) may be absent.
///
/// With `train` it normalises by the batch and updates the running statistics, else by the running ones.
///
/// # Errors
/// If the shapes do not fit together, or a channel holds fewer than two values in training.
pub fn batch_norm(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    stats: &BatchStats,
    train: bool,
) -> Result<Tensor> {
    let mut graph = Graph::builder();
    let y = graph.norm("batch_norm", graph.input(), &stats.with(weight, bias));
    graph.finish(y).forward_t(x, train)
}

/// `relu(batch_norm(x) + residual)`, the end of a residual block, all (N, C, H, W).
///
/// # Errors
/// As [`batch_norm`]; also if `residual` has another shape.
pub fn batch_norm_add_relu(
    x: &Tensor,
    residual: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    stats: &BatchStats,
    train: bool,
) -> Result<Tensor> {
    let mut graph = Graph::builder();
    let y = graph.norm("batch_norm", graph.input(), &stats.with(weight, bias));
    let residual = graph.constant(residual);
    let y = graph.add(y, residual);
    let y = graph.relu(y);
    graph.finish(y).forward_t(x, train)
}

/// Maximum of each window; the border counts as minus infinity, the first of equal maxima takes the gradient.
///
/// (N, C, H, W) to (N, C, H', W').
///
/// # Errors
/// If the window does not fit.
pub fn max_pool2d(x: &Tensor, config: &PoolConfig) -> Result<Tensor> {
    let mut graph = Graph::builder();
    let y = graph.max_pool("max_pool2d", graph.input(), *config);
    graph.finish(y).forward_t(x, true)
}

/// The mean over all pixels: (N, C, H, W) to (N, C).
///
/// # Errors
/// If `x` is not of rank 4.
pub fn global_avg_pool2d(x: &Tensor) -> Result<Tensor> {
    reference::global_avg_pool2d(x)
}
