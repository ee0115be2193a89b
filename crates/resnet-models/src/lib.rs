//! Residual networks on candle: the papers' and timm's networks by name, weights in and out.
//!
//! - [`create`] makes a network by its name ([`names`] has all), with fresh parameters from a seed ([`Parameters`]).
//!   A [`Config`] is what a network is made of, [`create_changed`] changes it; [`summary()`](fn@summary) counts
//!   parameters and multiply-adds.
//! - [`from_pretrained`] makes one with weights: of a repository of timm or transformers on the Hugging Face hub, a
//!   folder of the same form, or a file. With them come the names of the classes, the meaning of the [`Outputs`] and
//!   the [`Preprocessing`] of pictures.
//! - A [`Network`] is a [`candle_nn::ModuleT`]: images (N, 3, H, W) to logits (N, classes), in training and evaluation.
//!   [`Network::embedding`] ends before the head, [`Network::features`] gives the maps of the stages, and
//!   [`Network::into_inference`] makes a faster [`Inference`] that holds no gradients and that threads may share.
//! - A [`ModelCard`] is what weights know of themselves beside their tensors; it makes a file of weights of one's own.
//! - [`weights`] reads and writes safetensors and PyTorch's checkpoints, [`onnx`] writes networks for other programs.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::ModuleT;
//! use resnet_models::{ModelCard, Parameters, create, from_pretrained};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let parameters = Parameters::new(42, DType::F32, &Device::Cpu);
//! let network = create("resnet20", parameters.builder(), Some(10))?;
//! let images = Tensor::zeros((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
//! assert_eq!(network.forward_t(&images, false)?.dims(), [2, 10]);
//! assert_eq!(network.embedding()?.forward_t(&images, false)?.dims(), [2, 64]);
//! let maps = network.features(&images, &[1, 2, 3])?;
//! assert_eq!(maps[2].dims(), [2, 64, 8, 8]);
//!
//! // Weights to a file that names their network, and back: `from_pretrained("timm/resnet50.a1_in1k")` is no different.
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("mine.safetensors").display().to_string();
//! # let file = file.as_str();
//! ModelCard::new(network.config()).save(file, &parameters.tensors())?;
//! let pretrained = from_pretrained(file)?;
//!
//! let expected = network.forward_t(&images, false)?;
//! let classifier = pretrained.network.into_inference()?;
//! let difference = (classifier.forward(&images)? - expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
//! assert!(difference < 1e-4);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//! - `data`: [`Preprocessing`] gives a `resnet_data::Transform` (`Preprocessing::transform`); off, because that crate
//!   brings image codecs.
//! - `cuda`, `cudnn`, `metal`: devices.

mod card;
mod check;
mod config;
mod embedding;
mod error;
mod escape;
mod fit;
pub mod golden;
pub mod hub;
mod message;
mod network;
mod old_names;
pub mod onnx;
mod outputs;
mod preprocessing;
mod pruned;
mod registry;
mod stem;
mod summary;
mod timm;
mod transformers;
pub mod weights;

use candle_nn::VarBuilder;

pub use card::{BadCard, Json, ModelCard, Training};
pub use config::{Config, Stem, StemPool};
pub use error::Error;
pub use hub::{Pretrained, PretrainedOptions, from_pretrained, from_pretrained_with};
pub use message::message;
pub use network::Network;
pub use outputs::Outputs;
pub use preprocessing::{BadPreprocessing, Fit, Interpolation, Preprocessing};
pub use registry::{Entry, NETWORKS, config, entry, names};
pub use resnet_blocks::{
    Activation, AntiAlias, Attention, BlockOptions, Branch, Merge, Naming, NormKind, Order, Parameters, Projection,
    ShortcutKind, StrideIn,
};
pub use resnet_ops::{Backend, DropoutRng, Graph, Inference, NodeId};
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
    config.check()?;
    Ok(Network::new(&config, vb)?)
}

/// The README's programs are compiled, so that they stay right.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
