use candle_core::{Result, Tensor};

use super::norm::widen;
use crate::graph::{Op, Spread};

/// `x` (N, C, H, W) over the spread of each image's and group's channels and pixels, `eps` added under the root: what
/// EvoNorm-S0 (Liu et al. 2020, Table 1) and filter response normalisation (Singh & Krishnan 2020, eq. 1) divide by.
///
/// # Errors
/// If `x` is not of rank 4, or the channels do not divide into the groups.
pub fn divide_by_spread(x: &Tensor, spread: Spread, groups: usize, eps: f64) -> Result<Tensor> {
    Op::DivideBySpread { spread, groups, eps }.applied_to(&[x])?;
    let n = x.dim(0)?;
    let grouped = widen(x)?.reshape((n, groups, x.elem_count() / (n * groups)))?;
    let distance = match spread {
        Spread::Deviation => grouped.broadcast_sub(&grouped.mean_keepdim(2)?)?,
        Spread::RootMeanSquare => grouped.clone(),
    };
    let root = (distance.sqr()?.mean_keepdim(2)? + eps)?.sqrt()?;
    grouped.broadcast_div(&root)?.reshape(x.shape())?.to_dtype(x.dtype())
}
