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
            Self::Cuda(number) if cfg!(feature = "cuda") => Device::new_cuda(number),
            Self::Metal if cfg!(feature = "metal") => Device::new_metal(0),
            Self::Auto if cfg!(feature = "cuda") => Device::cuda_if_available(0),
            Self::Auto if cfg!(feature = "metal") => Device::metal_if_available(0),
            Self::Auto => Ok(Device::Cpu),
            Self::Cuda(_) | Self::Metal => {
                let feature = if self == Self::Metal { "metal" } else { "cuda" };
                return Err(bad_input(format!(
                    "--device {self}: this program was built without it; build with --features {feature}, or use --device cpu"
                )));
            }
        };
        opened.map_err(|error| bad_input(format!("--device {self} cannot be used: {error}; try --device cpu")))
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
