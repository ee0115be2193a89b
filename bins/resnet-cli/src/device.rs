//! `--device`: where the work is done.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;

use crate::failure::bad_input;

/// What `--device` can say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first accelerator that this build knows and this machine has, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The CUDA device of that number.
    Cuda(usize),
    /// Apple's graphics processor.
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| "choose auto, cpu, cuda:0 (or another number) or metal".into()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl DeviceChoice {
    /// The device.
    ///
    /// # Errors
    /// When this build or this machine does not have it.
    pub fn open(self) -> anyhow::Result<Device> {
        let opened = match self {
            Self::Cpu => Ok(Device::Cpu),
            #[cfg(feature = "cuda")]
            Self::Cuda(number) => resnet_ops::cuda::open(number),
            Self::Metal if cfg!(feature = "metal") => Device::new_metal(0),
            // A driver without a device, or one too old, is no reason not to work.
            #[cfg(feature = "cuda")]
            Self::Auto => Ok(resnet_ops::cuda::open(0).unwrap_or_else(|error| {
                crate::output::note(format!("no CUDA device can be used: {}", resnet_models::message(&error)));
                Device::Cpu
            })),
            #[cfg(not(feature = "cuda"))]
            Self::Auto if cfg!(feature = "metal") => Device::metal_if_available(0),
            #[cfg(not(feature = "cuda"))]
            Self::Auto => Ok(Device::Cpu),
            #[allow(unreachable_patterns, reason = "with every feature nothing is left")]
            Self::Cuda(_) | Self::Metal => {
                let feature = if self == Self::Metal { "metal" } else { "cuda" };
                return Err(bad_input(format!(
                    "--device {self}: this program was built without it; build with --features {feature}, or use --device cpu"
                )));
            }
        };
        opened.map_err(|error| {
            bad_input(format!("--device {self} cannot be used: {}; try --device cpu", resnet_models::message(&error)))
        })
    }
}

/// Sets how convolutions are computed.
///
/// # Errors
/// When a flag does not suit the device.
pub fn set_up(device: &Device, tf32: bool, search: bool) -> anyhow::Result<()> {
    if (tf32 || search) && !device.is_cuda() {
        let flag = if tf32 { "--tf32" } else { "--cudnn-benchmark" };
        return Err(bad_input(format!("{flag} is for CUDA devices, and the device is {}: leave it out", name(device))));
    }
    #[cfg(feature = "cuda")]
    resnet_ops::cuda::set_settings(resnet_ops::cuda::Settings { tf32, search });
    Ok(())
}

/// The convolutions of this program that cuDNN has had no algorithm for so far: slow kernels stood in.
pub fn slow_convolutions() -> Vec<String> {
    #[cfg(feature = "cuda")]
    {
        resnet_ops::cuda::unsupported_convolutions()
    }
    #[cfg(not(feature = "cuda"))]
    {
        Vec::new()
    }
}

/// The device's name, and what it is.
pub fn description(device: &Device) -> String {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(cuda) = device
        && let Ok(model) = cuda.cuda_stream().context().name()
    {
        return format!("{} ({model})", name(device));
    }
    name(device)
}

/// The device's name as `--device` takes it.
pub fn name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => "cpu".into(),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { .. } => "metal".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_reads_as_it_is_written() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(3), DeviceChoice::Metal] {
            assert_eq!(choice.to_string().parse::<DeviceChoice>(), Ok(choice));
        }
        assert!("cuda:x".parse::<DeviceChoice>().is_err());
        assert!("gpu".parse::<DeviceChoice>().is_err());
    }
}
