use candle_core::{Result, Tensor};

use super::window::strided;

/// Every `stride`-th row and column, beginning with the first: the subsampling of option A (He et al. 2015, 3.3).
///
/// # Errors
/// If `x` is not (N, C, H, W).
pub fn subsample(x: &Tensor, stride: (usize, usize)) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let rows = strided(x, 2, 0, stride.0, h.div_ceil(stride.0))?;
    strided(&rows, 3, 0, stride.1, w.div_ceil(stride.1))
}

/// Zero channels before and after the given ones: the widening of option A (He et al. 2015, 3.3).
///
/// # Errors
/// If `x` is not (N, C, H, W).
pub fn pad_channels(x: &Tensor, before: usize, after: usize) -> Result<Tensor> {
    x.dims4()?;
    x.pad_with_zeros(1, before, after)
}
