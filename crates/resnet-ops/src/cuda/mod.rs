//! The engine for CUDA devices: a whole graph as one differentiable operation, channels-last inside, in f32, bf16 or f16
//! with sums, statistics and parameters in f32.
//!
//! Convolutions are cuDNN's (feature `cudnn`), everything else runs in kernels of our own. The engine is written against
//! [`Runtime`], which a CUDA device is one of; in tests another one runs the same kernels, compiled as C++, on the
//! processor, so that all but the calls of cuDNN and the driver is tested on any machine.

#[cfg(any(feature = "cudnn", test))]
mod algorithms;
mod array;
mod autograd;
mod backward;
#[cfg(any(feature = "cudnn", test))]
mod chooser;
mod constants;
mod conv_shape;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(test)]
mod emulation;
mod escape;
mod forward;
mod images;
mod launch;
mod loss;
mod multi_tensor;
mod plan;
mod queue;
#[cfg(any(feature = "cuda", test))]
mod refusals;
mod runtime;
#[cfg(any(feature = "cuda", test))]
mod settings;
#[cfg(test)]
mod tests;
#[cfg(any(feature = "cudnn", test))]
mod workspace;

pub(crate) use autograd::run;
#[cfg(feature = "cuda")]
pub(crate) use constants::Constants;
#[cfg(feature = "cuda")]
pub(crate) use plan::Plan;

#[cfg(feature = "cuda")]
pub use driver::{adopt, cross_entropy, open, set_settings, settings, sgd, take_images, upload};
#[cfg(feature = "cuda")]
pub use images::{ImageScale, ImageView};
#[cfg(feature = "cuda")]
pub use multi_tensor::{SgdParameter, SgdStep};
#[cfg(feature = "cuda")]
pub use refusals::refused_convolutions;
#[cfg(feature = "cuda")]
pub use settings::Settings;
