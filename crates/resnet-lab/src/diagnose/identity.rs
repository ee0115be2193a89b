//! Equations (5) and (8) of He et al. 2016: the gradient at a shallow block is that at a deep one, times what the shortcuts
//! between them multiply by, plus what the branches add.

use candle_core::{DType, Tensor};
use resnet_models::Network;
use resnet_ops::graph::Op;
use resnet_ops::{Backend, Graph, NodeId};
use serde::Serialize;

use super::batch::Batch;
use super::vjp::{graph, leaf, loss_gradient, norm, places, vjp};
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
    let cuts = Cuts::new(network, batch)?;
    let mut rows = Vec::new();
    for l in 0..cuts.places.len() {
        let identities =
            |&to: &usize| cuts.chain(l, to).is_some_and(|chain| chain.iter().all(|unit| unit.factor == 1.0));
        let Some(deepest) = (l + 1..cuts.places.len()).take_while(identities).last() else { continue };
        let Some(split) = cuts.split(l, deepest)? else { continue };
        let sum = (&split.at_deep + &split.through_branches)?;
        let gradient = norm(&split.at_shallow)?;
        rows.push(IdentityRow {
            shallow: cuts.places[l].0.clone(),
            deep: cuts.places[deepest].0.clone(),
            units: deepest - l,
            gradient,
            through_shortcuts: norm(&split.at_deep)?,
            through_branches: norm(&split.through_branches)?,
            difference: norm(&(&split.at_shallow - sum)?)? / gradient.max(f64::MIN_POSITIVE),
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

/// A network that can be cut between its blocks, in f64.
pub(super) struct Cuts {
    graph: Graph,
    /// The stem and the blocks.
    pub(super) places: Vec<(String, NodeId)>,
    batch: Batch,
}

/// The gradient at a shallow block and its parts; f64, of x_l's shape.
pub(super) struct Split {
    /// ∂E/∂x_l by backpropagation through the whole network.
    pub at_shallow: Tensor,
    /// ∂E/∂x_L.
    pub at_deep: Tensor,
    /// ∂E/∂x_L · ∂/∂x_l Σ F̂(x_i, W_i): F̂ is F times the factors of the shortcuts above it.
    pub through_branches: Tensor,
}

/// A unit λ x + F(x).
struct Unit {
    /// F(x).
    branch: NodeId,
    /// λ.
    factor: f64,
}

impl Cuts {
    pub(super) fn new(network: &Network, batch: &Batch) -> Result<Self> {
        batch.check()?;
        let graph = graph(network).with_backend(Backend::Reference);
        let batch = Batch { images: batch.images.to_dtype(DType::F64)?, ..batch.clone() };
        Ok(Self { graph, places: places(network), batch })
    }

    /// The units from place l to place L, where each is λ x + F(x); from the last to the first.
    fn chain(&self, l: usize, deep: usize) -> Option<Vec<Unit>> {
        units(&self.graph.subgraph(self.places[l].1, self.places[deep].1).ok()?)
    }

    /// The gradient at place l split at place L; nothing where units between them are not λ x + F(x).
    pub(super) fn split(&self, l: usize, deep: usize) -> Result<Option<Split>> {
        let (from, to) = (self.places[l].1, self.places[deep].1);
        let x = leaf(&self.graph.subgraph_to(from).forward_t(&self.batch.images, true)?)?;
        let at_shallow = loss_gradient(&self.graph.subgraph(from, self.graph.output())?, &x, &self.batch.labels)?;
        let part = self.graph.subgraph(from, to)?;
        let top = leaf(&part.forward_t(&x.as_detached_tensor(), true)?)?;
        let at_deep = loss_gradient(&self.graph.subgraph(to, self.graph.output())?, &top, &self.batch.labels)?;
        let Some(sum) = sum_of_branches(part) else { return Ok(None) };
        let through_branches = vjp(&sum, &x, &at_deep)?;
        Ok(Some(Split { at_shallow, at_deep, through_branches }))
    }
}

/// The units of a part that is a chain of λ x + F(x), from the last to the first.
fn units(part: &Graph) -> Option<Vec<Unit>> {
    let mut units = Vec::new();
    let mut x = part.output();
    while x != NodeId::default() {
        let node = &part.nodes()[x.index()];
        let (Op::Add, &[branch, around]) = (&node.op, node.inputs.as_slice()) else { return None };
        // What is added must be an earlier block's output, times a factor at most, and nothing else that was made of it.
        let around_node = &part.nodes()[around.index()];
        let (factor, earlier) = match (&around_node.op, around_node.inputs.as_slice()) {
            (&Op::Affine { scale, shift: 0.0 }, &[earlier]) => (scale, earlier),
            _ => (1.0, around),
        };
        units.push(Unit { branch, factor });
        x = earlier;
    }
    Some(units)
}

/// The part of which only Σ F̂(x_i) is returned, F̂ being F times the product of the factors above it.
fn sum_of_branches(part: Graph) -> Option<Graph> {
    let units = units(&part)?;
    let mut graph = part.into_builder();
    let (mut total, mut product) = (None, 1.0);
    for Unit { branch, factor } in units {
        let weighted = if product == 1.0 { branch } else { graph.affine(branch, product, 0.0) };
        total = Some(total.map_or(weighted, |total| graph.add(total, weighted)));
        product *= factor;
    }
    Some(graph.finish(total?))
}
