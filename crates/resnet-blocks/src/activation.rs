//! What makes a network non-linear.

use resnet_ops::{GraphBuilder, NodeId};
use serde::{Deserialize, Serialize};

use crate::Layer;
use crate::layer::modules;

/// What follows the norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(0, x)`
    #[default]
    Relu,
    /// `x σ(x)` (Hendrycks & Gimpel 2016; also called swish).
    Silu,
    /// None: for norms that end with one of their own (see [`NormKind::EvoS0`](crate::NormKind::EvoS0)).
    None,
}

impl Layer for Activation {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        match self {
            Self::Relu => graph.relu(x),
            Self::Silu => {
                let gate = graph.sigmoid(x);
                graph.mul(x, gate)
            }
            Self::None => x,
        }
    }
}

modules!(Activation);
