//! Where the work is done, and in what.

use candle_core::Device;
use clap::{Args, ValueEnum};
use resnet_ops::{Graph, Inference, device};
use resnet_train::recipe::Compute;

use super::with_default;
use crate::device::DeviceChoice;
use crate::output;

/// Where the work is done.
#[derive(Args)]
pub struct DeviceArgs {
    /// auto (first GPU this build supports, else CPU), cpu, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceChoice,
    /// CUDA: let f32 convolutions round to TF32
    #[arg(long)]
    pub tf32: bool,
    /// CUDA: measure cuDNN's plans for each shape and use the fastest; results are then not repeatable to the bit
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
        if self.device == DeviceChoice::Auto && (device::CUDA || device::METAL) {
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
    /// bfloat16 activations, of three digits, with 32-bit weights and statistics; faster where the device multiplies it
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

/// The arithmetic; its default is the command's.
#[derive(Args)]
pub struct DtypeArgs {
    /// Data type of activations
    #[arg(long, value_enum)]
    pub dtype: Option<Dtype>,
}

/// What a network is run in that does not train.
#[derive(Args)]
#[command(mut_arg("dtype", |arg| with_default(arg, "f32")))]
pub struct InferenceArgs {
    #[command(flatten)]
    dtype: DtypeArgs,
}

impl InferenceArgs {
    /// The network or a part of it, made ready.
    ///
    /// # Errors
    /// If a parameter cannot be read.
    pub fn ready(&self, graph: &Graph) -> candle_core::Result<Inference> {
        let dtype = self.dtype.dtype.unwrap_or(Dtype::F32);
        Inference::new(&graph.clone().with_compute_dtype(dtype.compute().dtype()))
    }
}
