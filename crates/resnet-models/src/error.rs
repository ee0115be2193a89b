use std::path::PathBuf;

use crate::weights::{Mismatch, WeightsError};

/// What can go wrong when a network is made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No network of that name.
    #[error("unknown network '{name}'; did you mean '{nearest}'? (`resnet list` shows all)")]
    UnknownNetwork {
        /// As asked for.
        name: String,
        /// The registry's nearest.
        nearest: String,
    },
    /// A network needs at least one class.
    #[error("a network needs at least one class")]
    NoClasses,
    /// Weights without their network's name.
    #[error("{} does not name its network: add --arch NAME{}", file.display(), suggestion(fitting))]
    Nameless {
        /// The weights' file.
        file: PathBuf,
        /// The networks that it fits.
        fitting: Vec<&'static str>,
    },
    /// Weights of another network.
    #[error("{mismatch}{}", suggestion(fitting))]
    OtherNetwork {
        /// In what they differ.
        mismatch: Box<Mismatch>,
        /// The networks that they fit.
        fitting: Vec<&'static str>,
    },
    /// A configuration that cannot be used.
    #[error("{}: {message}", file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Weights that cannot be read or used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A file could not be had from the hub.
    #[error(transparent)]
    Hub(#[from] resnet_hub::Error),
    /// A changed field of a configuration is wrong.
    #[error("changes to network {name}: {message}")]
    Change {
        /// The network.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A configuration of transformers that cannot be read or built.
    #[error("config.json of transformers: {0}")]
    Transformers(String),
    /// The network has no such stage.
    #[error("a network of {stages} stages has no stage {asked}; they are counted from 1")]
    NoStage {
        /// As asked for.
        asked: usize,
        /// Number of stages.
        stages: usize,
    },
    /// The tensor library's own.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// The names of fitting networks as the end of a message.
fn suggestion(fitting: &[&str]) -> String {
    match fitting {
        [] => "; `resnet list` shows the networks".to_owned(),
        names => format!("; it fits --arch {}", names.join(" or ")),
    }
}
