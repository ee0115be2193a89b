//! `resnet bench`: images per second of one kind of work.

use clap::ValueEnum;
use resnet_train::bench::{BenchConfig, bench_infer, bench_train};
use serde::Serialize;

use crate::args::{DeviceArgs, Dtype, JsonArgs};
use crate::{device, output};

/// Measure a network's speed on made-up images
#[derive(clap::Args)]
pub struct Args {
    /// What to measure
    #[arg(value_enum)]
    task: Task,
    /// Network, one of `resnet list`
    #[arg(long, value_name = "NAME", default_value = "resnet20")]
    arch: String,
    /// Images a step
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch_size: u32,
    /// Rows and columns of the images, instead of the network's own
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=4096))]
    image_size: Option<u32>,
    /// What activations are computed in
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Measured steps; the median is reported
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    json: JsonArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Task {
    /// Forward, cross-entropy, backward, SGD with momentum and weight decay
    Train,
    /// Forward in evaluation mode
    Infer,
}

#[derive(Serialize)]
struct Measured {
    task: Task,
    arch: String,
    dtype: &'static str,
    batch_size: u32,
    image_size: usize,
    device: String,
    steps: u32,
    images_per_second: f64,
}

/// Measures and prints `{task, arch, dtype, images_per_second, …}`.
pub fn run(args: Args) -> anyhow::Result<()> {
    let config = resnet_models::config(&args.arch)?;
    let config = BenchConfig {
        image_size: args.image_size.map_or(config.image_size, |size| size as usize),
        arch: args.arch,
        batch_size: args.batch_size as usize,
        dtype: args.dtype.compute(),
        steps: args.steps as usize,
        device: args.device.device.open()?,
    };
    let images_per_second = match args.task {
        Task::Train => bench_train(&config)?,
        Task::Infer => bench_infer(&config)?,
    };
    let measured = Measured {
        task: args.task,
        dtype: args.dtype.name(),
        batch_size: args.batch_size,
        image_size: config.image_size,
        device: device::name(&config.device),
        steps: args.steps,
        images_per_second,
        arch: config.arch,
    };
    if args.json.json {
        return output::json(&measured);
    }
    output::text(format!(
        "{} in {}, batches of {}, {size}x{size} images, {}: {:.2} images/s (median of {} steps)",
        measured.arch,
        measured.dtype,
        measured.batch_size,
        measured.device,
        measured.images_per_second,
        measured.steps,
        size = measured.image_size,
    ))
}
