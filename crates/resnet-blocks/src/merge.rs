//! What becomes of shortcut and branch before and at their addition.

use candle_core::Result;
use candle_nn::VarBuilder;
use resnet_ops::graph::DropUnit;
use resnet_ops::{ConvConfig, GraphBuilder, NodeId};

use crate::{BlockConfig, Conv2d, Layer, Merge};

/// The residual addition of a [`Merge`], with its parameters.
#[derive(Debug, Clone)]
pub(crate) struct ResidualAdd {
    merge: Merge,
    /// `gate`, a 1×1 convolution with bias from the block's input to its output.
    gate: Option<Conv2d>,
}

impl ResidualAdd {
    /// # Errors
    /// If the builder lacks a parameter.
    pub fn new(config: &BlockConfig, vb: &VarBuilder) -> Result<Self> {
        let merge = config.options.merge;
        let gate = match merge {
            Merge::ExclusiveGate { bias } | Merge::ShortcutGate { bias } => {
                let (inputs, outputs, vb) = (config.inputs, config.outputs, vb.pp("gate"));
                let conv_config = ConvConfig::square(config.stride, 0);
                let conv = Conv2d::with_config(inputs, outputs, (1, 1), conv_config, vb.clone())?;
                Some(conv.with_bias(bias, vb)?)
            }
            _ => None,
        };
        Ok(Self { merge, gate })
    }

    /// The sum; `x` is what shortcut and branch both begin with.
    pub fn append(&self, graph: &mut GraphBuilder, x: NodeId, shortcut: NodeId, branch: NodeId) -> NodeId {
        let gate = self.gate.as_ref().map(|gate| {
            let g = gate.append(graph, x);
            graph.sigmoid(g)
        });
        let (shortcut, branch) = match (self.merge, gate) {
            (Merge::Scaled { shortcut: s, branch: b }, _) => {
                (graph.affine(shortcut, s, 0.), graph.affine(branch, b, 0.))
            }
            (Merge::ExclusiveGate { .. }, Some(g)) => {
                let rest = graph.affine(g, -1., 1.);
                (graph.mul(shortcut, rest), graph.mul(branch, g))
            }
            (Merge::ShortcutGate { .. }, Some(g)) => {
                let rest = graph.affine(g, -1., 1.);
                (graph.mul(shortcut, rest), branch)
            }
            (Merge::Dropout { rate }, _) => (graph.dropout(shortcut, rate, DropUnit::Value), branch),
            _ => (shortcut, branch),
        };
        graph.add(branch, shortcut)
    }
}
