//! How fast single operations are: `cargo bench --bench operations [FILTER]`.
//!
//! The convolutions are those of ResNet-20 on CIFAR-10 (batch 128) and of ResNet-50 on ImageNet (batch 8). Criterion's
//! throughput counts an element as one floating-point operation, so that "Gelem/s" reads as GFLOP/s.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{DType, Device, Result, Tensor, Var};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use resnet_ops::{BatchStats, ConvConfig, NormConfig, PoolConfig, backward, batch_norm, conv2d, max_pool2d};

/// A convolution: batch, channels, rows (and columns), output channels, kernel, stride.
struct Conv(usize, usize, usize, usize, usize, usize);

const CONVS: &[(&str, Conv)] = &[
    ("cifar 3x3, 16 to 16 at 32", Conv(128, 16, 32, 16, 3, 1)),
    ("cifar 3x3, 32 to 64 at 16, stride 2", Conv(128, 32, 16, 64, 3, 2)),
    ("cifar 3x3, 64 to 64 at 8", Conv(128, 64, 8, 64, 3, 1)),
    ("imagenet 7x7, 3 to 64 at 224, stride 2", Conv(8, 3, 224, 64, 7, 2)),
    ("imagenet 1x1, 64 to 256 at 56", Conv(8, 64, 56, 256, 1, 1)),
    ("imagenet 3x3, 128 to 128 at 28", Conv(8, 128, 28, 128, 3, 1)),
    ("imagenet 3x3, 512 to 512 at 7", Conv(8, 512, 7, 512, 3, 1)),
];

/// Values without a pattern that a kernel could profit from, the same in every run.
fn values(shape: &[usize]) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i * 7919) % 1013) as f32 / 506.5 - 1.).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn convolutions(criterion: &mut Criterion) -> Result<()> {
    for (name, &Conv(n, c, size, o, kernel, stride)) in CONVS.iter().map(|(name, conv)| (name, conv)) {
        let config =
            ConvConfig { stride: (stride, stride), padding: (kernel / 2, kernel / 2), ..ConvConfig::default() };
        let weight = Var::from_tensor(&values(&[o, c, kernel, kernel])?)?;
        let constant = weight.as_detached_tensor();
        let images = values(&[n, c, size, size])?;
        // A tracked input gets its gradient too, as inside a network.
        let x = Var::from_tensor(&images)?;
        let flops = 2 * n * (size / stride).pow(2) * o * c * kernel * kernel;

        let mut group = criterion.benchmark_group("convolution");
        group.throughput(Throughput::Elements(flops as u64));
        group.bench_function(format!("forward {name}"), |bencher| {
            bencher.iter(|| conv2d(black_box(&images), &constant, None, &config).unwrap());
        });
        group.throughput(Throughput::Elements(3 * flops as u64));
        group.bench_function(format!("forward and both gradients {name}"), |bencher| {
            bencher.iter(|| backward(&conv2d(black_box(&x), &weight, None, &config).unwrap()).unwrap());
        });
        group.finish();
    }
    Ok(())
}

fn norm_and_pool(criterion: &mut Criterion) -> Result<()> {
    let x = Var::from_tensor(&values(&[128, 16, 32, 32])?)?;
    let parameter = |value: f64| Var::from_tensor(&Tensor::full(value as f32, 16, &Device::Cpu)?);
    let (weight, bias) = (parameter(1.)?, parameter(0.)?);
    let stats = BatchStats {
        running_mean: Var::zeros(16, DType::F32, &Device::Cpu)?,
        running_var: Var::ones(16, DType::F32, &Device::Cpu)?,
        config: NormConfig::default(),
    };
    let image = Var::from_tensor(&values(&[8, 64, 112, 112])?)?;

    let mut group = criterion.benchmark_group("others, forward and backward");
    group.throughput(Throughput::Bytes(4 * x.elem_count() as u64));
    group.bench_function("batch norm of 128x16x32x32", |bencher| {
        bencher.iter(|| {
            let y = batch_norm(black_box(&x), Some(&weight), Some(&bias), &stats, true).unwrap();
            backward(&y).unwrap()
        });
    });
    group.throughput(Throughput::Bytes(4 * image.elem_count() as u64));
    group.bench_function("max pool 3x3, stride 2, of 8x64x112x112", |bencher| {
        bencher.iter(|| backward(&max_pool2d(black_box(&image), &PoolConfig::square(3, 2, 1)).unwrap()).unwrap());
    });
    group.finish();
    Ok(())
}

fn all(criterion: &mut Criterion) {
    convolutions(criterion).unwrap();
    norm_and_pool(criterion).unwrap();
}

criterion_group! {
    name = operations;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(2));
    targets = all
}
criterion_main!(operations);
