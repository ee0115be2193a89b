//! A fully connected layer.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};
use resnet_ops::{GraphBuilder, NodeId};

use crate::Layer;
use crate::check::check_size;
use crate::layer::{at, modules};

/// A fully connected layer on (N, I); parameters `weight` (O, I), `bias` (O).
#[derive(Debug, Clone)]
pub struct Linear {
    path: String,
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Uniform in ±1/√I, as PyTorch's `nn.Linear`.
    ///
    /// # Errors
    /// If the builder has no such tensors of that shape.
    pub fn new(inputs: usize, outputs: usize, vb: VarBuilder) -> Result<Self> {
        let bound = bound(inputs, outputs, &vb)?;
        let uniform = Init::Uniform { lo: -bound, up: bound };
        Ok(Self {
            path: vb.prefix(),
            weight: vb.get_with_hints((outputs, inputs), "weight", uniform)?,
            bias: vb.get_with_hints(outputs, "bias", uniform)?,
        })
    }

    /// As [`Linear::new`], with the weight of a 1×1 convolution (O, I, 1, 1).
    ///
    /// # Errors
    /// If the builder has no such tensors of that shape.
    pub fn pointwise(inputs: usize, outputs: usize, vb: VarBuilder) -> Result<Self> {
        let bound = bound(inputs, outputs, &vb)?;
        let uniform = Init::Uniform { lo: -bound, up: bound };
        let weight = vb.get_with_hints((outputs, inputs, 1, 1), "weight", uniform)?;
        // A view: it follows the parameter's values, and gradients go back through it.
        Ok(Self {
            path: vb.prefix(),
            weight: weight.flatten_from(1)?,
            bias: vb.get_with_hints(outputs, "bias", uniform)?,
        })
    }
}

impl Layer for Linear {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        graph.linear(&self.path, x, &self.weight, Some(&self.bias))
    }
}

modules!(Linear);

/// The bound of a linear layer's initial values.
fn bound(inputs: usize, outputs: usize, vb: &VarBuilder) -> Result<f64> {
    let check = check_size("inputs", inputs).and_then(|()| check_size("outputs", outputs));
    check.map_err(|error| at(vb, "a linear layer", error))?;
    Ok(1. / (inputs as f64).sqrt())
}
