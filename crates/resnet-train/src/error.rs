//! What can go wrong in training, each with the way to mend it.

use std::path::PathBuf;

/// An error of this crate. The message is one line and names the file, tensor, key or flag at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation on tensors failed.
    #[error("{}", resnet_models::message(.0))]
    Tensor(#[from] candle_core::Error),

    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "read", "write", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A recipe is no valid TOML or has a wrong key or value.
    #[error("recipe {origin}: {message}")]
    Recipe {
        /// The recipe's name or file.
        origin: String,
        /// What is wrong, on one line, with the nearest valid key where a key is unknown.
        message: String,
    },

    /// No recipe has this name and no file is there either.
    #[error("no recipe is called {name:?} and no such file exists; {hint}")]
    UnknownRecipe {
        /// The name asked for.
        name: String,
        /// The nearest name, or all of them.
        hint: String,
    },

    /// The run directory holds a run already.
    #[error(
        "{} holds a run already: resume it, or choose another folder",
        path.display()
    )]
    RunExists {
        /// The run directory.
        path: PathBuf,
    },

    /// Another process trains in the run directory.
    #[error("{}: another process is writing a run there: wait for its end, or choose another folder", path.display())]
    RunBusy {
        /// The run directory.
        path: PathBuf,
    },

    /// The directory of a run to go on with has what a run learned, and no checkpoint.
    #[error(
        "{} holds {} but no state.safetensors to go on from: put that file back, or choose another folder",
        path.display(),
        learned.file_name().unwrap_or_default().display()
    )]
    NothingToResume {
        /// The run directory.
        path: PathBuf,
        /// The file that beginning again would overwrite.
        learned: PathBuf,
    },

    /// The images of a resumed run are not those that it began with.
    #[error(
        "{} was begun with other data: {difference}; give the data it began with, or start another run",
        path.display()
    )]
    DataChanged {
        /// The run directory.
        path: PathBuf,
        /// How many images differ, and the first of them.
        difference: String,
    },

    /// The configuration of a resumed run differs from the one it began with.
    #[error(
        "{} was begun with {key} = {before}, now it is {now}: resume with the same value, or start another run",
        path.display()
    )]
    ConfigChanged {
        /// The run's `config.toml`.
        path: PathBuf,
        /// The dotted key that differs.
        key: String,
        /// Its value in the file.
        before: String,
        /// Its value now.
        now: String,
    },

    /// A checkpoint is damaged or belongs to another network.
    #[error("checkpoint {}: {message}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },

    /// A saved tensor of an optimizer or an average is missing or has another shape.
    #[error("state of the optimizer: {0}")]
    State(String),

    /// The training loss became infinite or not a number.
    #[error(
        "the loss is {loss} at epoch {epoch}, step {step}, lr {lr}: try a smaller lr, a warm-up or clip_norm; \
         the last good checkpoint is kept"
    )]
    LossNotFinite {
        /// The value: infinite or not a number.
        loss: f64,
        /// Epoch, counted from 1.
        epoch: u64,
        /// Optimizer step, counted from 1.
        step: u64,
        /// The learning rate of that step.
        lr: f64,
    },

    /// The norm of the gradient became infinite or not a number.
    #[error(
        "the gradient's norm is {norm} at epoch {epoch}, step {step}, lr {lr}: try a smaller lr or a warm-up; \
         the last good checkpoint is kept"
    )]
    GradientNotFinite {
        /// The value: infinite or not a number.
        norm: f64,
        /// Epoch, counted from 1.
        epoch: u64,
        /// Optimizer step, counted from 1.
        step: u64,
        /// The learning rate of that step.
        lr: f64,
    },

    /// A weight became infinite or not a number.
    #[error(
        "weight {name} is not finite after epoch {epoch}, step {step}: try a smaller lr or a warm-up; \
         the last good checkpoint is kept"
    )]
    WeightNotFinite {
        /// The tensor's name.
        name: String,
        /// Epoch, counted from 1.
        epoch: u64,
        /// Optimizer steps done.
        step: u64,
    },

    /// The network's output on an image is infinite or not a number.
    #[error("the logits of image {index} are not finite: the weights hold NaN or infinite values, or overflow")]
    LogitsNotFinite {
        /// The image's index in its data set.
        index: usize,
    },

    /// A value that the caller passed cannot be used.
    #[error("{0}")]
    Invalid(String),

    /// The data could not be read.
    #[error(transparent)]
    Data(Box<resnet_data::Error>),

    /// The network could not be made.
    #[error(transparent)]
    Model(#[from] resnet_models::Error),

    /// Weights could not be read or written.
    #[error(transparent)]
    Weights(#[from] resnet_models::weights::WeightsError),

    /// The report could not be written.
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
}

impl From<resnet_data::Error> for Error {
    fn from(error: resnet_data::Error) -> Self {
        Self::Data(Box::new(error))
    }
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the cause lies in what the user gave (a file, a flag, a recipe) and not in the program or in how the
    /// training went.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Tensor(_) | Self::Model(resnet_models::Error::Tensor(_)) => false,
            Self::LossNotFinite { .. } | Self::GradientNotFinite { .. } | Self::WeightNotFinite { .. } => false,
            Self::Data(error) => !matches!(**error, resnet_data::Error::Tensor(_) | resnet_data::Error::Worker { .. }),
            _ => true,
        }
    }

    /// Whether a training diverged: a loss, a gradient, a weight or a logit is infinite or not a number.
    pub fn is_divergence(&self) -> bool {
        matches!(
            self,
            Self::LossNotFinite { .. }
                | Self::GradientNotFinite { .. }
                | Self::WeightNotFinite { .. }
                | Self::LogitsNotFinite { .. }
        )
    }

    /// An error of a file, from what was tried with it ("read", "write", "create") and its path.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io { action, path, source }
    }
}
