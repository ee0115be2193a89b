//! The fused engine for f32 tensors on the CPU: a whole graph as one differentiable operation.
//!
//! Maps are stored channels-last. A convolution reads its input through the batch norm and ReLU before it, and its
//! output's gradient through the backward pass of the norm after it, so that neither is ever written to memory; sums
//! for the norms are taken while a convolution's result is still in the cache.

mod autograd;
mod average_pool;
mod backward;
mod buffer;
mod claims;
mod conv;
mod element;
mod elementwise;
mod ending;
mod escape;
mod finish;
mod forward;
mod gather;
mod geometry;
mod inference;
pub(crate) mod isa;
mod items;
mod pack;
mod plan;
mod pointwise;
mod pool;
mod recompute;
mod standardize;
mod stats;
mod threads;
mod tile;
mod weights;
mod winograd;

pub(crate) use autograd::run;
pub use inference::Inference;
pub(crate) use plan::Plan;
pub(crate) use recompute::{Parts, run as run_recomputed};
