//! What a repository holds.

use std::fmt;

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Weights and their configuration.
    Model,
    /// A data set.
    Dataset,
}

impl Kind {
    /// What to do where nothing can be downloaded.
    pub(crate) fn by_hand(self) -> &'static str {
        match self {
            Self::Model => "download it by hand into a folder and name that folder instead of the repository",
            Self::Dataset => "download it by hand into a folder and name that folder as the data's",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::Dataset => "data set",
        })
    }
}
