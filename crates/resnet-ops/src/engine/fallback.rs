//! Operations that an engine has no kernel for: a single node runs through candle's tensors, forwards and backwards, and
//! everything around it stays in the engine.

use candle_core::{Result, Tensor, Var};

use crate::error::named;
use crate::graph::{Node, Pass, apply};

/// The node's result on inputs (N, C, H, W).
pub(crate) fn forward(nodes: &[Node], node: usize, inputs: &[Tensor], pass: Pass) -> Result<Tensor> {
    let Node { name, op, .. } = &nodes[node];
    // Detached parameters: what is computed here needs no graph of candle's.
    let op = op.with_parameters(op.parameters().map(|parameter| parameter.map(Tensor::detach)));
    apply(&op, node, inputs, pass).map_err(|error| named(name, error))
}

/// The gradients of a node's inputs and parameters, where there are any.
pub(crate) struct Gradients {
    pub inputs: Vec<Option<Tensor>>,
    pub parameters: [Option<Tensor>; 2],
}

/// From the gradient of the node's result, (N, C, H, W), to all others.
pub(crate) fn backward(nodes: &[Node], node: usize, inputs: &[Tensor], dy: &Tensor, pass: Pass) -> Result<Gradients> {
    let op = &nodes[node].op;
    let inputs = inputs.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
    let mut parameters = [None, None];
    for (copy, parameter) in parameters.iter_mut().zip(op.parameters()) {
        *copy = parameter.map(|p| Var::from_tensor(&p.detach())).transpose()?;
    }
    let tensors: Vec<Tensor> = inputs.iter().map(|var| var.as_tensor().clone()).collect();
    let op = op.with_parameters(parameters.each_ref().map(|p| p.as_ref().map(|var| var.as_tensor().clone())));
    let y = apply(&op, node, &tensors, pass)?;
    let dy = dy.reshape(y.shape())?;
    let gradients = (y * dy)?.sum_all()?.backward()?;
    Ok(Gradients {
        inputs: inputs.iter().map(|var| gradients.get(var).cloned()).collect(),
        parameters: parameters.map(|var| var.and_then(|var| gradients.get(&var).cloned())),
    })
}
