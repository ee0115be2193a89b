//! One process at a time in a folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::temporary::{is_at, live};

/// The file that is locked.
const NAME: &str = ".lock";

/// A folder that nobody else takes as long as this lives.
///
/// The system holds the lock, so that it ends with the process however that ends; a file left by a process that was
/// killed means nothing.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// Closed after the file is removed.
    _file: File,
}

impl Lock {
    /// Takes the folder; `None` where another process, or another part of this one, has it.
    ///
    /// On a file system without locks the folder is taken as if it were free.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn take(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(NAME);
        loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Who had it before may have removed the file after it was opened here: a lock on nothing.
            if is_at(&file, &path) {
                live().push(path.clone());
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut live = live();
        live.retain(|path| *path != self.path);
        // While it is still locked: afterwards it could be another process's.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_once_and_free_again() {
        let folder = tempfile::tempdir().unwrap();
        // What a process that was killed left.
        std::fs::write(folder.path().join(NAME), "").unwrap();
        let lock = Lock::take(folder.path()).unwrap().unwrap();
        assert!(Lock::take(folder.path()).unwrap().is_none());
        drop(lock);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        assert!(Lock::take(folder.path()).unwrap().is_some());
        assert!(Lock::take(&folder.path().join("nowhere")).is_err());
    }

    #[test]
    fn of_many_that_ask_at_once_one_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let inside = std::sync::atomic::AtomicUsize::new(0);
        let taken = std::sync::atomic::AtomicUsize::new(0);
        use std::sync::atomic::Ordering::SeqCst;
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Some(lock) = Lock::take(folder.path()).unwrap() else { continue };
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        taken.fetch_add(1, SeqCst);
                        inside.fetch_sub(1, SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert!(taken.load(SeqCst) > 0);
    }
}
