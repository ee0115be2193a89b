//! PyTorch's results on networks whose weights and inputs a rule fills, to check a device by.
//!
//! The files lie beside the tests (`tests/golden`): evaluation logits, and the gradient norms and loss of the first
//! training step, targets of image i being `(3 i + 1) mod 10`.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::ModuleT;
use serde::Deserialize;

use crate::{Network, Parameters};

#[path = "../tests/rule/mod.rs"]
mod rule;

const FILES: [(&str, &str); 4] = [
    ("plain20", include_str!("../tests/golden/cifar_plain20.json")),
    ("resnet20", include_str!("../tests/golden/cifar_resnet20.json")),
    ("preact_resnet20", include_str!("../tests/golden/cifar_preact20.json")),
    ("resnet18", include_str!("../tests/golden/tv_resnet18.json")),
];

#[derive(Deserialize)]
struct Golden {
    batch: usize,
    size: usize,
    eval_logits: Vec<Vec<f32>>,
    #[serde(default)]
    grad_norms: BTreeMap<String, f64>,
    #[serde(default)]
    train_losses: Vec<f64>,
}

/// How far a network is from PyTorch's results.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance {
    /// Largest difference of an evaluation logit, as a share of the largest logit.
    pub logits: f64,
    /// Difference of the first training step's loss, as a share of it.
    pub loss: f64,
    /// Largest difference of a parameter's gradient norm, as a share of it.
    pub gradients: f64,
}

/// The networks that there are results of.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(arch, _)| *arch)
}

/// Runs the network of that name (one of [`names`]) in `dtype` on `device` and compares.
///
/// # Errors
/// If there are no results of such a network, or the device fails.
pub fn distance(arch: &str, dtype: DType, device: &Device) -> Result<Distance> {
    let Some((_, text)) = FILES.iter().find(|(name, _)| *name == arch) else { bail!("no golden values of {arch}") };
    let golden: Golden = serde_json::from_str(text).map_err(candle_core::Error::wrap)?;
    let parameters = Parameters::zeros(DType::F32, device);
    let network = crate::create(arch, parameters.builder(), None).map_err(candle_core::Error::wrap)?;
    let network: Network = network.with_compute_dtype(dtype);
    for (name, var) in parameters.named() {
        var.set(&rule::filled(&name, var.dims(), DType::F32).to_device(device)?)?;
    }
    let x = rule::filled("input", &[golden.batch, 3, golden.size, golden.size], DType::F32).to_device(device)?;
    let logits = network.forward_t(&x, false)?.narrow(1, 0, 10)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    let wanted: Vec<f32> = golden.eval_logits.concat();
    let largest = wanted.iter().fold(0f32, |m, v| m.max(v.abs()));
    let logits = logits.concat().iter().zip(&wanted).map(|(a, b)| largest_of(a - b)).fold(0f32, f32::max) / largest;

    let targets: Vec<u32> = (0..golden.batch as u32).map(|i| (3 * i + 1) % 10).collect();
    let (mut loss, mut gradients) = (0f64, 0f64);
    if let Some(wanted) = golden.train_losses.first() {
        let targets = Tensor::new(targets, device)?;
        let value = candle_nn::loss::cross_entropy(&network.forward_t(&x, true)?.to_dtype(DType::F32)?, &targets)?;
        loss = (f64::from(value.to_scalar::<f32>()?) - wanted).abs() / wanted;
        let store = value.backward()?;
        for (name, var) in parameters.trainable() {
            let (Some(gradient), Some(wanted)) = (store.get(var.as_tensor()), golden.grad_norms.get(&name)) else {
                bail!("{arch}: no gradient of {name}")
            };
            let norm = f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?).sqrt();
            gradients = gradients.max(nan_is_far((norm - wanted).abs() / wanted));
        }
    }
    Ok(Distance { logits: f64::from(logits), loss: nan_is_far(loss), gradients })
}

/// `max` passes over NaN, which must not look like no distance at all.
fn nan_is_far(x: f64) -> f64 {
    if x.is_nan() { f64::INFINITY } else { x }
}

fn largest_of(x: f32) -> f32 {
    if x.is_nan() { f32::INFINITY } else { x.abs() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_processor_is_near() -> Result<()> {
        let near = distance("resnet20", DType::F32, &Device::Cpu)?;
        assert!(near.logits < 1e-4 && near.loss < 1e-3 && near.gradients < 1e-3, "{near:?}");
        assert!(distance("resnet1", DType::F32, &Device::Cpu).is_err());
        Ok(())
    }
}
