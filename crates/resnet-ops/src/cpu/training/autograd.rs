//! The engine's passes for candle's autograd.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor};

use super::backward::{self, Backward};
use super::forward::{Forward, Tape};
use super::plan::Plan;
use crate::cpu::buffer::Buffer;
use crate::cpu::element::{Bf16, Element};
use crate::cpu::isa::Isa;
use crate::cpu::layout::{channels_first, channels_last, with_values};
use crate::engine::{self, ParameterId, autograd};
use crate::graph::{Fit, MapShape, Pass};

/// Runs the plan on `x` (N, C, H, W), f32 on the CPU.
pub(crate) fn run(plan: &Arc<Plan>, x: &Tensor, fit: &Fit, pass: Pass, compute: DType) -> Result<Tensor> {
    match compute {
        DType::F32 => run_as::<f32>(plan, x, fit.vector, pass),
        DType::BF16 => run_as::<Bf16>(plan, x, fit.vector, pass),
        other => bail!("the CPU engine computes in f32 or bf16, not in {other:?}"),
    }
}

fn run_as<E: Element>(plan: &Arc<Plan>, x: &Tensor, vector: bool, pass: Pass) -> Result<Tensor> {
    let isa = Isa::current();
    autograd::run(x, engine::parameters(&plan.nodes), |tracked| {
        // In evaluation gradients are rarely asked for: the values are computed again if they are.
        let keep = tracked && pass.keep;
        let tape = forward::<E>(plan, isa, x, pass, keep)?;
        let (storage, shape) = (output(plan, &tape)?, tape.output_shape(plan));
        let shape = engine::output_shape(tape.n, shape, vector);
        let backward = Network { plan: plan.clone(), pass, isa, tape: keep.then_some(tape) };
        Ok(autograd::Forward { storage, shape, backward })
    })
}

/// A forward pass on `x` (N, C, H, W) or (N, C).
fn forward<E: Element>(plan: &Plan, isa: Isa, x: &Tensor, pass: Pass, keep: bool) -> Result<Tape<E>> {
    let (n, input, x) = to_map(x)?;
    Forward::run(plan, isa, x, n, input, (pass, keep))
}

/// A graph's input as a stored map, with its number of images and shape.
pub(super) fn to_map<E: Element>(x: &Tensor) -> Result<(usize, MapShape, Buffer<E>)> {
    let (n, input) = engine::input_shape(x.dims())?;
    Ok((n, input, with_values(x, |values| channels_last::<E>(values, n, input))?))
}

/// The result of a forward pass.
pub(super) fn output<E: Element>(plan: &Plan, tape: &Tape<E>) -> Result<Storage> {
    let values = channels_first(tape.value(plan.schedule.output)?, tape.n, tape.output_shape(plan));
    Ok(Storage::Cpu(CpuStorage::F32(values)))
}

/// Gradients of parameters as tensors, their nodes counted from `offset`.
pub(super) fn to_tensors(
    gradients: HashMap<ParameterId, Vec<f32>>,
    offset: usize,
) -> impl Iterator<Item = Result<(ParameterId, Tensor)>> {
    gradients.into_iter().map(move |((node, place), values)| {
        let count = values.len();
        Ok(((node + offset, place), Tensor::from_vec(values, count, &Device::Cpu)?))
    })
}

struct Network<E> {
    plan: Arc<Plan>,
    pass: Pass,
    isa: Isa,
    tape: Option<Tape<E>>,
}

impl<E: Element> autograd::Backward for Network<E> {
    fn backward(&self, x: &Tensor, g: &Tensor) -> Result<autograd::Gradients> {
        let again;
        let tape = match &self.tape {
            Some(tape) => tape,
            None => {
                again = forward::<E>(&self.plan, self.isa, x, self.pass, true)?;
                &again
            }
        };
        let shape = tape.output_shape(&self.plan);
        let dy = with_values(&g.contiguous()?, |g| channels_last::<E>(g, tape.n, shape))?;
        let backward::Gradients { parameters, input } = Backward::run(&self.plan, self.isa, tape, dy, x.track_op())?;
        let to_tensor =
            |dx: Arc<Buffer<E>>| Tensor::from_vec(channels_first(&dx, tape.n, tape.shapes[0]), x.shape(), x.device());
        let input = input.map(to_tensor).transpose()?;
        Ok(autograd::Gradients { parameters: to_tensors(parameters, 0).collect::<Result<_>>()?, input })
    }
}
