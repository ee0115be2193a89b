//! Gradients in the middle of a network, by products of vectors with the Jacobians of its parts.

use candle_core::{DType, Tensor, Var};
use resnet_models::Network;
use resnet_ops::{Graph, NodeId};
use resnet_train::loss::CrossEntropy;

use crate::Result;

/// The network's graph with batch statistics that are used and not kept. Nothing is dropped, so that all passes are of one
/// network.
pub(super) fn graph(network: &Network) -> Graph {
    network.graph().with_frozen_statistics().without_dropout()
}

/// The places between blocks: before the first, and after each; with the block's path, `stem` for the first.
pub(super) fn places(network: &Network) -> Vec<(String, NodeId)> {
    let stem = ("stem".to_string(), network.stem());
    std::iter::once(stem).chain(network.blocks().iter().cloned()).collect()
}

/// The values at a graph's output as a variable that gradients can be taken of.
pub(super) fn leaf(value: &Tensor) -> Result<Var> {
    Ok(Var::from_tensor(&value.detach())?)
}

/// The gradient of the mean cross-entropy at `x`, which `rest` takes to logits.
pub(super) fn loss_gradient(rest: &Graph, x: &Var, labels: &Tensor) -> Result<Tensor> {
    let logits = rest.forward_t(x.as_tensor(), true)?;
    let loss = CrossEntropy { label_smoothing: 0.0 }.forward(&logits, labels)?;
    gradient(&loss, x)
}

/// `dy`, the gradient at `part(x)`, times the Jacobian of `part`: the gradient at `x`.
pub(super) fn vjp(part: &Graph, x: &Var, dy: &Tensor) -> Result<Tensor> {
    let y = part.forward_t(x.as_tensor(), true)?;
    gradient(&(y * dy)?.sum_all()?, x)
}

/// The gradient of a scalar at `x`; zeros where it does not depend on it.
pub(super) fn gradient(scalar: &Tensor, x: &Var) -> Result<Tensor> {
    match scalar.backward()?.get(x.as_tensor()) {
        Some(gradient) => Ok(gradient.clone()),
        None => Ok(x.zeros_like()?),
    }
}

/// √Σx².
pub(super) fn norm(x: &Tensor) -> Result<f64> {
    Ok(dot(x, x)?.sqrt())
}

/// Σ a b, in f64.
pub(super) fn dot(a: &Tensor, b: &Tensor) -> Result<f64> {
    let values = |x: &Tensor| x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    Ok(values(a)?.iter().zip(&values(b)?).map(|(a, b)| a * b).sum())
}
