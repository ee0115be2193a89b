//! Targets as rows of probabilities.

use candle_core::{DType, Tensor};

use crate::Result;

/// One-hot rows of labels, smoothed: f32 (N, classes) with `smoothing / classes` everywhere and `1 - smoothing` more on
/// the label.
///
/// # Errors
/// When a label is not below the number of classes.
pub fn one_hot(labels: &Tensor, classes: usize, smoothing: f64) -> Result<Tensor> {
    let device = labels.device();
    let even = Tensor::full((smoothing / classes as f64) as f32, (labels.dim(0)?, classes), device)?;
    let more = Tensor::full((1.0 - smoothing) as f32, (labels.dim(0)?, 1), device)?;
    Ok(even.scatter_add(&labels.to_dtype(DType::U32)?.unsqueeze(1)?, &more, 1)?)
}

/// Targets of images that are `share` of one label and the rest of another.
///
/// # Errors
/// As [`one_hot`].
pub fn mixed(labels: &Tensor, others: &Tensor, share: f64, classes: usize, smoothing: f64) -> Result<Tensor> {
    let own = one_hot(labels, classes, smoothing)?;
    Ok(((own * share)? + (one_hot(others, classes, smoothing)? * (1.0 - share))?)?)
}
