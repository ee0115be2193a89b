//! Networks of a thousand layers on the stack of an ordinary thread.

use candle_core::{DType, Device, Tensor};
use candle_nn::ModuleT;
use resnet_models::{Parameters, create};
use resnet_train::loss::CrossEntropy;
use resnet_train::optimizer::{Gradients, Sgd, SgdConfig};

/// Losses of a few steps of gradient descent on two images.
fn losses(arch: &str, recompute: bool) -> Vec<f32> {
    let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
    let mut network = create(arch, parameters.builder(), Some(10)).unwrap();
    if recompute {
        network = network.with_recomputation(0);
    }
    let values: Vec<f32> = (0..2 * 3 * 16 * 16).map(|i| ((i * 7919) % 255) as f32 / 127.0 - 1.0).collect();
    let images = Tensor::from_vec(values, (2, 3, 16, 16), &Device::Cpu).unwrap();
    let labels = Tensor::new(&[3u32, 8], &Device::Cpu).unwrap();
    let mut sgd = Sgd::new(&parameters.named(), SgdConfig::default()).unwrap();
    let trainable = sgd.parameters();
    let mut losses = Vec::new();
    for _ in 0..3 {
        let logits = network.forward_t(&images, true).unwrap();
        let loss = CrossEntropy::default().forward(&logits, &labels).unwrap();
        losses.push(loss.to_scalar::<f32>().unwrap());
        let mut gradients = Gradients::new();
        gradients.add(&trainable, loss.backward().unwrap(), 2).unwrap();
        sgd.step(&gradients, gradients.scale(), 1e-3).unwrap();
    }
    losses
}

#[test]
fn a_thousand_layers_train_without_a_large_stack() {
    for arch in ["resnet1202", "preact_resnet1001"] {
        let kept = losses(arch, false);
        assert!(kept.iter().all(|loss| loss.is_finite()) && kept[2] != kept[0], "{arch}: {kept:?}");
        let recomputed = losses(arch, true);
        assert!((recomputed[0] - kept[0]).abs() < 1e-2 * kept[0].abs().max(1.0), "{arch}: {recomputed:?}, {kept:?}");
        assert!(recomputed.iter().all(|loss| loss.is_finite()), "{arch}: {recomputed:?}");
    }
}

/// What is computed again is what was computed before, but for rounding: sums are taken in another order.
#[test]
fn recomputation_changes_nothing() {
    for arch in ["resnet56", "preact_resnet56", "plain20"] {
        for (again, kept) in losses(arch, true).into_iter().zip(losses(arch, false)) {
            assert!((again - kept).abs() < 1e-5 * kept, "{arch}: {again}, {kept}");
        }
    }
}
