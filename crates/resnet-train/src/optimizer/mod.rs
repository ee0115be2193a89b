//! Optimizers: what a gradient does to a weight.
//!
//! [`Sgd`] follows PyTorch's `torch.optim.SGD` to the letter, [`AdamW`] `torch.optim.AdamW`, [`Lamb`] timm's;
//! each is a [`candle_nn::Optimizer`] too, as [`CandleOptimizer`]. [`Ema`] keeps a moving average of the
//! weights beside them. SGD and the average run as one pass over each parameter on the CPU in f32 and as tensor
//! operations everywhere else; [`Sgd`] on CUDA devices as one launch for all parameters.

mod adamw;
mod candle;
mod choice;
mod ema;
mod fused;
mod gradients;
mod lamb;
mod moments;
mod sgd;

pub use adamw::{AdamW, AdamWConfig};
pub use candle::{CandleConfig, CandleOptimizer};
pub use choice::{Optimizer, OptimizerConfig, OptimizerKind};
pub(crate) use ema::first_not_finite;
pub use ema::{Ema, EmaConfig};
pub use gradients::Gradients;
pub use lamb::{Lamb, LambConfig};
pub use sgd::{Sgd, SgdConfig};

/// Whether a tensor of this name is a statistic that the forward pass updates and no gradient does.
pub fn is_buffer(name: &str) -> bool {
    name.ends_with("running_mean") || name.ends_with("running_var")
}
