//! Files from outside, read whole within a limit, or opened to be read in parts.

use std::fs::{File, FileType};
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// The content of a file, or of a pipe, of at most `most` bytes.
///
/// # Errors
/// As of [`std::fs::read`]; [`ErrorKind::FileTooLarge`], for a file before anything of it is read;
/// [`ErrorKind::InvalidInput`] for devices and sockets, which have no end.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    if let Some(what) = endless(about.file_type()) {
        return Err(Error::new(ErrorKind::InvalidInput, format!("it is {what}, not a file")));
    }
    let too_large = |size: String| {
        let message = format!("it has {size}, more than the {} that are read", bytes(most));
        Err(Error::new(ErrorKind::FileTooLarge, message))
    };
    if about.len() > most {
        return too_large(bytes(about.len()));
    }
    let mut content = Vec::new();
    // A directory has a length too, and says at the first read that it is one.
    content.try_reserve_exact(about.len() as usize)?;
    file.take(most.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > most { too_large("more bytes".into()) } else { Ok(content) }
}

/// Opens a file, and nothing else: what is read out of order is no pipe, and to open one may never return.
///
/// # Errors
/// As of [`File::open`]; [`ErrorKind::InvalidInput`] for pipes, devices and sockets.
pub fn open(path: &Path) -> Result<File> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_file() || kind.is_dir() {
        return File::open(path);
    }
    let message = "it is a pipe or a device, and it is read out of order: write it to a file";
    Err(Error::new(ErrorKind::InvalidInput, message))
}

fn bytes(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{count} bytes"),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

#[cfg(unix)]
fn endless(kind: FileType) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        _ if kind.is_char_device() || kind.is_block_device() => Some("a device"),
        _ if kind.is_socket() => Some("a socket"),
        _ => None,
    }
}

#[cfg(not(unix))]
fn endless(_: FileType) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"abc");
        let error = read(&path, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "it has 3 bytes, more than the 2 bytes that are read");
        assert!(read(folder.path(), 10).is_err());
        assert_eq!(read(&folder.path().join("b"), 10).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    #[cfg(unix)]
    fn devices_are_not_opened() {
        assert!(open(Path::new("/dev/null")).unwrap_err().to_string().contains("it is a pipe or a device"));
        assert!(open(&std::env::current_exe().unwrap()).is_ok());
    }

    #[test]
    #[cfg(unix)]
    fn devices_are_refused() {
        for path in ["/dev/zero", "/dev/null"] {
            assert_eq!(read(Path::new(path), 10).unwrap_err().to_string(), "it is a device, not a file");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_huge_file_is_refused_by_its_length() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 40).unwrap();
        assert!(read(file.path(), 1 << 30).unwrap_err().to_string().starts_with("it has 1099511.6 MB"));
    }
}
