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
