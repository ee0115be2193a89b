//! The fused engine for f32 tensors on the CPU: a whole graph as one differentiable operation.
//!
//! Maps are stored channels-last. A convolution reads its input through the batch norm and ReLU before it, and its
//! output's gradient through the backward pass of the norm after it, so that neither is ever written to memory; sums
//! for the norms are taken while a convolution's result is still in the cache.

mod buffer;
mod conv;
mod element;
mod inference;
pub(crate) mod isa;
mod layout;
pub(crate) mod loss;
mod norm;
pub(crate) mod sgd;
mod standardize;
mod threads;
mod training;

pub use inference::Inference;
pub(crate) use training::{Plan, Segments, run, run_recomputed};
