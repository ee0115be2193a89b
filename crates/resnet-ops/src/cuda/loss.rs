//! Softmax cross-entropy: the loss and its gradient in one pass over the logits.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Storage, Tensor};

use super::array::Array;
use super::launch::Grid;
use super::runtime::{Arg, Module, Runtime};

/// The mean loss, a scalar, and the gradient of each image's loss, (N, classes), to be divided by N; both f32.
///
/// `logits` are (N, classes) f32; `targets` labels (N) u32, or probabilities (N, classes) f32. A label that is no class
/// makes the loss NaN.
///
/// # Errors
/// If shapes or dtypes do not fit.
pub(crate) fn cross_entropy<R: Runtime>(
    runtime: &R,
    logits: &Tensor,
    targets: &Tensor,
    smoothing: f32,
) -> Result<(Array<R>, Array<R>)> {
    let (n, classes) = logits.dims2()?;
    let (labels, soft) = match targets.dtype() {
        DType::U32 if targets.dims() == [n] => (runtime.tensor_address(targets, DType::U32)?, 0),
        DType::F32 if targets.dims() == [n, classes] => (0, runtime.tensor_address(targets, DType::F32)?),
        other => {
            bail!("cross-entropy: targets {:?} of {other:?} do not fit logits {:?}", targets.dims(), logits.dims())
        }
    };
    if !(0. ..=1.).contains(&smoothing) {
        bail!("cross-entropy: smoothing = {smoothing} is not in [0, 1]");
    }
    if n == 0 || classes == 0 {
        bail!("cross-entropy of logits {:?}", logits.dims());
    }
    let losses = Array::new(runtime, n, DType::F32)?;
    let gradient = Array::new(runtime, n * classes, DType::F32)?;
    let args = [
        Arg::Address(runtime.tensor_address(logits, DType::F32)?),
        Arg::Address(labels),
        Arg::Address(soft),
        Arg::Int(classes as i32),
        Arg::Float(smoothing),
        Arg::Address(losses.address()),
        Arg::Address(gradient.address()),
    ];
    // SAFETY: logits, targets and results have the sizes checked above.
    unsafe { runtime.launch(Module::Loss, "cross_entropy", Grid { x: n, y: 1 }, &args)? };
    let mean = Array::new(runtime, 1, DType::F32)?;
    let args = [Arg::Address(losses.address()), Arg::Int(n as i32), Arg::Address(mean.address())];
    // SAFETY: `losses` has n values, `mean` one.
    unsafe { runtime.launch(Module::Loss, "mean", Grid { x: 1, y: 1 }, &args)? };
    Ok((mean, gradient))
}

/// `values · factor · by[0]`: the value is read on the device, so that nothing waits for it.
pub(crate) fn scaled<R: Runtime>(runtime: &R, values: &Array<R>, by: &Tensor, factor: f32) -> Result<Array<R>> {
    if by.elem_count() != 1 {
        bail!("a factor {:?} is not one value", by.dims());
    }
    let out = Array::new(runtime, values.count(), DType::F32)?;
    let args = [
        Arg::Address(values.address()),
        Arg::Address(runtime.tensor_address(by, DType::F32)?),
        Arg::Float(factor),
        Arg::Int(values.count() as i32),
        Arg::Address(out.address()),
    ];
    // SAFETY: both have `count` values.
    unsafe { runtime.launch(Module::Loss, "scale_by", Grid::over(values.count()), &args)? };
    Ok(out)
}

/// The mean loss as an operation of candle's autograd.
///
/// # Errors
/// As [`cross_entropy`].
pub(crate) fn apply<R: Runtime>(runtime: R, logits: &Tensor, targets: &Tensor, smoothing: f32) -> Result<Tensor> {
    let (logits, targets) = (logits.contiguous()?, targets.contiguous()?);
    let (mean, gradient) = cross_entropy(&runtime, &logits, &targets, smoothing)?;
    let result = Mutex::new(Some(mean.into_storage(&runtime)?));
    logits.apply_op1(CrossEntropy { runtime, result, gradient })
}

struct CrossEntropy<R: Runtime> {
    runtime: R,
    /// There before candle asks for it.
    result: Mutex<Option<Storage>>,
    gradient: Array<R>,
}

impl<R: Runtime> CrossEntropy<R> {
    fn take(&self) -> Option<Storage> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<R: Runtime> CustomOp1 for CrossEntropy<R> {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        match self.take() {
            Some(Storage::Cpu(storage)) => Ok((storage, Shape::from(()))),
            _ => bail!("the loss is not on the CPU"),
        }
    }
    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        match self.take() {
            Some(Storage::Cuda(storage)) => Ok((storage, Shape::from(()))),
            _ => bail!("the loss is not on a CUDA device"),
        }
    }
    fn bwd(&self, logits: &Tensor, _: &Tensor, by: &Tensor) -> Result<Option<Tensor>> {
        let n = logits.dim(0)? as f32;
        let gradient = scaled(&self.runtime, &self.gradient, &by.contiguous()?, 1. / n)?;
        gradient.into_tensor(&self.runtime, logits.shape()).map(Some)
    }
}
