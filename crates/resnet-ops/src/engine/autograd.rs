//! An engine's passes as an operation of candle's autograd.
//!
//! candle's custom operations take at most three tensors, and a network has hundreds of parameters. They are gathered by
//! a tree of [`Gather`] operations, each of which turns up to three parameters or trees into one zero; the root is the
//! second argument of the [`Network`] operation. Its backward pass leaves the parameters' gradients in a shared place,
//! where the tree's backward passes, which candle runs afterwards, find them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor};

use super::ParameterId;
use super::grad_sink::sink;

/// What an engine has kept of a forward pass.
pub(crate) trait Backward: Send + Sync + 'static {
    /// From the input and the gradient of the result to all others; that of the input where it tracks gradients.
    fn backward(&self, x: &Tensor, gradient: &Tensor) -> Result<Gradients>;
}

/// What comes out of a backward pass.
pub(crate) struct Gradients {
    /// In any shape.
    pub parameters: HashMap<ParameterId, Tensor>,
    pub input: Option<Tensor>,
}

/// The result of a forward pass, and what it leaves.
pub(crate) struct Forward<B> {
    pub storage: Storage,
    pub shape: Shape,
    pub backward: B,
}

/// Runs `forward` as an operation on `x` and these parameters. It is told whether gradients may be asked for.
pub(crate) fn run<'a, B: Backward>(
    x: &Tensor,
    parameters: impl IntoIterator<Item = (ParameterId, &'a Tensor)>,
    forward: impl FnOnce(bool) -> Result<Forward<B>>,
) -> Result<Tensor> {
    let stash = Stash::default();
    let gathered = gather(parameters, &stash)?;
    let tracked = gathered.is_some() || x.track_op();
    let Forward { storage, shape, backward } = forward(tracked)?;
    if !tracked {
        return Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false));
    }
    let op = Network { backward, result: Handover { storage: Mutex::new(Some(storage)), shape }, stash };
    match gathered {
        Some(gathered) => x.apply_op2(&gathered, op),
        None => x.apply_op1(InputOnly(op)),
    }
}

type Stash = Arc<Mutex<HashMap<ParameterId, Tensor>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Parameters that gradients are wanted of, as one tensor; none where there are none.
fn gather<'a>(
    parameters: impl IntoIterator<Item = (ParameterId, &'a Tensor)>,
    stash: &Stash,
) -> Result<Option<Tensor>> {
    let tracked = parameters.into_iter().filter(|(_, parameter)| parameter.track_op());
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
            Leaf::Parameter(id) => {
                let gradient = lock(&self.stash).remove(&id);
                let gradient = gradient.map(|gradient| gradient.reshape(argument.shape())).transpose()?;
                Ok(gradient.and_then(|gradient| sink(argument, gradient)))
            }
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

struct Network<B> {
    backward: B,
    result: Handover,
    stash: Stash,
}

impl<B: Backward> Network<B> {
    fn gradient(&self, x: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let Gradients { parameters, input } = self.backward.backward(x, g)?;
        lock(&self.stash).extend(parameters);
        Ok(input)
    }
}

impl<B: Backward> CustomOp2 for Network<B> {
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
        Ok((self.gradient(x, g)?, Some(parameters.detach())))
    }
}

/// The same where no parameter is to be trained.
struct InputOnly<B>(Network<B>);

impl<B: Backward> CustomOp1 for InputOnly<B> {
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
        self.0.gradient(x, g)
    }
}
