//! The engine as an operation of candle's autograd.
//!
//! candle's custom operations take at most three tensors, and a network has hundreds of parameters. They are gathered by
//! a tree of [`Gather`] operations, each of which turns up to three parameters or trees into one zero; the root is the
//! second argument of the [`Network`] operation. Its backward pass leaves the parameters' gradients in a shared place,
//! where the tree's backward passes, which candle runs afterwards, find them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Storage, Tensor,
    op::BackpropOp,
};

use super::backward::Backward;
use super::constants::Constants;
use super::forward::{Forward, Tape, input_shape};
use super::kernels::Kernels;
use super::plan::{ParameterId, Plan};
use super::runtime::Runtime;
use crate::engine::grad_sink::sink;
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
    let stash = Stash::default();
    let gathered = gather(plan, &stash)?;
    let tracked = gathered.is_some() || x.track_op();
    // In evaluation gradients are rarely asked for: the values are computed again if they are.
    let keep = tracked && pass.keep;
    let mut tape = Forward::run(plan, &kernels, x, pass, constants, keep)?;
    let MapShape { channels, height, width } = tape.shape(plan, plan.output);
    let dims = match is_vector(&plan.nodes, x.rank() == 2) {
        true => Shape::from((tape.n, channels)),
        false => Shape::from((tape.n, channels, height, width)),
    };
    let sizes = [tape.n, channels, height * width];
    let y = match keep {
        true => tape.value(plan.output)?.clone(),
        false => tape.take(plan.output)?,
    };
    let storage = kernels.channels_first(&y, sizes)?.into_storage(&kernels.runtime)?;
    if !tracked {
        return Ok(Tensor::from_storage(storage, dims, BackpropOp::none(), false));
    }
    let op = Network {
        plan: plan.clone(),
        kernels,
        pass,
        result: Handover { storage: Mutex::new(Some(storage)), shape: dims },
        tape: Mutex::new(keep.then_some(Arc::new(tape))),
        stash,
    };
    match gathered {
        Some(gathered) => x.apply_op2(&gathered, op),
        None => x.apply_op1(InputOnly(op)),
    }
}

type Stash = Arc<Mutex<HashMap<ParameterId, Tensor>>>;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Parameters that gradients are wanted of, as one tensor; none where there are none.
fn gather(plan: &Plan, stash: &Stash) -> Result<Option<Tensor>> {
    let tracked = plan.parameters().into_iter().filter(|(_, parameter)| parameter.track_op());
    let mut level: Vec<(Tensor, Leaf)> =
        tracked.map(|(id, parameter)| (parameter.clone(), Leaf::Parameter(id))).collect();
    while level.len() > 1 || matches!(level.first(), Some((_, Leaf::Parameter(_)))) {
        level = level
            .chunks(3)
            .map(|chunk| {
                let gather = Gather { leaves: chunk.iter().map(|(_, leaf)| *leaf).collect(), stash: stash.clone() };
                let tensor = match chunk {
                    [(a, _)] => a.apply_op1(gather)?,
                    [(a, _), (b, _)] => a.apply_op2(b, gather)?,
                    [(a, _), (b, _), (c, _)] => a.apply_op3(b, c, gather)?,
                    _ => bail!("three parameters at a time"),
                };
                Ok((tensor, Leaf::Tree))
            })
            .collect::<Result<_>>()?;
    }
    Ok(level.pop().map(|(tensor, _)| tensor))
}

#[derive(Debug, Clone, Copy)]
enum Leaf {
    Parameter(ParameterId),
    Tree,
}

/// Up to three parameters or trees as one zero.
struct Gather {
    leaves: Vec<Leaf>,
    stash: Stash,
}

impl Gather {
    fn gradient(&self, place: usize, argument: &Tensor) -> Result<Option<Tensor>> {
        match self.leaves[place] {
            Leaf::Parameter(id) => Ok(lock(&self.stash).remove(&id).and_then(|gradient| sink(argument, gradient))),
            // Any value does, so that candle goes on: the tree is a zero itself.
            Leaf::Tree => Ok(Some(argument.detach())),
        }
    }
}

fn zero() -> (CpuStorage, Shape) {
    (CpuStorage::F32(vec![0.]), Shape::from(1))
}

#[cfg(feature = "cuda")]
fn cuda_zero(storage: &CudaStorage) -> Result<(CudaStorage, Shape)> {
    let zero = storage.device.alloc_zeros::<f32>(1)?;
    Ok((CudaStorage::wrap_cuda_slice(zero, storage.device.clone()), Shape::from(1)))
}

#[cfg(not(feature = "cuda"))]
fn cuda_zero(_: &CudaStorage) -> Result<(CudaStorage, Shape)> {
    bail!("this program was built without CUDA")
}

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "gather-parameter"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(zero())
    }
    fn cuda_fwd(&self, s: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda_zero(s)
    }
    fn bwd(&self, a: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        self.gradient(0, a)
    }
}

impl CustomOp2 for Gather {
    fn name(&self) -> &'static str {
        "gather-two-parameters"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(zero())
    }
    fn cuda_fwd(&self, s: &CudaStorage, _: &Layout, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda_zero(s)
    }
    fn bwd(&self, a: &Tensor, b: &Tensor, _: &Tensor, _: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((self.gradient(0, a)?, self.gradient(1, b)?))
    }
}

impl CustomOp3 for Gather {
    fn name(&self) -> &'static str {
        "gather-three-parameters"
    }
    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(zero())
    }
    fn cuda_fwd(
        &self,
        s: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda_zero(s)
    }
    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        Ok((self.gradient(0, a)?, self.gradient(1, b)?, self.gradient(2, c)?))
    }
}

/// A result that is there before candle asks for it.
struct Handover {
    storage: Mutex<Option<Storage>>,
    shape: Shape,
}

impl Handover {
    fn cpu(&self) -> Result<(CpuStorage, Shape)> {
        match lock(&self.storage).take() {
            Some(Storage::Cpu(storage)) => Ok((storage, self.shape.clone())),
            _ => bail!("the engine's result is not on the CPU"),
        }
    }

    fn cuda(&self) -> Result<(CudaStorage, Shape)> {
        match lock(&self.storage).take() {
            Some(Storage::Cuda(storage)) => Ok((storage, self.shape.clone())),
            _ => bail!("the engine's result is not on a CUDA device"),
        }
    }
}

struct Network<R: Runtime> {
    plan: Arc<Plan>,
    kernels: Kernels<R>,
    pass: Pass,
    result: Handover,
    tape: Mutex<Option<Arc<Tape<R>>>>,
    stash: Stash,
}

impl<R: Runtime> Network<R> {
    fn backward(&self, x: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let kept = lock(&self.tape).clone();
        let (plan, kernels) = (&self.plan, &self.kernels);
        let tape = match kept {
            Some(tape) => tape,
            None => Arc::new(Forward::run(plan, kernels, x, self.pass, None, true)?),
        };
        let MapShape { channels, height, width } = tape.shape(plan, plan.output);
        let sizes = [tape.n, channels, height * width];
        let dy = kernels.channels_last(&g.to_dtype(DType::F32)?.contiguous()?, sizes)?;
        let gradients = Backward::run(plan, kernels, &tape, dy, x.track_op())?;
        lock(&self.stash).extend(gradients.parameters);
        let Some(dx) = gradients.input else { return Ok(None) };
        let (n, input) = input_shape(x.dims())?;
        let dx = kernels.channels_first(&dx, [n, input.channels, input.height * input.width])?;
        dx.into_tensor(&kernels.runtime, x.shape())?.to_dtype(x.dtype()).map(Some)
    }
}

impl<R: Runtime> CustomOp2 for Network<R> {
    fn name(&self) -> &'static str {
        "network"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.result.cpu()
    }
    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.result.cuda()
    }
    fn bwd(&self, x: &Tensor, parameters: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((self.backward(x, g)?, Some(parameters.detach())))
    }
}

/// The same where no parameter is to be trained.
struct InputOnly<R: Runtime>(Network<R>);

impl<R: Runtime> CustomOp1 for InputOnly<R> {
    fn name(&self) -> &'static str {
        "network-of-constants"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.0.result.cpu()
    }
    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.0.result.cuda()
    }
    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        self.0.backward(x, g)
    }
}
