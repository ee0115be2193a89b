//! The engine for CUDA devices: a whole graph as one differentiable operation, channels-last inside, in f32, bf16 or f16
//! with sums, statistics and parameters in f32.
//!
//! Convolutions are cuDNN's (feature `cudnn`), everything else runs in kernels of our own. The engine is written against
//! [`Runtime`], which a CUDA device is one of; in tests another one runs the same kernels, compiled as C++, on the
//! processor, so that all but the calls of cuDNN and the driver is tested on any machine.

mod array;
mod autograd;
#[cfg(any(feature = "cudnn", test))]
mod autotune;
mod backward;
mod constants;
mod conv_problem;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(test)]
mod emulation;
mod fallback;
mod forward;
pub(crate) mod images;
mod kernels;
mod launch;
pub(crate) mod loss;
mod plan;
mod runtime;
pub(crate) mod sgd;
#[cfg(test)]
mod tests;
#[cfg(any(feature = "cuda", test))]
mod unsupported;
#[cfg(any(feature = "cudnn", test))]
mod workspace;

pub(crate) use autograd::run;
#[cfg(feature = "cuda")]
pub(crate) use constants::Constants;
#[cfg(feature = "cuda")]
pub(crate) use plan::Plan;

#[cfg(feature = "cuda")]
pub use driver::{adopt, open};
#[cfg(feature = "cuda")]
pub(crate) use driver::{set_settings, upload};
#[cfg(feature = "cuda")]
pub(crate) use unsupported::unsupported_convolutions;
