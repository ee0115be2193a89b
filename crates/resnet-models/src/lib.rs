//! Residual networks on candle: the papers' tables by name, weights in and out.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::ModuleT;
//! use resnet_models::{Parameters, create};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let parameters = Parameters::new(42, DType::F32, &Device::Cpu);
//! let network = create("resnet20", parameters.builder(), Some(10))?;
//! let images = Tensor::zeros((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
//! assert_eq!(network.forward_t(&images, false)?.dims(), [2, 10]);
//! # Ok(())
//! # }
//! ```

mod config;
mod embedding;
mod error;
pub mod golden;
pub mod hub;
mod network;
mod old_names;
pub mod onnx;
mod preprocessing;
mod pruned;
mod registry;
mod stem;
mod summary;
mod timm;
mod transformers;
pub mod weights;

use candle_nn::VarBuilder;

pub use config::{Config, Stem, StemPool};
pub use error::Error;
pub use hub::{Pretrained, PretrainedOptions, from_pretrained, from_pretrained_with};
pub use network::Network;
pub use preprocessing::{Interpolation, Preprocessing};
pub use registry::{Entry, NETWORKS, config, entry, names};
pub use resnet_blocks::{
    Activation, AntiAlias, Attention, Branch, Merge, Naming, NormKind, Order, Parameters, Projection, ShortcutKind,
    StrideIn,
};
pub use summary::{LayerSummary, Summary, summarise, summary};

/// The network of that name, with its parameters from `vb` and, if given, another number of classes.
///
/// # Errors
/// If the name is unknown, `classes` is 0 or the builder lacks a parameter.
pub fn create(arch: &str, vb: VarBuilder, classes: Option<usize>) -> Result<Network, Error> {
    create_changed(arch, &serde_json::Map::new(), vb, classes)
}

/// As [`create`], with some fields of the configuration changed ([`Config::with_changes`]).
///
/// # Errors
/// As [`create`] and [`Config::with_changes`].
pub fn create_changed(
    arch: &str,
    changes: &serde_json::Map<String, serde_json::Value>,
    vb: VarBuilder,
    classes: Option<usize>,
) -> Result<Network, Error> {
    let mut config = config(arch)?.with_changes(changes)?;
    if let Some(classes) = classes {
        config = config.with_classes(classes);
    }
    if config.classes == 0 {
        return Err(Error::NoClasses);
    }
    Ok(Network::new(&config, vb)?)
}
