//! Operations that the engine has no kernel for: a single node runs through candle's tensors, forwards and backwards,
//! and everything around it stays in the engine.

use candle_core::{DType, Result, Tensor, Var};

use super::array::Array;
use super::backward::Backward;
use super::forward::{Forward, Tape};
use super::kernels::Kernels;
use super::plan::{Plan, ValueId};
use super::runtime::Runtime;
use crate::graph::apply;

/// Channels-last values as a tensor (N, C, H, W).
fn tensor<R: Runtime>(
    plan: &Plan,
    kernels: &Kernels<R>,
    tape: &Tape<R>,
    value: ValueId,
    values: &Array<R>,
) -> Result<Tensor> {
    let shape = tape.shape(plan, value);
    let values = kernels.channels_first(values, [tape.n, shape.channels, shape.height * shape.width])?;
    values.into_tensor(&kernels.runtime, (tape.n, shape.channels, shape.height, shape.width))
}

fn array<R: Runtime>(
    plan: &Plan,
    kernels: &Kernels<R>,
    tape: &Tape<R>,
    value: ValueId,
    values: &Tensor,
) -> Result<Array<R>> {
    let shape = tape.shape(plan, value);
    let values = values.to_dtype(DType::F32)?.contiguous()?;
    kernels.channels_last(&values, [tape.n, shape.channels, shape.height * shape.width])
}

impl<R: Runtime> Forward<'_, R> {
    pub(super) fn fallback(&mut self, node: usize, inputs: &[ValueId], out: ValueId) -> Result<Array<R>> {
        let (plan, kernels, tape) = (self.plan, self.kernels, &self.tape);
        let inputs = inputs
            .iter()
            .map(|&value| tensor(plan, kernels, tape, value, tape.value(value)?))
            .collect::<Result<Vec<_>>>()?;
        let op = &plan.nodes[node].op;
        // Detached parameters: what is computed here needs no graph of candle's.
        let op = op.with_parameters(op.parameters().map(|p| p.map(Tensor::detach)));
        array(plan, kernels, tape, out, &apply(&op, node, &inputs, tape.pass)?)
    }
}

impl<R: Runtime> Backward<'_, R> {
    pub(super) fn fallback(&mut self, node: usize, inputs: &[ValueId], out: ValueId, dy: &Array<R>) -> Result<()> {
        let (plan, kernels, tape) = (self.plan, self.kernels, self.tape);
        let op = &plan.nodes[node].op;
        let vars = inputs
            .iter()
            .map(|&value| Var::from_tensor(&tensor(plan, kernels, tape, value, tape.value(value)?)?))
            .collect::<Result<Vec<_>>>()?;
        let mut parameters = [None, None];
        for (copy, parameter) in parameters.iter_mut().zip(op.parameters()) {
            *copy = parameter.map(|p| Var::from_tensor(&p.detach())).transpose()?;
        }
        let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let op = op.with_parameters(parameters.each_ref().map(|p| p.as_ref().map(|var| var.as_tensor().clone())));
        let y = apply(&op, node, &tensors, tape.pass)?;
        let dy = tensor(plan, kernels, tape, out, dy)?.reshape(y.shape())?;
        let gradients = (y * dy)?.sum_all()?.backward()?;
        for (place, parameter) in parameters.iter().enumerate() {
            let gradient = parameter.as_ref().and_then(|var| gradients.get(var));
            self.parameters.extend(gradient.map(|gradient| ((node, place), gradient.clone())));
        }
        for (&value, var) in inputs.iter().zip(&vars) {
            if let Some(gradient) = gradients.get(var) {
                self.contribute(value, array(plan, kernels, tape, value, gradient)?)?;
            }
        }
        Ok(())
    }
}
