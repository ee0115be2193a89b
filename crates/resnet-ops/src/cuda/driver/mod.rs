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
mod functions;
mod runtime;
mod settings;
mod staging;

pub use device::{adopt, open};
pub use functions::{cross_entropy, sgd, take_images};
pub use settings::{set_settings, settings};
pub use staging::upload;
