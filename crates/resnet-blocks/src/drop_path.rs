//! Stochastic depth (Huang et al. 2016).

use resnet_ops::graph::DropUnit;
use resnet_ops::{GraphBuilder, NodeId};

use crate::Layer;

/// In training, that share of the images loses the branch, and the others' is divided by 1 − rate; nothing in
/// evaluation, and nothing at rate 0.
#[derive(Debug, Clone, Copy)]
pub struct DropPath(pub f64);

impl Layer for DropPath {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        graph.dropout(x, self.0, DropUnit::Image)
    }
}
