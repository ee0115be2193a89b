use candle_core::{Result, Tensor};

use super::window::strided;
use crate::graph::Op;

/// The binomial filter of three taps, 1 2 1 over 4, in rows and columns, then every `stride`-th of both: "blur pool"
/// (Zhang 2019, "Making convolutional networks shift-invariant again", 4.1). The border is reflected, without repeating
/// the outermost pixels.
///
/// (N, C, H, W) to (N, C, ⌈H / stride⌉, ⌈W / stride⌉).
///
/// # Errors
/// If `x` is not of rank 4 or has fewer than two rows or columns, or the stride is 0.
pub fn blur_pool2d(x: &Tensor, stride: usize) -> Result<Tensor> {
    Op::BlurPool { stride }.applied_to(&[x])?;
    blur(&blur(x, 2, stride)?, 3, stride)
}

fn blur(x: &Tensor, dim: usize, stride: usize) -> Result<Tensor> {
    let size = x.dim(dim)?;
    let x = Tensor::cat(&[&x.narrow(dim, 1, 1)?, x, &x.narrow(dim, size - 2, 1)?], dim)?;
    let count = size.div_ceil(stride);
    let tap = |start| strided(&x, dim, start, stride, count);
    ((tap(0)? + tap(2)?)? * 0.25)? + (tap(1)? * 0.5)?
}
