//! PyTorch's own files: the zip form (since 1.6) and the legacy form before it.

mod archive;
mod inflate;
mod legacy;
mod materialize;
mod write;

use super::fault::Fault;
pub(super) use archive::Archive;
pub(super) use inflate::inflate;
pub(super) use legacy::{Parts, Ranges, is_legacy, open as open_legacy};
pub(super) use materialize::Materializer;
pub use write::save_torch;

/// The raw bytes of storages, by key.
pub(super) trait Storages<'a> {
    /// # Errors
    /// What is wrong, when the file has no such storage or its bytes are damaged.
    fn bytes(&mut self, key: &str) -> Result<&'a [u8], Fault>;
}
