//! What can go wrong between a file and a batch.

use std::path::PathBuf;

use crate::names::{plain, shown};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in which file or setting, and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be opened or read.
    #[error("{}: {source}", shown(path))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file could not be written; what lay there before is there still.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file of fixed size has another size.
    #[error(
        "{path}: expected {expected} bytes, found {actual}; the file is truncated or not {what}: download it again"
    )]
    FileSize {
        /// The file.
        path: PathBuf,
        /// What the file should be.
        what: &'static str,
        /// The size that the format fixes, in bytes.
        expected: u64,
        /// The size found, in bytes.
        actual: u64,
    },
    /// A file's content does not follow its format.
    #[error("{}: {}", shown(path), plain(message))]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        message: String,
    },
    /// A shard that could be opened cannot be read further on.
    #[error("{}", plain(message))]
    Shard {
        /// What is wrong, and in which file.
        message: String,
    },
    /// A file with an image's extension is no readable image.
    #[error("{path}: not a readable image ({}); remove or replace it", plain(message))]
    Decode {
        /// The file, or the file and the record.
        path: String,
        /// What the decoder said.
        message: String,
    },
    /// A label lies outside the classes.
    #[error("{path}: record {record} has label {label}, but there are {classes} classes (0 to {})", classes - 1)]
    Label {
        /// The file, or the data set's name.
        path: String,
        /// Index of the record in the file.
        record: usize,
        /// The label found.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// No data set where one was looked for.
    #[error("{}: no {what} here; {hint}", shown(path))]
    NotFound {
        /// The folder looked into.
        path: PathBuf,
        /// What was looked for.
        what: String,
        /// Where to get it or what to pass instead.
        hint: String,
    },
    /// A class folder without images.
    #[error("{}: no readable image in this class folder ({found}); add images or remove the folder", shown(path))]
    EmptyClass {
        /// The class folder.
        path: PathBuf,
        /// What it holds instead.
        found: String,
    },
    /// A folder that may be understood in two ways.
    #[error("{}: {}", shown(path), plain(message))]
    Layout {
        /// The folder.
        path: PathBuf,
        /// Which ways, and what speaks for neither.
        message: String,
    },
    /// A name that no data set has.
    #[error("unknown data set {name:?}; {hint}")]
    UnknownDataset {
        /// The name asked for.
        name: String,
        /// The nearest name, or all of them.
        hint: String,
    },
    /// A setting that cannot work.
    #[error("{setting}: {}", plain(message))]
    Setting {
        /// The setting, e.g. `batch_size`.
        setting: &'static str,
        /// Why it cannot work and what would.
        message: String,
    },
    /// Two images of one batch, or an image and the normalisation, differ in size.
    #[error("{path}: the image is {height}x{width} but {expected_height}x{expected_width} is needed; {hint}")]
    ImageSize {
        /// The image's file or record.
        path: String,
        /// Its height in pixels.
        height: usize,
        /// Its width in pixels.
        width: usize,
        /// The height needed.
        expected_height: usize,
        /// The width needed.
        expected_width: usize,
        /// How to get there.
        hint: &'static str,
    },
    /// A loader thread ended without an answer, because the data set's own code panicked.
    #[error("a loader thread panicked while it made batch {batch}: {message}")]
    Worker {
        /// Number of the batch within its epoch.
        batch: usize,
        /// The panic's message.
        message: String,
    },
    /// A file could not be had from the hub.
    #[error(transparent)]
    Hub(#[from] resnet_hub::Error),
    /// A tensor could not be made.
    #[error("{}", without_backtrace(.0))]
    Tensor(#[from] candle_core::Error),
}

/// What candle says, without the backtrace that it prints behind it where `RUST_BACKTRACE` is set.
fn without_backtrace(error: &candle_core::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("0: "));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

impl Error {
    /// True where one image is at fault, and others may be fine: it cannot be read or decoded.
    pub fn is_about_an_image(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Decode { .. })
    }

    /// Names the file that an input or output error belongs to; for `map_err`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Names the file that could not be written; for `map_err`.
    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Write { path, source }
    }

    /// Names the file whose content is wrong.
    pub(crate) fn format(path: impl Into<PathBuf>, message: impl std::fmt::Display) -> Self {
        Self::Format { path: path.into(), message: message.to_string() }
    }
}
