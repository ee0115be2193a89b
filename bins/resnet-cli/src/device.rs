//! `--device`: where the work is done.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;
use resnet_ops::device::{self, CudaSettings};

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
            Self::Cuda(number) if device::CUDA => device::open_cuda(number),
            Self::Metal if device::METAL => Device::new_metal(0),
            // A driver without a device, or one too old, is no reason not to work.
            Self::Auto if device::CUDA => Ok(device::open_cuda(0).unwrap_or_else(|error| {
                crate::output::note(format!("no CUDA device can be used: {}", resnet_models::message(&error)));
                Device::Cpu
            })),
            Self::Auto if device::METAL => Device::metal_if_available(0),
            Self::Auto => Ok(Device::Cpu),
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
    device::set_cuda_settings(CudaSettings { tf32, search });
    Ok(())
}

/// The device's name, and what it is.
pub fn description(device: &Device) -> String {
    match device::model(device) {
        Some(model) => format!("{} ({model})", name(device)),
        None => name(device),
    }
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
