use candle_core::{Result, Tensor};

use crate::config::check_eps;

/// A convolution's weight (O, C, kh, kw) with mean 0 and (biased) variance 1 over each output channel's values: weight
/// standardisation (Qiao et al. 2019, eq. 5). `eps` is added to the variance.
///
/// # Errors
/// If `weight` is not of rank 4.
pub fn standardize_weight(weight: &Tensor, eps: f64) -> Result<Tensor> {
    check_eps("standardize_weight", eps)?;
    let (o, c, kh, kw) = weight.dims4()?;
    if [o, c, kh, kw].contains(&0) {
        bail!("standardize_weight: a weight {:?} without values", weight.dims());
    }
    let rows = weight.flatten_from(1)?;
    let centred = rows.broadcast_sub(&rows.mean_keepdim(1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(1)? + eps)?.sqrt()?;
    centred.broadcast_div(&deviation)?.reshape(weight.shape())
}
