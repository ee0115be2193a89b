//! `resnet bench`: images per second of one kind of work.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use clap::ValueEnum;
use resnet_data::{Dataset, Folder, Loader, LoaderConfig, Normalize, Split, Transform};
use resnet_models::Preprocessing;
use resnet_train::bench::{BenchConfig, bench_infer, bench_train};
use resnet_train::self_test::{self, Check};
use serde::Serialize;

use crate::args::{DeviceArgs, Dtype, DtypeArgs, JsonArgs, must_exist, tell, with_default};
use crate::failure::bad_input;
use crate::{device, output};

/// What ImageNet's networks are trained on.
const IMAGENET_SIZE: usize = 224;

/// Measure a network's speed on synthetic images (`load`: on files)
#[derive(clap::Args)]
#[command(mut_arg("dtype", |arg| with_default(arg, "f32")))]
pub struct Args {
    /// What to measure
    #[arg(value_enum, required_unless_present = "self_test")]
    task: Option<Task>,
    /// Run the self-test instead: every operation, the loss, the optimizer and the networks with golden values run on the
    /// device and are compared with the CPU in f64 and with PyTorch's results; exit code 1 if a check fails. In every data
    /// type if none is given, on CUDA in TF32 too
    #[arg(long, conflicts_with = "task")]
    self_test: bool,
    /// Network: one of `resnet list`
    #[arg(long, value_name = "NAME", default_value = "resnet20")]
    arch: String,
    /// Images per batch
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch_size: u32,
    /// Rows and columns of the images [default: the network's own; of `load` 224]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=4096))]
    image_size: Option<u32>,
    #[command(flatten)]
    dtype: DtypeArgs,
    /// Measured steps, of `load` epochs; the median is reported
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// For `load`: folder with a folder of images per class, shards:DIR, or parquet:DIR or
    /// parquet:DIR?image=NAME&label=NAME with the columns of these names
    #[arg(long, value_name = "DIR|NAME", required_if_eq("task", "load"))]
    data: Option<String>,
    /// For `load`: threads that read and augment images
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=256))]
    workers: u32,
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
    /// Reading, decoding, random resized crop, flip and normalisation of the images in --data; a step is an epoch
    Load,
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
    /// What cuDNN left to slow kernels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    slow_convolutions: Vec<String>,
}

/// What the loader did.
#[derive(Serialize)]
struct Loaded {
    task: Task,
    /// No network is at work: null.
    arch: Option<String>,
    /// Of the batches.
    dtype: &'static str,
    data: String,
    images: usize,
    batch_size: u32,
    image_size: usize,
    workers: u32,
    images_per_second: f64,
    /// Resident megabytes after a tenth of the first epoch, and the most over all epochs; where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_begun: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_most: Option<f64>,
}

/// Measures and prints `{task, arch, dtype, images_per_second, …}`.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Some(task) = args.task else { return self_test(&args) };
    if let (Task::Load, Some(data)) = (task, &args.data) {
        return load(&args, data);
    }
    let dtype = args.dtype.dtype.unwrap_or(Dtype::F32);
    let config = resnet_models::config(&args.arch)?;
    let config = BenchConfig {
        image_size: args.image_size.map_or(config.image_size, |size| size as usize),
        arch: args.arch,
        batch_size: args.batch_size as usize,
        dtype: dtype.compute(),
        steps: args.steps as usize,
        device: args.device.open()?,
    };
    let images_per_second = match task {
        Task::Train => bench_train(&config)?,
        Task::Infer => bench_infer(&config)?,
        Task::Load => return Err(bad_input("bench load wants --data DIR")),
    };
    let measured = Measured {
        task,
        dtype: dtype.name(),
        batch_size: args.batch_size,
        image_size: config.image_size,
        device: device::name(&config.device),
        steps: args.steps,
        images_per_second,
        slow_convolutions: resnet_ops::device::unsupported_convolutions(),
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

/// A check, and the arithmetic that it was made in.
#[derive(Serialize)]
struct Line<'a> {
    dtype: &'a str,
    #[serde(flatten)]
    check: &'a Check,
}

/// One line, or JSON object, a check.
fn self_test(args: &Args) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let kinds = match (args.dtype.dtype, args.device.tf32) {
        (None, false) if device.is_cuda() => vec![(Dtype::F32, false), (Dtype::F32, true), (Dtype::Bf16, false)],
        (None, false) => vec![(Dtype::F32, false), (Dtype::Bf16, false)],
        (dtype, tf32) => vec![(dtype.unwrap_or(Dtype::F32), tf32)],
    };
    let mut wrong = Vec::new();
    for (dtype, tf32) in kinds {
        device::set_up(&device, tf32, args.device.cudnn_benchmark)?;
        let name = if tf32 && dtype == Dtype::F32 { "tf32" } else { dtype.name() };
        if !self_test_in(&device, dtype, tf32, name, args.json.json)? {
            wrong.push(name);
        }
    }
    if !wrong.is_empty() {
        anyhow::bail!("{} does not compute what it should in {}", device::description(&device), wrong.join(" and "));
    }
    Ok(())
}

/// Whether all checks passed.
fn self_test_in(device: &Device, dtype: Dtype, tf32: bool, name: &str, json: bool) -> anyhow::Result<bool> {
    let mut failed = Ok(());
    let mut print = |check: &Check| {
        let printed = if json {
            output::json(&Line { dtype: name, check })
        } else {
            let verdict = if check.passed { "ok" } else { "FAILED" };
            let Check { check, error, tolerance, .. } = check;
            output::text(format!("{name:<5}{verdict:<7}{error:>9.1e} of {tolerance:.0e}  {check}"))
        };
        if failed.is_ok() {
            failed = printed;
        }
    };
    let passed = self_test::run(device, dtype.compute().dtype(), tf32, &mut print)?;
    failed?;
    if passed && !json {
        output::text(format!("{} computes right in {name}", device::description(device)))?;
    }
    Ok(passed)
}

/// Whole epochs of a data set's images, as a training of ImageNet networks reads them; the median of several.
fn load(args: &Args, data: &str) -> anyhow::Result<()> {
    let size = args.image_size.map_or(IMAGENET_SIZE, |size| size as usize);
    if !data.contains(':') && !resnet_data::names().contains(&data) {
        must_exist("--data", Path::new(data), "give a folder of images per class, shards:DIR or parquet:DIR")?;
    }
    let dataset: Arc<dyn Dataset> = match Path::new(data).is_dir() {
        true => Arc::new(Folder::open(data, Split::Train)?),
        false => resnet_data::open(data, None, Split::Train, &mut ())?,
    };
    tell(&*dataset);
    let usual = Preprocessing::default();
    let transform = Transform::resized_crop_and_flip(size, Normalize::channel(usual.mean, usual.std))?;
    let config = LoaderConfig {
        batch_size: args.batch_size as usize,
        workers: args.workers as usize,
        shuffle: true,
        ..LoaderConfig::default()
    };
    let loader = Loader::new(dataset, transform, config)?;
    let mut rates = Vec::new();
    let (mut begun, mut most) = (None, None);
    // The first epoch brings the files into memory.
    for epoch in 0..=u64::from(args.steps) {
        let start = Instant::now();
        let mut images = 0;
        for (number, batch) in loader.epoch(epoch, 0).enumerate() {
            images += batch?.indices.len();
            let now = resident_megabytes();
            if epoch == 0 && number == loader.batches() / 10 {
                begun = now;
            }
            most = [now, most].into_iter().flatten().reduce(f64::max);
        }
        if epoch > 0 {
            rates.push(images as f64 / start.elapsed().as_secs_f64().max(1e-9));
        }
    }
    rates.sort_by(f64::total_cmp);
    let loaded = Loaded {
        task: Task::Load,
        arch: None,
        dtype: Dtype::F32.name(),
        data: data.to_owned(),
        memory_begun: begun,
        memory_most: most,
        images: loader.samples(),
        batch_size: args.batch_size,
        image_size: size,
        workers: args.workers,
        images_per_second: rates[rates.len() / 2],
    };
    if args.json.json {
        return output::json(&loaded);
    }
    let Loaded { images, workers, images_per_second, .. } = loaded;
    let epochs = rates.len();
    let mut text = format!(
        "{data}: {images} images, {workers} threads, {size}x{size}: {images_per_second:.0} images/s (median of {epochs} epochs)"
    );
    if let (Some(begun), Some(most)) = (begun, most) {
        text += &format!("\nmemory: {begun:.0} MB after a tenth of the first epoch, {most:.0} MB at most");
    }
    output::text(text)
}

/// What of this process is in memory; Linux tells.
fn resident_megabytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
}
