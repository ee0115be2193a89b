//! The steps of both phases: rates, loss, batches.

use std::f64::consts::PI;

use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::ops::log_softmax;
use resnet_models::Network;

use super::FinetuneConfig;
use crate::Result;

/// Classes count at most this much more than the average image: a class of one image shall not rule.
const GREATEST_WEIGHT: f32 = 10.0;

/// The loss's weight of each class: the mean number of images a class over its own.
pub(super) fn class_weights(labels: impl Iterator<Item = u32>, classes: usize, balance: bool) -> Vec<f32> {
    let mut counts = vec![0_u32; classes];
    let mut images = 0;
    for label in labels {
        counts[label as usize] += 1;
        images += 1;
    }
    let mean = images as f32 / classes as f32;
    counts.iter().map(|&n| if balance && n > 0 { (mean / n as f32).min(GREATEST_WEIGHT) } else { 1.0 }).collect()
}

/// Cross-entropy with smoothed labels and weighted classes (f32, (classes,)), as PyTorch's
/// `CrossEntropyLoss(weight, label_smoothing)`: what smoothing gives to a class counts by that class's weight.
pub(super) fn loss(logits: &Tensor, labels: &Tensor, weights: &Tensor, smoothing: f64) -> Result<Tensor> {
    let log = log_softmax(&logits.to_dtype(DType::F32)?, D::Minus1)?;
    let right = log.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?;
    let own = weights.index_select(labels, 0)?;
    let all = log.broadcast_mul(weights)?.mean(D::Minus1)?;
    let sum = ((right * &own)? * (1.0 - smoothing))?.add(&(all * smoothing)?)?.sum_all()?;
    Ok(sum.neg()?.div(&own.sum_all()?)?)
}

/// The rate at a step: up in a straight line over a tenth of the steps, then down half a cosine.
pub(super) fn rate(lr: f64, step: u64, steps: u64) -> f64 {
    let warm = (steps as f64 / 10.0).max(1.0);
    let at = step as f64 + 0.5;
    if at < warm {
        return lr * at / warm;
    }
    lr * 0.5 * (1.0 + (PI * (at - warm) / (steps as f64 - warm).max(1.0)).cos())
}

/// The share of the rate that a parameter learns with: 1 in the head and the last stage, less from stage to stage
/// before it, least in the stem.
pub(super) fn share(name: &str, network: &Network, config: &FinetuneConfig) -> f64 {
    let stages = network.config().blocks.len();
    let number = |prefix: &str| -> Option<usize> {
        let rest = name.strip_prefix(prefix)?;
        rest.split('.').next()?.parse().ok()
    };
    // Behind the last stage stand the head, the last norm of pre-activation networks and the last 1×1 convolution of others.
    let last_norm = if network.config().block.order.norm_first() { "bn1." } else { "norm." };
    let behind = [network.config().head(), "norm.", "final_conv.", last_norm];
    // torchvision's names count stages from 1, timm's pre-activation networks from 0.
    let stage = match (number("layer"), number("stages.")) {
        (Some(stage), _) => stage,
        (None, Some(stage)) => stage + 1,
        (None, None) if behind.iter().any(|start| name.starts_with(start)) => stages,
        (None, None) => 0,
    };
    config.stage_decay.powi(stages.saturating_sub(stage) as i32)
}

/// Copies of all values, to come back to.
pub(super) fn snapshot(named: &[(String, Var)]) -> Result<Vec<Tensor>> {
    named.iter().map(|(_, var)| Ok(var.as_detached_tensor().copy()?)).collect()
}

/// Back to the copies.
pub(super) fn restore(named: &[(String, Var)], values: &[Tensor]) -> Result<()> {
    for ((_, var), value) in named.iter().zip(values) {
        var.set(value)?;
    }
    Ok(())
}

/// A tensor of the classes' weights.
pub(super) fn weights_on(weights: Vec<f32>, device: &Device) -> Result<Tensor> {
    let count = weights.len();
    Ok(Tensor::from_vec(weights, count, device)?)
}
