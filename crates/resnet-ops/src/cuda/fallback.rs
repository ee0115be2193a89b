//! Operations that the engine has no kernel for, through candle's tensors.

use candle_core::{DType, Result, Tensor};

use super::array::Array;
use super::backward::Backward;
use super::forward::{Forward, Tape};
use super::kernels::Kernels;
use super::plan::Plan;
use super::runtime::Runtime;
use crate::engine::fallback;
use crate::engine::schedule::ValueId;

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

/// Stored values as tensors (N, C, H, W).
fn values<R: Runtime>(plan: &Plan, kernels: &Kernels<R>, tape: &Tape<R>, values: &[ValueId]) -> Result<Vec<Tensor>> {
    values.iter().map(|&value| tensor(plan, kernels, tape, value, tape.value(value)?)).collect()
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
        let inputs = values(plan, kernels, tape, inputs)?;
        array(plan, kernels, tape, out, &fallback::forward(&plan.nodes, node, &inputs, tape.pass)?)
    }
}

impl<R: Runtime> Backward<'_, R> {
    pub(super) fn fallback(&mut self, node: usize, inputs: &[ValueId], out: ValueId, dy: &Array<R>) -> Result<()> {
        let (plan, kernels, tape) = (self.plan, self.kernels, self.tape);
        let dy = tensor(plan, kernels, tape, out, dy)?;
        let of_inputs = values(plan, kernels, tape, inputs)?;
        let gradients = fallback::backward(&plan.nodes, node, &of_inputs, &dy, tape.pass)?;
        for (place, gradient) in gradients.parameters.into_iter().enumerate() {
            self.parameters.extend(gradient.map(|gradient| ((node, place), gradient)));
        }
        for (&value, gradient) in inputs.iter().zip(&gradients.inputs) {
            if let Some(gradient) = gradient {
                self.contribute(value, array(plan, kernels, tape, value, gradient)?)?;
            }
        }
        Ok(())
    }
}
