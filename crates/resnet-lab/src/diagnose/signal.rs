//! Forward signal and gradient at each block through depth.

use resnet_models::Network;
use serde::Serialize;

use super::batch::Batch;
use super::vjp::{graph, leaf, loss_gradient, norm, places, vjp};
use crate::Result;

/// What passes after one block.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockSignal {
    /// The block's path, `layer1.0`; `stem` before the first.
    pub block: String,
    /// Blocks up to here.
    pub depth: usize,
    /// Root mean square of x_l, the block's output, over the batch.
    pub signal: f64,
    /// ‖∂E/∂x_l‖ over the batch; E is the mean cross-entropy.
    pub gradient: f64,
}

/// Signal and gradient after each block, with the batch's own statistics, as in a training step.
///
/// # Errors
/// When the batch does not fit the network.
pub fn signal(network: &Network, batch: &Batch) -> Result<Vec<BlockSignal>> {
    batch.check()?;
    let (graph, places) = (graph(network), places(network));
    let mut inputs = Vec::with_capacity(places.len());
    let mut x = leaf(&graph.subgraph_to(places[0].1).forward_t(&batch.images, true)?)?;
    let mut parts = Vec::with_capacity(places.len());
    for pair in places.windows(2) {
        let part = graph.subgraph(pair[0].1, pair[1].1)?;
        // Only values are wanted here: the backward pass below runs each block again.
        let y = leaf(&part.forward_t(&x.as_detached_tensor(), true)?)?;
        inputs.push(std::mem::replace(&mut x, y));
        parts.push(part);
    }
    let head = graph.subgraph(places[places.len() - 1].1, graph.output())?;
    let mut gradients = vec![loss_gradient(&head, &x, &batch.labels)?];
    for (part, input) in parts.iter().zip(&inputs).rev() {
        gradients.push(vjp(part, input, &gradients[gradients.len() - 1])?);
    }
    inputs.push(x);
    let rows = places.into_iter().zip(&inputs).zip(gradients.iter().rev()).enumerate();
    rows.map(|(depth, (((block, _), x), gradient))| {
        let count = x.elem_count() as f64;
        Ok(BlockSignal { block, depth, signal: norm(x)? / count.sqrt(), gradient: norm(gradient)? })
    })
    .collect()
}
