//! Flags that several commands share, each defined once.

use std::path::PathBuf;
use std::sync::Arc;

use candle_core::Device;
use clap::{Args, ValueEnum};
use resnet_data::{Dataset, OnBroken, Split};
use resnet_ops::{Graph, Inference};
use resnet_train::recipe::Compute;

use crate::device::DeviceChoice;
use crate::output::{self, Download};

/// A pretrained or trained network.
#[derive(Args, Default)]
pub struct WeightsArgs {
    /// Network, one of `resnet list`; taken from the weights where they say it
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// Weights: .safetensors, or a PyTorch checkpoint (.pth, .pt, .th)
    #[arg(long, value_name = "FILE", conflicts_with = "hub")]
    pub weights: Option<PathBuf>,
    /// Pretrained network: OWNER/NAME or OWNER/NAME@REVISION of the Hugging Face hub (timm/resnet50.a1_in1k), or a folder
    /// with config.json and model.safetensors
    #[arg(long, value_name = "NAME|DIR")]
    pub hub: Option<String>,
    /// Branch, tag or commit of the hub's repository
    #[arg(long, value_name = "REVISION", requires = "hub", conflicts_with = "weights")]
    pub revision: Option<String>,
}

/// Which images a command reads.
#[derive(Args)]
pub struct ImagesArgs {
    /// Images (JPEG, PNG or WebP), folders of images, or patterns such as 'photos/*.jpg'
    #[arg(required = true, value_name = "IMAGE|DIR|PATTERN")]
    pub images: Vec<PathBuf>,
}

/// Where the work is done, and in what.
#[derive(Args)]
pub struct DeviceArgs {
    /// auto, cpu, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceChoice,
    /// CUDA: lets convolutions of f32 round to TF32
    #[arg(long)]
    pub tf32: bool,
    /// CUDA: measures cuDNN's algorithms for each shape and takes the fastest; results are then not repeatable to the bit
    #[arg(long)]
    pub cudnn_benchmark: bool,
}

impl DeviceArgs {
    /// The device, set up as asked for. Where the program had a choice, it says what it took.
    ///
    /// # Errors
    /// When this build or this machine does not have it, or a flag does not suit it.
    pub fn open(&self) -> anyhow::Result<Device> {
        let device = self.device.open()?;
        crate::device::set_up(&device, self.tf32, self.cudnn_benchmark)?;
        if self.device == DeviceChoice::Auto && cfg!(any(feature = "cuda", feature = "metal")) {
            output::note(format!("device: {}", crate::device::description(&device)));
        }
        Ok(device)
    }
}

/// What activations are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    /// 32-bit floats
    F32,
    /// bfloat16 activations, 32-bit weights and statistics
    Bf16,
}

impl Dtype {
    /// As recipes have it.
    pub fn compute(self) -> Compute {
        match self {
            Dtype::F32 => Compute::F32,
            Dtype::Bf16 => Compute::Bf16,
        }
    }

    /// As `--dtype` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::Bf16 => "bf16",
        }
    }
}

/// What a network is run in that does not train.
#[derive(Args)]
pub struct InferenceArgs {
    /// What the network computes in; bf16 is faster where the processor multiplies it, and keeps three digits
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    pub dtype: Dtype,
}

impl InferenceArgs {
    /// The network or a part of it, made ready.
    ///
    /// # Errors
    /// If a parameter cannot be read.
    pub fn ready(&self, graph: &Graph) -> candle_core::Result<Inference> {
        Inference::new(&graph.clone().with_compute_dtype(self.dtype.compute().dtype()))
    }
}

/// A data set.
#[derive(Args)]
pub struct DatasetArgs {
    /// Data set: one of `resnet list`; folder:DIR with a folder of images for each class; shards:DIR or
    /// shards:DIR/train-{000000..000099}.tar; parquet:DIR
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Folder with the files of CIFAR or ImageNet; CIFAR is looked for in the user's cache and then downloaded where none
    /// is given
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl DatasetArgs {
    /// A part of the data set of that name, from `--data-dir` or from the hub.
    pub fn open(&self, name: &str, split: Split) -> anyhow::Result<Arc<dyn Dataset>> {
        Ok(resnet_data::open(name, self.data_dir.as_deref(), split, &mut Download::default())?)
    }

    /// Its parts for training and testing.
    pub fn open_both(&self, name: &str) -> anyhow::Result<(Arc<dyn Dataset>, Arc<dyn Dataset>)> {
        Ok(resnet_data::open_both(name, self.data_dir.as_deref(), &mut Download::default())?)
    }
}

/// How images are read.
#[derive(Args)]
pub struct LoaderArgs {
    /// Images a batch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub batch_size: Option<u32>,
    /// Threads that read and augment images; half of the processor's where none is given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=256))]
    workers: Option<u32>,
}

impl LoaderArgs {
    /// The number of threads.
    pub fn workers(&self) -> usize {
        self.workers.map_or_else(Self::default_workers, |n| n as usize)
    }

    /// Half of the processor's threads.
    pub fn default_workers() -> usize {
        std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2))
    }
}

/// What an image that cannot be read does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Broken {
    /// It is left out, and named at the end
    Skip,
    /// It ends the run
    Fail,
}

impl From<Broken> for OnBroken {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Skip => Self::Skip,
            Broken::Fail => Self::Fail,
        }
    }
}

/// What a command says of images that it left out; empty where there are none.
pub fn left_out(broken: &[String]) -> String {
    match broken {
        [] => String::new(),
        [one] => format!("\n1 image could not be read and was left out: {one}"),
        [first, ..] => format!("\n{} images could not be read and were left out, the first: {first}", broken.len()),
    }
}

/// From bytes to a network's input.
#[derive(Args, Default)]
pub struct NormalizeArgs {
    /// Means of red, green and blue in units of 255, separated by commas; taken from the weights where they say it,
    /// else ImageNet's
    #[arg(long, value_name = "R,G,B", value_parser = triple, requires = "std", allow_hyphen_values = true)]
    pub mean: Option<[f32; 3]>,
    /// Standard deviations, likewise
    #[arg(long, value_name = "R,G,B", value_parser = triple, requires = "mean")]
    pub std: Option<[f32; 3]>,
    /// Rows and columns of the network's input, instead of what the weights say
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub image_size: Option<u32>,
    /// The input's share of the resized image's shorter side, likewise
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub crop_pct: Option<f64>,
}

/// Output for programs.
#[derive(Args)]
pub struct JsonArgs {
    /// Print one JSON object a line, and nothing else, on standard output
    #[arg(long)]
    pub json: bool,
}

/// A share that is more than nothing.
fn share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|&share: &f64| share > 0.0 && share <= 1.0);
    number.ok_or_else(|| "give a share above 0 and up to 1, as in 0.875".into())
}

/// Three numbers separated by commas.
fn triple(text: &str) -> Result<[f32; 3], String> {
    let numbers: Option<Vec<f32>> =
        text.split(',').map(|part| part.trim().parse().ok().filter(|n: &f32| n.is_finite())).collect();
    numbers.and_then(|n| n.try_into().ok()).ok_or_else(|| "give three numbers, as in 0.485,0.456,0.406".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triples() {
        assert_eq!(triple(".485, 0.456,0.406"), Ok([0.485, 0.456, 0.406]));
        for wrong in ["", "1,2", "1,2,3,4", "a,b,c", "1,2,NaN"] {
            assert!(triple(wrong).is_err(), "{wrong}");
        }
    }
}
