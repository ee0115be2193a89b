//! Files and folders of a folder, in an order that is the same everywhere.

use std::fs::File;
use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Everything in a folder whose name begins with no dot.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Opens a file, and nothing else: to open a pipe may never return.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_file() || kind.is_dir() {
        return File::open(path);
    }
    Err(IoError::new(
        ErrorKind::InvalidInput,
        "it is a pipe or a device, and it is read out of order: write it to a file",
    ))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn devices_are_not_opened() {
        assert!(open(Path::new("/dev/null")).unwrap_err().to_string().contains("it is a pipe or a device"));
        assert!(open(&std::env::current_exe().unwrap()).is_ok());
    }
}
