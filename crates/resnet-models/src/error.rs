use std::path::PathBuf;

use crate::weights::{Mismatch, WeightsError};

/// What can go wrong when a network is made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No network of that name.
    #[error("unknown network '{name}'{}", meant(nearest.as_deref()))]
    UnknownNetwork {
        /// As asked for.
        name: String,
        /// The registry's nearest, where one is near.
        nearest: Option<String>,
    },
    /// A network needs at least one class.
    #[error("a network needs at least one class")]
    NoClasses,
    /// A field of a configuration makes no sense.
    #[error("network {name}: `{field}` {message}")]
    Field {
        /// The network.
        name: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// A configuration says that the network has more values than its weights' file holds.
    #[error("{}: the network that it is to be has {} values or more, the file holds {values}: name another network or correct its configuration", file.display(), least.map_or("2^127".into(), |least| least.to_string()))]
    TooLarge {
        /// The weights' file.
        file: PathBuf,
        /// Values of the network's convolutions, where that number can be had.
        least: Option<u128>,
        /// Values of all tensors in the file.
        values: u128,
    },
    /// Weights of a network of another kind.
    #[error("{}: {what}", file.display())]
    Foreign {
        /// The weights' file.
        file: PathBuf,
        /// What it is.
        what: String,
    },
    /// Weights without their network's name.
    #[error("{} does not name its network{}", file.display(), by_name(fitting))]
    Nameless {
        /// The weights' file.
        file: PathBuf,
        /// The networks that it fits.
        fitting: Vec<&'static str>,
    },
    /// The name of a network where that of weights is wanted.
    #[error("{name} is a network, not weights of it: {}", of_network(known))]
    Untagged {
        /// The network.
        name: String,
        /// Repositories with its weights, the best first.
        known: Vec<String>,
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
    #[error("{}", crate::message(.0))]
    Tensor(#[from] candle_core::Error),
}

/// Where weights of a network are, as the end of a message.
fn of_network(known: &[String]) -> String {
    match known {
        [] => "the hub is not known to have any; name a file, or OWNER/NAME of a repository".to_owned(),
        known => {
            let some = known.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", ");
            format!("there are {some} and others")
        }
    }
}

/// A name that was probably meant, as the end of a message.
fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}

/// How to name a network to weights that do not, as the end of a message.
fn by_name(fitting: &[&str]) -> String {
    match fitting {
        [] => ", and fits none that is known here; name one (`arch`) to be told in what it differs".to_owned(),
        fitting => format!(": name it (`arch`){}", suggestion(fitting)),
    }
}

/// The names of fitting networks as the end of a message.
fn suggestion(fitting: &[&str]) -> String {
    match fitting {
        [] => String::new(),
        names => format!("; it fits {}", names.join(" or ")),
    }
}
