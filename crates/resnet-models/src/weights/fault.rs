//! What is wrong with a file, before the file's name is added.

use std::path::Path;

use super::error::WeightsError;
use super::pickle::PickleError;
use crate::escape::show;

/// An error of a reader that does not know the file's name.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file is cut off, or contradicts itself.
    Damaged(String),
    /// The file is fine, but of a kind that is not read.
    Unsupported(String),
    /// There is no state dict (or none of the name asked for).
    NoStateDict(String),
}

impl Fault {
    /// The same fault, said of a tensor.
    pub fn within(self, tensor: &str) -> Self {
        match self {
            Self::Damaged(what) => Self::Damaged(format!("tensor {}: {what}", show(tensor))),
            Self::Unsupported(what) => Self::Unsupported(format!("tensor {}: {what}", show(tensor))),
            other => other,
        }
    }
}

impl Fault {
    /// The error of that file.
    pub fn of(self, file: &Path) -> WeightsError {
        let file = file.to_owned();
        match self {
            Self::Damaged(reason) => WeightsError::Damaged { file, reason },
            Self::Unsupported(reason) => WeightsError::Unsupported { file, reason },
            Self::NoStateDict(reason) => WeightsError::NoStateDict { file, reason },
        }
    }
}

impl From<PickleError> for Fault {
    fn from(error: PickleError) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<candle_core::Error> for Fault {
    fn from(error: candle_core::Error) -> Self {
        Self::Damaged(crate::message(&error))
    }
}
