//! A CUDA device as candle has it, with kernels of our own and cuDNN.

#[cfg(feature = "cudnn")]
mod conv_graph;
#[cfg(feature = "cudnn")]
mod cudnn;
#[cfg(feature = "cudnn")]
mod descriptor;
mod device;
#[cfg(feature = "cudnn")]
mod execution_plan;
mod runtime;
mod settings;
mod staging;

pub use device::{adopt, open};
pub(crate) use settings::set_settings;
pub(crate) use staging::upload;
