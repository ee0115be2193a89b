//! A CUDA device as candle has it, with kernels of our own and cuDNN.

#[cfg(feature = "cudnn")]
mod cudnn;
#[cfg(feature = "cudnn")]
mod descriptors;
mod device;
mod functions;
mod runtime;
mod settings;
mod staging;

pub use device::{adopt, open};
pub use functions::{cross_entropy, sgd, take_images};
pub use settings::{set_settings, settings};
pub use staging::upload;
