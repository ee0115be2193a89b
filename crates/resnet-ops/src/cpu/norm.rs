//! A batch norm's statistics and parameters as coefficients of each channel.

use candle_core::{Result, Tensor, Var};

use super::layout::read_f32;
use crate::graph::NormParameters;

/// A batch norm as one multiplication and addition a channel.
pub(crate) struct NormCoefficients {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub mean: Vec<f32>,
    /// 1 / √(variance + ε)
    pub inverse: Vec<f32>,
    /// Values a channel in the batch; 0 where the statistics are constants.
    pub count: f64,
}

/// A norm with its running statistics.
pub(crate) fn constant_norm(p: &NormParameters) -> Result<NormCoefficients> {
    coefficients(p, read_f32(p.running_mean.as_tensor())?, &read_f32(p.running_var.as_tensor())?, 0.)
}

pub(crate) fn coefficients(
    p: &NormParameters,
    mean: Vec<f32>,
    variance: &[f32],
    count: f64,
) -> Result<NormCoefficients> {
    let channels = mean.len();
    let weight = p.weight.as_ref().map(read_f32).transpose()?.unwrap_or_else(|| vec![1.; channels]);
    let bias = p.bias.as_ref().map(read_f32).transpose()?.unwrap_or_else(|| vec![0.; channels]);
    if [weight.len(), bias.len(), variance.len()] != [channels; 3] {
        bail!("batch_norm: parameters of {} and {} values do not fit {channels} channels", weight.len(), bias.len());
    }
    let inverse: Vec<f32> = variance.iter().map(|&v| (1. / (f64::from(v) + p.config.eps).sqrt()) as f32).collect();
    let scale: Vec<f32> = weight.iter().zip(&inverse).map(|(w, i)| w * i).collect();
    let shift = bias.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    Ok(NormCoefficients { scale, shift, mean, inverse, count })
}

pub(crate) fn update_running(p: &NormParameters, mean: &[f32], variance: &[f32], count: f64) -> Result<()> {
    let momentum = p.config.momentum;
    if momentum == 0. {
        return Ok(());
    }
    let update = |var: &Var, batch: &[f32], factor: f64| -> Result<()> {
        let old = read_f32(&var.as_detached_tensor())?;
        let mix = |(&o, &b): (&f32, &f32)| ((1. - momentum) * f64::from(o) + momentum * factor * f64::from(b)) as f32;
        let new: Vec<f32> = old.iter().zip(batch).map(mix).collect();
        var.set(&Tensor::from_vec(new, var.shape(), var.device())?.to_dtype(var.dtype())?)
    };
    update(&p.running_mean, mean, 1.)?;
    // The running variance is the unbiased one (as in PyTorch).
    update(&p.running_var, variance, count / (count - 1.))
}
