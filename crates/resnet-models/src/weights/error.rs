//! What can go wrong with weights.

use std::path::PathBuf;

use super::mismatch::Mismatch;

/// An error of reading, assigning or writing weights. Every variant names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file could not be opened or read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file asked for.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file could not be written; nothing was put in its place.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file asked for.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is of none of the formats that are read.
    #[error("{} is neither a safetensors file nor a PyTorch checkpoint: {found}", file.display())]
    UnknownFormat {
        /// The file read.
        file: PathBuf,
        /// What it looks like instead.
        found: String,
    },
    /// The file is cut off or contradicts itself.
    #[error("{} is damaged: {reason}; delete it and fetch it again", file.display())]
    Damaged {
        /// The file read.
        file: PathBuf,
        /// Where and how.
        reason: String,
    },
    /// The file is whole, but something in it is not read.
    #[error("{} cannot be used: {reason}", file.display())]
    Unsupported {
        /// The file read.
        file: PathBuf,
        /// What is not read, and the mend.
        reason: String,
    },
    /// The checkpoint has no dict of tensors where one was looked for.
    #[error("no weights found in {}: {reason}", file.display())]
    NoStateDict {
        /// The file read.
        file: PathBuf,
        /// What it holds instead.
        reason: String,
    },
    /// Names or shapes of the file and of the network differ. No variable was changed.
    #[error("{0}")]
    Mismatch(Box<Mismatch>),
    /// A tensor holds NaN or infinities. No variable was changed.
    #[error(
        "tensor {tensor} in {} is not finite: {nan} NaN and {infinite} infinite of {total} values; the training that wrote it had diverged",
        file.display()
    )]
    NotFinite {
        /// The file the tensor came from.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Number of NaN values.
        nan: usize,
        /// Number of infinite values.
        infinite: usize,
        /// Number of values.
        total: usize,
    },
    /// A running variance has values below 0. No variable was changed.
    #[error(
        "tensor {tensor} in {} has {negative} of {total} values below 0, which no variance has: the file is damaged, or \
         its values are not what their names say",
        file.display()
    )]
    NegativeVariance {
        /// The file the tensor came from.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Number of values below 0.
        negative: usize,
        /// Number of values.
        total: usize,
    },
    /// A convolution's or a linear layer's weight is of whole numbers. No variable was changed.
    #[error(
        "tensor {tensor} in {} is of {dtype}, and weights are floating-point numbers: give those that it was made from",
        file.display()
    )]
    NotFloat {
        /// The file the tensor came from.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its dtype.
        dtype: &'static str,
    },
    /// Finite values became infinite in a narrower dtype. No variable was changed.
    #[error("{overflowing} values of tensor {tensor} in {} do not fit {dtype}: use f32 or bf16", file.display())]
    Overflow {
        /// The file the tensor came from.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The network's dtype.
        dtype: &'static str,
        /// Number of values that became infinite.
        overflowing: usize,
    },
    /// Two tensors to be written have the same name; nothing was written.
    #[error("two tensors called {tensor} cannot both be written to {}", file.display())]
    DuplicateName {
        /// The file asked for.
        file: PathBuf,
        /// The name.
        tensor: String,
    },
    /// A tensor could not be converted or moved between devices.
    #[error("tensor {tensor} of {}: {}", file.display(), crate::message(source))]
    Tensor {
        /// The file the tensor comes from or goes to.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What candle said.
        source: Box<candle_core::Error>,
    },
}
