//! Differentiable building blocks of residual networks on candle: convolution, batch norm, pooling.
//!
//! Networks are described as a [`Graph`] of operations and run by one of three interpreters:
//!
//! - `reference`: candle's own tensor operations only, with candle's autograd. It runs on every device and
//!   dtype and is the reference for every test.
//! - `cpu`: one fused custom op for the whole graph, channels-last inside, with kernels chosen at run time
//!   for AVX-512, AVX2+FMA, NEON or plain scalar code. It is used for `f32` tensors on the CPU.
//! - `cuda` (feature `cuda`, convolutions by cuDNN with feature `cudnn`): the same for CUDA devices, in f32, bf16 or
//!   f16, with kernels of our own for all but the convolutions.
//!
//! Each single operation is also a function on (N, C, H, W) tensors:
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use resnet_ops::{ConvConfig, conv2d, max_pool2d, PoolConfig};
//!
//! # fn main() -> candle_core::Result<()> {
//! let device = Device::Cpu;
//! let image = Tensor::ones((1, 3, 9, 8), candle_core::DType::F32, &device)?;
//! let weight = Var::ones((4, 3, 3, 3), candle_core::DType::F32, &device)?;
//! let config = ConvConfig { padding: (1, 1), ..ConvConfig::default() };
//! let features = conv2d(&image, weight.as_tensor(), None, &config)?;
//! let pooled = max_pool2d(&features, &PoolConfig::square(3, 2, 1))?;
//! assert_eq!(pooled.dims(), [1, 4, 5, 4]);
//! let gradients = pooled.sum_all()?.backward()?;
//! assert_eq!(gradients.get(weight.as_tensor()).unwrap().dims(), [4, 3, 3, 3]);
//! # Ok(())
//! # }
//! ```

#![deny(clippy::undocumented_unsafe_blocks)]

#[macro_use]
mod error;
mod config;
mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(all(test, not(feature = "cuda")))]
mod cuda;
pub mod device;
mod engine;
mod functions;
pub mod graph;
mod images;
mod loss;
pub mod memory;
pub mod reference;
mod sgd;

pub use config::{AvgPoolConfig, ConvConfig, NormConfig, PoolConfig};
pub use cpu::Inference;
pub use cpu::isa::{Isa, force_isa};
pub use engine::grad_sink::backward;
pub use functions::{BatchStats, batch_norm, batch_norm_add_relu, conv2d, global_avg_pool2d, max_pool2d};
pub use graph::{Backend, DropoutRng, Graph, GraphBuilder, NodeId};
pub use images::{ImageScale, ImageView, take_images};
pub use loss::cross_entropy;
pub use sgd::{SgdParameter, SgdStep, Velocity, sgd};
