use candle_core::{Result, Tensor};

use super::window::taps;
use crate::{AvgPoolConfig, PoolConfig};

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

/// Mean of each window; the border does not count.
///
/// `x` is (N, C, H, W), the result (N, C, H', W').
///
/// # Errors
/// If the window does not fit.
pub fn avg_pool2d(x: &Tensor, config: &AvgPoolConfig) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let (oh, ow) = config.output_size((h, w))?;
    // A last window of ceil mode may reach beyond the padding.
    let beyond = |out: usize, size: usize, kernel: usize, stride: usize, padding: usize| {
        ((out - 1) * stride + kernel).saturating_sub(size + padding).max(padding)
    };
    let bottom = beyond(oh, h, config.kernel.0, config.stride.0, config.padding.0);
    let right = beyond(ow, w, config.kernel.1, config.stride.1, config.padding.1);
    let x = x.pad_with_zeros(2, config.padding.0, bottom)?.pad_with_zeros(3, config.padding.1, right)?;
    let taps = taps(&x, config.kernel, config.stride, (1, 1), (oh, ow))?;
    let counts: Vec<f32> = (0..oh * ow).map(|i| config.count((h, w), (i / ow, i % ow)) as f32).collect();
    let counts = Tensor::from_vec(counts, (1, 1, oh, ow), x.device())?.to_dtype(x.dtype())?;
    Tensor::stack(&taps, 0)?.sum(0)?.broadcast_div(&counts)
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
