//! Training, and evaluation through which gradients may flow: a graph's forward pass leaves a tape, its backward pass reads
//! it.

mod autograd;
mod average_pool;
mod backward;
mod elementwise;
mod fallback;
mod forward;
mod gradient_epilogue;
mod max_pool;
mod moments;
mod plan;
mod pointwise;
mod recompute;

pub(crate) use autograd::run;
pub(crate) use plan::Plan;
pub(crate) use recompute::{Segments, run as run_recomputed};
