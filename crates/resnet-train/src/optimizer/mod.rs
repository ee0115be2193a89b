//! Optimizers: what a gradient does to a weight.
//!
//! [`Sgd`] follows PyTorch's `torch.optim.SGD` to the letter, [`Lamb`] timm's; [`Ema`] keeps a moving average of the
//! weights beside them. SGD and the average run as one pass over each parameter on the CPU in f32 and as tensor
//! operations everywhere else; [`Sgd`] on CUDA devices as one launch for all parameters.

mod choice;
mod ema;
mod fused;
mod gradients;
mod lamb;
mod sgd;

pub use choice::{Optimizer, OptimizerConfig};
pub(crate) use ema::first_not_finite;
pub use ema::{Ema, EmaConfig};
pub use gradients::Gradients;
pub use lamb::{Lamb, LambConfig};
pub use sgd::{Sgd, SgdConfig};

/// Whether a tensor of this name is a statistic that the forward pass updates and no gradient does.
pub fn is_buffer(name: &str) -> bool {
    name.ends_with("running_mean") || name.ends_with("running_var")
}
