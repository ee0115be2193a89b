//! Softmax cross-entropy.

use candle_core::{D, Result, Tensor};

/// Mean softmax cross-entropy of `logits` (N, classes) with labels (N) of u32 or probabilities (N, classes), smoothed.
///
/// # Errors
/// If shapes or dtypes do not fit.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, smoothing: f64) -> Result<Tensor> {
    let n = logits.dim(0)?;
    // The maximum cancels out of the result; as a constant it needs no gradient.
    let max = logits.detach().max_keepdim(D::Minus1)?;
    let shifted = logits.broadcast_sub(&max)?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let log_p = shifted.broadcast_sub(&log_sum)?;
    let on_target = if targets.rank() == 1 {
        log_p.gather(&targets.unsqueeze(1)?, 1)?.sum_all()?
    } else {
        (&log_p * targets)?.sum_all()?
    };
    let mut sum = (on_target * (smoothing - 1.0))?;
    if smoothing != 0.0 {
        let classes = log_p.dim(1)? as f64;
        sum = (sum - (log_p.sum_all()? * (smoothing / classes))?)?;
    }
    sum / n as f64
}
