//! Equation (5) of He et al. 2016: the gradient at a shallow block is that at a deep one, plus what the branches add.

use candle_core::DType;
use resnet_models::Network;
use resnet_ops::graph::Op;
use resnet_ops::{Backend, Graph, Value};
use serde::Serialize;

use super::cut::{Batch, check, graph, leaf, loss_gradient, norm, places, pull_back};
use crate::{Error, Result};

/// One shallow block l against the deepest block L that identity shortcuts reach from it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IdentityRow {
    /// Block l, after whose path x_l is named.
    pub shallow: String,
    /// Block L.
    pub deep: String,
    /// Residual units between them.
    pub units: usize,
    /// ‖∂E/∂x_l‖ by backpropagation through the whole network.
    pub gradient: f64,
    /// ‖∂E/∂x_L‖, the first term of the sum: what the shortcuts carry without loss.
    pub through_shortcuts: f64,
    /// ‖∂E/∂x_L · ∂/∂x_l Σ F(x_i, W_i)‖, the second term.
    pub through_branches: f64,
    /// ‖∂E/∂x_l - sum‖ / ‖∂E/∂x_l‖.
    pub difference: f64,
}

/// Every pair (l, L) whose blocks between are joined by identity shortcuts and nothing after the addition; L is the
/// deepest for its l. Computed in f64, so that what differs would be no rounding: a few images take a few seconds.
///
/// # Errors
/// When the network has no such pair (plain networks, and those with a ReLU after the addition), or the batch does not
/// fit it.
pub fn identity(network: &Network, batch: &Batch) -> Result<Vec<IdentityRow>> {
    check(batch)?;
    let (graph, places) = (graph(network).with_backend(Backend::Portable), places(network));
    let batch = Batch { images: batch.images.to_dtype(DType::F64)?, ..batch.clone() };
    let mut rows = Vec::new();
    for (l, (shallow, from)) in places.iter().enumerate() {
        let reached = |&(_, (_, to)): &(usize, &(String, Value))| {
            graph.between(*from, *to).is_ok_and(|part| branches(&part).is_some())
        };
        let Some((deepest, (deep, to))) = places.iter().enumerate().skip(l + 1).take_while(reached).last() else {
            continue;
        };
        let x = leaf(&graph.until(*from).forward_t(&batch.images, true)?)?;
        let direct = loss_gradient(&graph.between(*from, graph.output())?, &x, &batch.labels)?;

        let part = graph.between(*from, *to)?;
        let top = leaf(&part.forward_t(&x.as_detached_tensor(), true)?)?;
        let at_top = loss_gradient(&graph.between(*to, graph.output())?, &top, &batch.labels)?;
        let Some(sum) = sum_of_branches(part) else { continue };
        let added = pull_back(&sum, &x, &at_top)?;
        let difference = norm(&(&direct - (&at_top + &added)?)?)?;
        rows.push(IdentityRow {
            shallow: shallow.clone(),
            deep: deep.clone(),
            units: deepest - l,
            gradient: norm(&direct)?,
            through_shortcuts: norm(&at_top)?,
            through_branches: norm(&added)?,
            difference: difference / norm(&direct)?.max(f64::MIN_POSITIVE),
        });
    }
    match rows.is_empty() {
        false => Ok(rows),
        true => Err(Error::Invalid(format!(
            "{}: no block has an identity shortcut with nothing after the addition, which equation (5) is about: \
             choose a pre-activation network, as preact_resnet56",
            network.config().name
        ))),
    }
}

/// The branches' results F(x_i), where the part is a chain of x + F(x); from the last to the first.
fn branches(part: &Graph) -> Option<Vec<Value>> {
    let mut branches = Vec::new();
    let mut x = part.output();
    while x != Value::default() {
        let node = &part.nodes()[x.index()];
        let (Op::Add, &[branch, around]) = (&node.op, node.inputs.as_slice()) else { return None };
        branches.push(branch);
        // What is added must be an earlier block's output as it is, not something that was made of it.
        x = around;
    }
    Some(branches)
}

/// The part of which only Σ F(x_i) is returned.
fn sum_of_branches(part: Graph) -> Option<Graph> {
    let branches = branches(&part)?;
    let mut graph = part.into_builder();
    let total = branches.into_iter().reduce(|a, b| graph.add(a, b))?;
    Some(graph.finish(total))
}
