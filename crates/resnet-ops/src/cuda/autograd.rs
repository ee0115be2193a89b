//! The engine's passes for candle's autograd.

use std::sync::Arc;

use candle_core::{DType, Result, Tensor};

use super::backward::Backward;
use super::constants::Constants;
use super::forward::{Forward, Tape};
use super::kernels::Kernels;
use super::plan::Plan;
use super::runtime::Runtime;
use crate::engine::{self, autograd};
use crate::graph::shapes::is_vector;
use crate::graph::{MapShape, Pass};

/// Runs the plan on `x` (N, C, H, W); with `constants` where no parameter ever changes.
pub(crate) fn run<R: Runtime>(
    plan: &Arc<Plan>,
    runtime: R,
    x: &Tensor,
    pass: Pass,
    compute: DType,
    constants: Option<&Constants<R>>,
) -> Result<Tensor> {
    if !plan.device.same_device(x.device()) {
        bail!("a network on {:?} does not take an input on {:?}", plan.device.location(), x.device().location());
    }
    let kernels = Kernels::new(runtime, compute)?;
    autograd::run(x, engine::parameters(&plan.nodes), |tracked| {
        // In evaluation gradients are rarely asked for: the values are computed again if they are.
        let keep = tracked && pass.keep;
        let mut tape = Forward::run(plan, &kernels, x, pass, constants, keep)?;
        let output = plan.schedule.output;
        let shape = tape.shape(plan, output);
        let y = match keep {
            true => tape.value(output)?.clone(),
            false => tape.take(output)?,
        };
        let sizes = [tape.n, shape.channels, shape.height * shape.width];
        Ok(autograd::Forward {
            storage: kernels.channels_first(&y, sizes)?.into_storage(&kernels.runtime)?,
            shape: engine::output_shape(tape.n, shape, is_vector(&plan.nodes, x.rank() == 2)),
            backward: Network { plan: plan.clone(), kernels, pass, tape: keep.then_some(tape) },
        })
    })
}

struct Network<R: Runtime> {
    plan: Arc<Plan>,
    kernels: Kernels<R>,
    pass: Pass,
    tape: Option<Tape<R>>,
}

impl<R: Runtime> autograd::Backward for Network<R> {
    fn backward(&self, x: &Tensor, g: &Tensor) -> Result<autograd::Gradients> {
        let (plan, kernels) = (&self.plan, &self.kernels);
        let again;
        let tape = match &self.tape {
            Some(tape) => tape,
            None => {
                again = Forward::run(plan, kernels, x, self.pass, None, true)?;
                &again
            }
        };
        let MapShape { channels, height, width } = tape.shape(plan, plan.schedule.output);
        let sizes = [tape.n, channels, height * width];
        let dy = kernels.channels_last(&g.to_dtype(DType::F32)?.contiguous()?, sizes)?;
        let gradients = Backward::run(plan, kernels, tape, dy, x.track_op())?;
        let to_tensor = |dx| {
            let (n, input) = engine::input_shape(x.dims())?;
            let dx = kernels.channels_first(&dx, [n, input.channels, input.height * input.width])?;
            dx.into_tensor(&kernels.runtime, x.shape())?.to_dtype(x.dtype())
        };
        let input = gradients.input.map(to_tensor).transpose()?;
        Ok(autograd::Gradients { parameters: gradients.parameters, input })
    }
}
