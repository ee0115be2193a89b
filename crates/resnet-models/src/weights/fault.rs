//! What is wrong with a file, before the file's name is added.

use super::pickle::PickleError;

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

/// A name out of a file, fit for a terminal: control characters escaped, long ones cut.
pub(super) fn show(name: &str) -> String {
    const LONGEST: usize = 100;
    let mut shown: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
