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
    /// The tensor library's own.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
