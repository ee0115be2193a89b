use candle_core::{Result, Tensor};

use super::pool::padded;
use super::window::strided;
use crate::graph::Op;

/// Every `stride`-th row and column, beginning with the first: the subsampling of option A (He et al. 2015, 3.3).
///
/// # Errors
/// If `x` is not (N, C, H, W), or a stride is 0.
pub fn subsample(x: &Tensor, stride: (usize, usize)) -> Result<Tensor> {
    let out = Op::Subsample { stride }.applied_to(&[x])?;
    let rows = strided(x, 2, 0, stride.0, out.height)?;
    strided(&rows, 3, 0, stride.1, out.width)
}

/// Zero channels before and after the given ones: the widening of option A (He et al. 2015, 3.3).
///
/// # Errors
/// If `x` is not (N, C, H, W), or the result would not fit into memory.
pub fn pad_channels(x: &Tensor, before: usize, after: usize) -> Result<Tensor> {
    Op::PadChannels { before, after }.applied_to(&[x])?;
    padded("pad_channels", x, 1, (before, after))
}
