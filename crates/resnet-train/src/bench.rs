//! How many images a second a network trains on or classifies, on random data.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use candle_nn::ModuleT;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use resnet_models::{Network, Parameters};

use crate::loss::CrossEntropy;
use crate::optimizer::{Gradients, Sgd, SgdConfig};
use crate::recipe::Compute;
use crate::stack::with_large_stack;
use crate::{Error, Result};

/// Steps before the clock runs.
const WARM_UP: usize = 2;

/// What to measure.
#[derive(Debug, Clone)]
pub struct BenchConfig {
    /// The network's name.
    pub arch: String,
    /// Images a step.
    pub batch_size: usize,
    /// Rows and columns of an image.
    pub image_size: usize,
    /// What the network computes in.
    pub dtype: Compute,
    /// Steps measured; the result is their median.
    pub steps: usize,
    /// The device.
    pub device: Device,
}

/// Images a second of training: forward, cross-entropy, backward, SGD (momentum 0.9, weight decay 1e-4).
///
/// # Errors
/// When the network is unknown or does not take such images.
pub fn bench_train(config: &BenchConfig) -> Result<f64> {
    with_large_stack(|| {
        let (network, parameters, images, classes) = prepare(config)?;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let labels: Vec<u32> = (0..config.batch_size).map(|_| rng.random_range(0..classes as u32)).collect();
        let labels = Tensor::new(labels, &config.device)?;
        let mut sgd = Sgd::new(&parameters.named(), SgdConfig::default())?;
        let trainable = sgd.parameters();
        let loss = CrossEntropy::default();
        median(config, || {
            let logits = network.forward_t(&images, true)?;
            let mut gradients = Gradients::new();
            gradients.add(&trainable, resnet_ops::backward(&loss.forward(&logits, &labels)?)?, config.batch_size)?;
            sgd.step(&gradients, gradients.scale(), 0.1)
        })
    })
}

/// Images a second of classification with running statistics, by the network made ready for inference.
///
/// # Errors
/// As [`bench_train`].
pub fn bench_infer(config: &BenchConfig) -> Result<f64> {
    with_large_stack(|| {
        let (network, _, images, _) = prepare(config)?;
        let network = network.into_inference()?;
        median(config, || {
            let logits = network.forward(&images)?;
            // Reading a value makes the device finish.
            logits.flatten_all()?.get(0)?.to_dtype(DType::F32)?.to_scalar::<f32>()?;
            Ok(())
        })
    })
}

fn prepare(config: &BenchConfig) -> Result<(Network, Parameters, Tensor, usize)> {
    if config.batch_size == 0 || config.steps == 0 || config.image_size == 0 {
        return Err(Error::Invalid("bench: batch size, image size and steps must be 1 or more".into()));
    }
    let parameters = Parameters::new(0, DType::F32, &config.device);
    let mut network = resnet_models::create(&config.arch, parameters.builder(), None)?;
    if config.dtype == Compute::Bf16 {
        network = network.with_compute_dtype(DType::BF16);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let shape = (config.batch_size, 3, config.image_size, config.image_size);
    let values: Vec<f32> = (0..shape.0 * shape.1 * shape.2 * shape.3).map(|_| rng.random_range(-1.7..1.7)).collect();
    let images = Tensor::from_vec(values, shape, &config.device)?;
    let classes = network.config().classes;
    Ok((network, parameters, images, classes))
}

fn median(config: &BenchConfig, mut step: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut seconds = Vec::with_capacity(config.steps);
    for i in 0..WARM_UP + config.steps {
        let start = Instant::now();
        step()?;
        config.device.synchronize()?;
        if i >= WARM_UP {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.len() / 2;
    let median = if seconds.len() % 2 == 1 { seconds[middle] } else { (seconds[middle - 1] + seconds[middle]) / 2.0 };
    Ok(config.batch_size as f64 / median.max(1e-12))
}
