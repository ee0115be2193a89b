use candle_core::{Result, Tensor};

use super::window::taps;
use crate::PoolConfig;

/// Maximum of each window; the border counts as minus infinity, the first of equal maxima takes the gradient.
///
/// `x` is (N, C, H, W), the result (N, C, H', W').
///
/// # Errors
/// If the window does not fit.
pub fn max_pool2d(x: &Tensor, config: &PoolConfig) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let out = config.output_size((h, w))?;
    let x = border(&border(x, 2, config.padding.0)?, 3, config.padding.1)?;
    let taps = Tensor::stack(&taps(&x, config.kernel, config.stride, (1, 1), out)?, 0)?;
    // Not `max`: its gradient goes to every one of equal maxima, and after a ReLU ties at zero are common.
    let first = taps.argmax_keepdim(0)?;
    taps.gather(&first, 0)?.squeeze(0)
}

/// The mean over all pixels: (N, C, H, W) to (N, C).
///
/// # Errors
/// If `x` is not of rank 4.
pub fn global_avg_pool2d(x: &Tensor) -> Result<Tensor> {
    x.dims4()?;
    x.mean((2, 3))
}

fn border(x: &Tensor, dim: usize, width: usize) -> Result<Tensor> {
    if width == 0 {
        return Ok(x.clone());
    }
    let mut dims = x.dims().to_vec();
    dims[dim] = width;
    let edge = Tensor::full(f32::NEG_INFINITY, dims, x.device())?.to_dtype(x.dtype())?;
    Tensor::cat(&[&edge, x, &edge], dim)
}
