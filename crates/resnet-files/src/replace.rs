//! One file in place of another.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::temporary::{is_at, live};

/// Links from one to the next are followed this far.
const MOST_LINKS: usize = 40;
/// A name may have 255 bytes; the temporary one adds its own.
const LONGEST: usize = 200;

/// Writes a file's content in one go; see [`replace`].
///
/// # Errors
/// As [`replace`].
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    replace(path, |error| error, |mut file| file.write_all(content))
}

/// Replaces a file by what `content` writes, or makes it. When anything fails, a file already there stays as it is, and
/// nothing is left beside it.
///
/// A link is followed: what it points to is replaced.
///
/// # Errors
/// What `content` says; what the system says, as `fault` makes it an error of the caller's.
pub fn replace<E>(
    path: &Path,
    fault: impl Fn(io::Error) -> E,
    content: impl FnOnce(File) -> Result<(), E>,
) -> Result<(), E> {
    let replacement = Replacement::begin(path).map_err(&fault)?;
    content(replacement.file().map_err(&fault)?)?;
    replacement.finish().map_err(fault)
}

/// A file under way: dropped, it leaves what was there before.
#[derive(Debug)]
pub struct Replacement {
    target: PathBuf,
    temporary: PathBuf,
    /// Locked, which tells it from what a process that was killed left.
    file: File,
}

impl Replacement {
    /// Opens a temporary file beside `path`.
    ///
    /// # Errors
    /// Where no file can be written there: its folder is missing or not writable, it is a folder or a device.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let target = target(path)?;
        remove_leftovers(&target);
        loop {
            let temporary = temporary(&target)?;
            let mut live = live();
            let file = File::create_new(&temporary)?;
            // Only who looks for leftovers at this very moment can have the lock, and may have removed the file.
            if file.try_lock().is_err_and(|error| matches!(error, fs::TryLockError::WouldBlock))
                || !is_at(&file, &temporary)
            {
                let _ = fs::remove_file(&temporary);
                continue;
            }
            live.push(temporary.clone());
            if let Ok(before) = fs::metadata(&target) {
                // Where the system does not let it be so, the new file has its usual permissions.
                let _ = file.set_permissions(before.permissions());
            }
            return Ok(Self { target, temporary, file });
        }
    }

    /// The temporary file, to be written; all handles share one place in it.
    ///
    /// # Errors
    /// Where the process has too many files open.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Puts the file in its place, once its content is on the disk.
    ///
    /// # Errors
    /// What the system says, as of a disk that is full; the file from before stays then.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        let mut live = live();
        fs::rename(&self.temporary, &self.target)?;
        live.retain(|path| *path != self.temporary);
        drop(live);
        sync_folder(&self.target);
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        let mut live = live();
        if let Some(place) = live.iter().position(|path| *path == self.temporary) {
            live.swap_remove(place);
            // That it may not be there is no second error.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Removes temporary files that processes which were killed left beside `path`.
pub fn remove_leftovers(path: &Path) {
    let (Some(name), Some(folder)) = (path.file_name(), folder(path)) else { return };
    let stem = stem(name);
    // What cannot be looked at or removed has a name that nobody asks for.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !is_temporary(&entry.file_name(), &stem) {
            continue;
        }
        let path = entry.path();
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { continue };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(path);
        }
    }
}

/// Where the file lies that the path means, if one can be written there.
fn target(path: &Path) -> io::Result<PathBuf> {
    if path.file_name().is_none() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not the name of a file"));
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder")),
        Ok(found) if !found.is_file() => {
            Err(io::Error::new(ErrorKind::InvalidInput, "it is a device or a pipe: name a file"))
        }
        Ok(_) => {
            // A file that may not be written is not to be replaced either.
            OpenOptions::new().write(true).open(path)?;
            if path.is_symlink() { path.canonicalize() } else { Ok(path.to_owned()) }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let path = followed(path)?;
            match folder(&path) {
                Some(folder) if !folder.is_dir() => {
                    let message = format!("there is no folder {}", folder.display());
                    Err(io::Error::new(ErrorKind::NotFound, message))
                }
                _ => Ok(path),
            }
        }
        Err(error) => Err(error),
    }
}

/// Where links lead that end at nothing.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if !path.is_symlink() {
            return Ok(path);
        }
        let next = fs::read_link(&path)?;
        path = path.parent().map_or_else(|| next.clone(), |folder| folder.join(&next));
    }
    Err(io::Error::other("too many links"))
}

/// The folder that a file lies in.
fn folder(path: &Path) -> Option<&Path> {
    let folder = path.parent()?;
    Some(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

/// `.NAME.`, with which the names of temporary files begin.
fn stem(name: &OsStr) -> OsString {
    let mut stem = OsString::from(".");
    if name.len() <= LONGEST {
        stem.push(name);
    } else {
        let name = name.to_string_lossy();
        let end = (0..=LONGEST).rev().find(|&end| name.is_char_boundary(end)).unwrap_or_default();
        stem.push(&name[..end]);
    }
    stem.push(".");
    stem
}

/// A name in the same folder (renaming across file systems is a copy) that no other call uses.
fn temporary(target: &Path) -> io::Result<PathBuf> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let name = target.file_name().ok_or_else(|| io::Error::other("it is not the name of a file"))?;
    let mut temporary = stem(name);
    temporary.push(format!("{}-{}.tmp", std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed)));
    Ok(target.with_file_name(temporary))
}

/// Whether the name is one that [`temporary`] gives.
fn is_temporary(name: &OsStr, stem: &OsStr) -> bool {
    let rest = name.as_encoded_bytes().strip_prefix(stem.as_encoded_bytes());
    let Some(numbers) = rest.and_then(|rest| rest.strip_suffix(b".tmp")) else { return false };
    let mut parts = numbers.split(|&byte| byte == b'-');
    let number = |part: Option<&[u8]>| part.is_some_and(|p| !p.is_empty() && p.iter().all(u8::is_ascii_digit));
    number(parts.next()) && number(parts.next()) && parts.next().is_none()
}

/// Has the new name on the disk as well. The file is whole in either case: a system without it is none to fail for.
fn sync_folder(target: &Path) {
    if let Some(folder) = folder(target)
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_fails_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, b"old").unwrap();
        let failing = replace(
            &path,
            |error| error,
            |mut file| {
                file.write_all(b"half of the new")?;
                Err(io::Error::other("the disk is full"))
            },
        );
        assert_eq!(failing.unwrap_err().to_string(), "the disk is full");
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"old".to_vec(), vec!["a.txt".to_string()]));
        write(&path, b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"new".to_vec(), vec!["a.txt".to_string()]));
    }

    #[test]
    fn what_can_be_no_file_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let says = |path: &Path, words: &str| {
            let error = write(path, b"x").unwrap_err().to_string();
            assert!(error.contains(words), "{}: {error}", path.display());
        };
        says(folder.path(), "folder");
        says(&folder.path().join("no/where.txt"), "there is no folder");
        says(Path::new(".."), "not the name of a file");
        #[cfg(unix)]
        for device in ["/dev/null", "/dev/full", "/dev/zero"] {
            says(Path::new(device), "device");
        }
        assert!(names(folder.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_permissions_kept() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (file, link, ahead) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("a", &link).unwrap();
        symlink("later", &ahead).unwrap();
        write(&link, b"new").unwrap();
        write(&ahead, b"newer").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read(folder.path().join("later")).unwrap(), b"newer");
        assert!(link.is_symlink() && ahead.is_symlink());
        symlink("loop", folder.path().join("loop")).unwrap();
        assert!(write(&folder.path().join("loop"), b"x").is_err());
    }

    #[test]
    fn leftovers_of_the_dead_are_removed_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let others = [".b.txt.1-2.tmp", ".a.txt.1-x.tmp", ".a.txt.12.tmp", "a.txt.1-2.tmp"];
        for name in others.iter().chain(&[".a.txt.1-2.tmp", ".a.txt.99-0.tmp"]) {
            fs::write(folder.path().join(name), "half").unwrap();
        }
        // Somebody writes it at the same time.
        let under_way = Replacement::begin(&path).unwrap();
        write(&path, b"second").unwrap();
        let mut expected: Vec<String> = others.iter().map(|name| name.to_string()).collect();
        expected.push("a.txt".into());
        expected.push(under_way.temporary.file_name().unwrap().to_str().unwrap().to_string());
        expected.sort();
        assert_eq!(names(folder.path()), expected);
        under_way.file().unwrap().write_all(b"first").unwrap();
        under_way.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
    }

    #[test]
    fn names_as_long_as_the_system_takes_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ü".repeat(127));
        write(&path, b"x").unwrap();
        write(&path, b"y").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"y");
        assert_eq!(names(folder.path()).len(), 1);
    }
}
