use candle_core::{Result, Tensor};

use crate::graph::dropout::Mask;

/// `1 / (1 + e^-x)`, by way of tanh, whose gradient stays finite everywhere.
///
/// # Errors
/// If the dtype is no float.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    ((x * 0.5)?.tanh()? + 1.)? * 0.5
}

/// Values times their factors; the position of a value is its place in the row-major (N, C, H, W) tensor.
pub(crate) fn drop_values(x: &Tensor, mask: Mask) -> Result<Tensor> {
    let factors: Vec<f32> = (0..x.elem_count()).map(|i| mask.factor(i)).collect();
    x * Tensor::from_vec(factors, x.shape(), x.device())?.to_dtype(x.dtype())?
}

/// Images times their factors; the position is the image's place in the batch.
pub(crate) fn drop_images(x: &Tensor, mask: Mask) -> Result<Tensor> {
    let n = x.dim(0)?;
    let factors: Vec<f32> = (0..n).map(|i| mask.factor(i)).collect();
    let shape: Vec<usize> = std::iter::once(n).chain(std::iter::repeat_n(1, x.rank() - 1)).collect();
    x.broadcast_mul(&Tensor::from_vec(factors, shape, x.device())?.to_dtype(x.dtype())?)
}
