//! A CUDA device as candle has it, with kernels of our own and cuDNN.

#[cfg(feature = "cudnn")]
mod cudnn;
mod device;
mod functions;
mod refusals;
mod runtime;
mod settings;
mod staging;

pub use device::{adopt, open};
pub use functions::{cross_entropy, sgd, take_images};
pub use refusals::refused_convolutions;
pub use settings::{Settings, set_settings, settings};
pub use staging::upload;
