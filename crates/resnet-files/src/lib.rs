//! Files that are replaced whole or not at all, read within a limit, and folders that one process writes at a time.
//!
//! [`replace`] writes a file under a temporary name beside it, has it on the disk, and then gives it its name: whoever
//! reads sees the old file or the new one, and a full disk, a file-size limit or a crash leaves the old one. [`Lock`]
//! keeps two processes from writing the same folder. It stands alone, as data sets, weights and trainings all write
//! files and know nothing of each other.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! let path = folder.path().join("answer.txt");
//! resnet_files::write(&path, b"42\n")?;
//! let lock = resnet_files::Lock::take(folder.path())?.expect("nobody else has it");
//! assert!(resnet_files::Lock::take(folder.path())?.is_none());
//! # drop(lock);
//! # std::io::Result::Ok(())
//! ```

mod lock;
mod read;
mod replace;
mod temporary;

pub use lock::Lock;
pub use read::{open, read};
pub use replace::{Replacement, remove_leftovers, replace, write};
pub use temporary::abandon;
