use candle_core::{DType, Result, Tensor};

use super::window::strided;
use crate::graph::Op;
use crate::{AvgPoolConfig, PoolConfig, memory};

/// Maximum of each window; the border counts as minus infinity, the first of equal maxima takes the gradient.
///
/// `x` is (N, C, H, W), the result (N, C, H', W').
///
/// # Errors
/// If the window does not fit.
pub fn max_pool2d(x: &Tensor, config: &PoolConfig) -> Result<Tensor> {
    let out = Op::MaxPool(*config).applied_to(&[x])?;
    let PoolConfig { kernel, stride, padding } = *config;
    // Along the rows first: then the first maximum of a window is the first in its order of rows and columns.
    let rows = maxima(x, 3, (kernel.1, stride.1, padding.1), out.width)?;
    maxima(&rows, 2, (kernel.0, stride.0, padding.0), out.height)
}

fn maxima(x: &Tensor, dim: usize, (kernel, stride, padding): (usize, usize, usize), count: usize) -> Result<Tensor> {
    let taps = taps("max_pool2d", &border(x, dim, padding)?, dim, kernel, stride, count)?;
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
    let out = Op::AvgPool(*config).applied_to(&[x])?;
    let AvgPoolConfig { kernel, stride, padding, .. } = *config;
    let (_, _, h, w) = x.dims4()?;
    let rows = sums(x, 3, (kernel.1, stride.1, padding.1), out.width)?;
    let sums = sums(&rows, 2, (kernel.0, stride.0, padding.0), out.height)?;
    let counts = (0..out.height * out.width).map(|i| config.count((h, w), (i / out.width, i % out.width)) as f32);
    let counts = Tensor::from_vec(counts.collect::<Vec<_>>(), (1, 1, out.height, out.width), x.device())?;
    sums.broadcast_div(&counts.to_dtype(x.dtype())?)
}

fn sums(x: &Tensor, dim: usize, (kernel, stride, padding): (usize, usize, usize), count: usize) -> Result<Tensor> {
    // A last window of ceil mode may reach beyond the padding.
    let end = ((count - 1) * stride + kernel).saturating_sub(x.dim(dim)? + padding).max(padding);
    let padded = padded("avg_pool2d", x, dim, (padding, end))?;
    taps("avg_pool2d", &padded, dim, kernel, stride, count)?.sum(0)
}

/// The mean over all pixels: (N, C, H, W) to (N, C).
///
/// # Errors
/// If `x` is not of rank 4.
pub fn global_avg_pool2d(x: &Tensor) -> Result<Tensor> {
    Op::GlobalAvgPool.applied_to(&[x])?;
    x.mean((2, 3))
}

/// Zeros around each map: so many rows above and below, columns left and right.
///
/// # Errors
/// If `x` is not (N, C, H, W), or the result would not fit into memory.
pub fn zero_pad(x: &Tensor, padding: (usize, usize)) -> Result<Tensor> {
    Op::ZeroPad { padding }.applied_to(&[x])?;
    let rows = padded("zero_pad", x, 2, (padding.0, padding.0))?;
    padded("zero_pad", &rows, 3, (padding.1, padding.1))
}

/// Zeros before and after, along one dimension.
pub(super) fn padded(op: &str, x: &Tensor, dim: usize, (before, after): (usize, usize)) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    dims[dim] = dims[dim].saturating_add(before).saturating_add(after);
    memory::check(format_args!("{op}: a padded map {dims:?}"), bytes(&dims, x.dtype()), x.device())?;
    x.pad_with_zeros(dim, before, after)
}

pub(super) fn bytes(dims: &[usize], dtype: DType) -> u128 {
    dims.iter().chain([&dtype.size_in_bytes()]).fold(1, |bytes: u128, &size| bytes.saturating_mul(size as u128))
}

fn border(x: &Tensor, dim: usize, width: usize) -> Result<Tensor> {
    if width == 0 {
        return Ok(x.clone());
    }
    let mut dims = x.dims().to_vec();
    dims[dim] = width;
    memory::check(format_args!("max_pool2d: a border {dims:?}"), bytes(&dims, DType::F64), x.device())?;
    let edge = Tensor::full(f32::NEG_INFINITY, dims, x.device())?.to_dtype(x.dtype())?;
    Tensor::cat(&[&edge, x, &edge], dim)
}

/// What the windows' positions see along one dimension, (kernel, N, C, H', W').
fn taps(op: &str, x: &Tensor, dim: usize, kernel: usize, stride: usize, count: usize) -> Result<Tensor> {
    let mut dims = [&[kernel], x.dims()].concat();
    dims[dim + 1] = count;
    memory::check(format_args!("{op}: the windows {dims:?}"), bytes(&dims, x.dtype()), x.device())?;
    let taps = (0..kernel).map(|tap| strided(x, dim, tap, stride, count)).collect::<Result<Vec<_>>>()?;
    Tensor::stack(&taps, 0)
}
