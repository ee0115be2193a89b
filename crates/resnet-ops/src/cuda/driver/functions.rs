//! What training needs besides networks, on tensors of a CUDA device.

use candle_core::{CudaDevice, DType, Result, Tensor};

use crate::cuda::images::{self, ImageScale, ImageView};
use crate::cuda::loss;
use crate::cuda::multi_tensor::{self, SgdParameter, SgdStep};
use crate::cuda::runtime::Element;

fn device(tensor: &Tensor) -> Result<&CudaDevice> {
    tensor.device().as_cuda_device()
}

/// Softmax cross-entropy of `logits` (N, classes), f32: the mean loss, a scalar, with its gradient.
///
/// `targets` are labels (N) of u32, or probabilities (N, classes) of f32; `smoothing` is label smoothing (Szegedy et al.
/// 2015, section 7). The device cannot refuse a label that is no class: it makes the loss NaN.
///
/// # Errors
/// If shapes, dtypes or devices do not fit.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, smoothing: f32) -> Result<Tensor> {
    loss::apply(device(logits)?.clone(), logits, targets, smoothing)
}

/// One step of SGD for all parameters, in one launch; parameters and velocities are written in place.
///
/// ```text
/// g = scale * gradient + decay * p
/// v = momentum * v + g          (first: v = g)
/// p -= rate * (nesterov ? g + momentum * v : v)
/// ```
///
/// # Errors
/// If shapes, dtypes or devices do not fit.
pub fn sgd(parameters: &[SgdParameter], step: SgdStep) -> Result<()> {
    match parameters.first() {
        Some(first) => multi_tensor::sgd(device(first.parameter)?, parameters, step),
        None => Ok(()),
    }
}

/// A batch of images out of a set that lies on the device: `pixels` (images, rows, columns, 3) u8 to (N, 3, `size`) of
/// `dtype` (f32, bf16 or f16), normalised, cropped and mirrored as each view says. The values lie channels-last in memory,
/// as the engine takes them.
///
/// # Errors
/// If a view names no image, or shapes, dtypes or devices do not fit.
pub fn take_images(
    pixels: &Tensor,
    views: &[ImageView],
    size: (usize, usize),
    scale: &ImageScale,
    dtype: DType,
) -> Result<Tensor> {
    let device = device(pixels)?;
    let batch = images::take_images(device, Element::of(dtype)?, pixels, views, size, scale, false)?;
    batch.into_tensor(device, (views.len(), size.0, size.1, 3))?.permute((0, 3, 1, 2))
}
