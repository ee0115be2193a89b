//! What can go wrong between the hub and the disk.

use std::path::PathBuf;

use crate::Kind;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with which file, and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder of the cache could not be read or written.
    #[error("{path}: {source}; make room or rights there, or set HF_HOME to another folder for downloads")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// There is no place for a cache.
    #[error("HF_HOME: there is no home folder: set it to a folder for downloads")]
    NoCache,
    /// This is no repository's name.
    #[error("{name:?} is no repository of the hub: name it OWNER/NAME or OWNER/NAME@REVISION")]
    Name {
        /// The name.
        name: String,
    },
    /// A file could not be had.
    #[error(transparent)]
    Fetch(#[from] Box<FetchError>),
}

/// A file that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot download {file} of the {kind} {repository} from {endpoint}: {message}; {hint}")]
pub struct FetchError {
    /// What the repository holds.
    pub kind: Kind,
    /// The repository, with its revision where that is not `main`.
    pub repository: String,
    /// The file in it.
    pub file: String,
    /// The server's address.
    pub endpoint: String,
    /// What failed.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// True where the server was asked and has no such file.
    pub missing: bool,
}

impl Error {
    /// True where the server was asked and has no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Fetch(failure) if failure.missing)
    }

    /// What the repository holds whose file could not be had.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Fetch(failure) => Some(failure.kind),
            _ => None,
        }
    }

    /// Names the file that an input or output error belongs to; for `map_err`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
