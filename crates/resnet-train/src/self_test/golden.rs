//! PyTorch's results: logits, and three steps of training by what trains elsewhere, so that the engine's gradients are
//! delivered, the loss is computed and all parameters are stepped as in a training.

mod allowed;

use candle_core::{DType, Device};
use candle_nn::ModuleT;
use resnet_models::golden::{self, Golden, LEARNING_RATE, Worst};
use resnet_models::{Network, Parameters};

use self::allowed::Allowed;
use super::Check;
use crate::Result;
use crate::loss::CrossEntropy;
use crate::optimizer::{Gradients, Sgd, SgdConfig};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Logits,
    /// The running statistics after the first step.
    Running,
    /// The first step's gradient that is farthest off.
    Gradient,
    /// All gradients of the first step.
    Gradients,
    /// Of that training step, from 0: behind the first step stands the optimizer.
    Loss(usize),
}

/// The files' optimizer.
const SGD: SgdConfig = SgdConfig { momentum: 0.9, nesterov: false, weight_decay: 1e-4, decay_norm_and_bias: true };

pub(super) fn all(device: &Device, dtype: DType, rounded: bool, tell: &mut dyn FnMut(Check)) {
    for arch in golden::names() {
        let allowed = Allowed::of(arch, dtype, rounded);
        let mut see = |part: Part, worst: Worst| {
            let (what, tolerance) = match part {
                Part::Logits => ("logits", allowed.logits),
                Part::Running => ("running statistics", allowed.running),
                Part::Gradient => ("gradients", allowed.gradient),
                Part::Gradients => ("gradients together", allowed.gradients),
                Part::Loss(step) => ("loss", allowed.losses[step]),
            };
            tell(Check::new(format!("golden {arch}, {what} ({})", worst.place), Ok(worst.error), tolerance));
        };
        if let Err(error) = compare(arch, device, dtype, &mut see) {
            tell(Check::new(format!("golden {arch}"), Err(candle_core::Error::wrap(error)), allowed.logits));
        }
    }
}

fn compare(arch: &str, device: &Device, dtype: DType, see: &mut dyn FnMut(Part, Worst)) -> Result<()> {
    let golden = golden::of(arch)?;
    let (network, parameters) = golden.network(DType::F32, device)?;
    let network = network.with_compute_dtype(dtype);
    let logits = network.forward_t(&golden.input(DType::F32, device)?, false)?;
    see(Part::Logits, golden.logits_off(&logits)?);
    if golden.train_losses.is_empty() {
        return Ok(());
    }
    train(&golden, &network, &parameters, SGD, see)
}

fn train(
    golden: &Golden,
    network: &Network,
    parameters: &Parameters,
    config: SgdConfig,
    see: &mut dyn FnMut(Part, Worst),
) -> Result<()> {
    let mut sgd = Sgd::new(&parameters.named(), config)?;
    let trained = sgd.parameters();
    let device = trained.first().map_or(&Device::Cpu, |(_, var)| var.device());
    let (x, targets) = (golden.input(DType::F32, device)?, golden.targets(device)?);
    for step in 0..golden.train_losses.len() {
        let loss = CrossEntropy::default().forward(&network.forward_t(&x, true)?, &targets)?;
        see(Part::Loss(step), golden.loss_off(step, f64::from(loss.to_scalar::<f32>()?)));
        if step + 1 == golden.train_losses.len() {
            // No loss is known that another step would lead to.
            break;
        }
        let mut gradients = Gradients::new();
        gradients.add(&trained, resnet_ops::backward(&loss)?, golden.batch)?;
        if step == 0 {
            see(Part::Running, golden.running_off(parameters)?);
            let named = trained.iter().zip(gradients.tensors());
            let named = named.filter_map(|((name, _), gradient)| Some((name.clone(), gradient.as_ref()?)));
            let (worst, error) = golden.gradients_off(named)?;
            see(Part::Gradient, worst);
            see(Part::Gradients, Worst { error, place: "root of the mean square".into() });
        }
        sgd.step(&gradients, gradients.scale(), LEARNING_RATE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checks that do not pass where each step is taken with this optimizer.
    fn failed(arch: &str, dtype: DType, config: SgdConfig) -> Result<Vec<Part>> {
        let golden = golden::of(arch)?;
        let (network, parameters) = golden.network(DType::F32, &Device::Cpu)?;
        let (network, allowed) = (network.with_compute_dtype(dtype), Allowed::of(arch, dtype, false));
        let mut failed = Vec::new();
        train(&golden, &network, &parameters, config, &mut |part, worst| {
            if let Part::Loss(step) = part
                && worst.error > allowed.losses[step]
            {
                failed.push(part);
            }
        })?;
        Ok(failed)
    }

    #[test]
    fn another_optimizer_shows_in_the_losses() -> Result<()> {
        for dtype in [DType::F32, DType::BF16] {
            assert_eq!(failed("resnet18", dtype, SGD)?, []);
            let nesterov = SgdConfig { nesterov: true, ..SGD };
            assert_eq!(failed("resnet18", dtype, nesterov)?, [Part::Loss(1), Part::Loss(2)]);
            let none = SgdConfig { momentum: 0., ..SGD };
            assert_eq!(failed("resnet18", dtype, none)?, [Part::Loss(2)]);
        }
        Ok(())
    }

    #[test]
    fn a_step_that_is_not_taken_shows_in_every_dtype() -> Result<()> {
        for arch in golden::names() {
            let golden = golden::of(arch)?;
            let kinds = [(DType::F32, false), (DType::F32, true), (DType::BF16, false)];
            for allowed in kinds.map(|(dtype, rounded)| Allowed::of(arch, dtype, rounded)) {
                for step in 1..golden.train_losses.len() {
                    let error = golden.loss_off(step, golden.train_losses[step - 1]).error;
                    assert!(error > allowed.losses[step], "{arch}: {error}, {allowed:?}");
                }
            }
        }
        Ok(())
    }
}
