//! Residual blocks on candle: basic, bottleneck and pre-activation, with the shortcuts of the papers.
//!
//! A block is a [`candle_nn::ModuleT`] on (N, C, H, W) tensors and takes its parameters from a
//! [`candle_nn::VarBuilder`], under the names that torchvision uses (`conv1.weight`, `bn1.running_mean`,
//! `downsample.0.weight`).
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::ModuleT;
//! use resnet_blocks::{BlockConfig, Parameters, ResidualBlock};
//!
//! # fn main() -> candle_core::Result<()> {
//! let parameters = Parameters::new(42, DType::F32, &Device::Cpu);
//! let config = BlockConfig::basic(16, 32).with_stride(2);
//! let block = ResidualBlock::new(&config, parameters.builder().pp("block"))?;
//! let x = Tensor::zeros((1, 16, 8, 8), DType::F32, &Device::Cpu)?;
//! assert_eq!(block.forward_t(&x, false)?.dims(), [1, 32, 4, 4]);
//! # Ok(())
//! # }
//! ```
//!
//! Several blocks make one [`resnet_ops::Graph`] when they are appended to one builder: the whole then runs as one
//! fused operation on the CPU (see [`Layer`]).

mod ablation;
mod activation;
mod anti_alias;
mod attention;
mod basic;
mod bottleneck;
mod check;
mod config;
mod conv;
mod drop_path;
mod layer;
mod linear;
mod merge;
mod naming;
mod norm;
mod options;
mod order;
mod parameters;
mod pool;
mod preact;
mod residual;
mod shortcut;

pub use ablation::AblationBlock;
pub use activation::Activation;
pub use anti_alias::{AntiAlias, AntiAliasPool};
pub use attention::{Attention, ChannelAttention};
pub use basic::BasicBlock;
pub use bottleneck::Bottleneck;
pub use config::{BlockConfig, Branch, StrideIn};
pub use conv::Conv2d;
pub use drop_path::DropPath;
pub use layer::Layer;
pub use linear::Linear;
pub use naming::Naming;
pub use norm::{Norm2d, NormKind};
pub use options::{BlockOptions, Merge, Projection, ShortcutKind};
pub use order::Order;
pub use parameters::Parameters;
pub use pool::{AvgPool2d, GlobalAvgPool2d, MaxPool2d};
pub use preact::{PreActBasic, PreActBottleneck};
pub use residual::ResidualBlock;
pub use shortcut::Shortcut;
