//! A repository's folder in the cache, laid out as Python's huggingface_hub lays it out: `blobs` by their etags,
//! `snapshots` of commits that point to them, `refs` from names to commits.

use std::fs::{File, TryLockError};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::{Error, Hub, Repository, Result};

/// The folder of a repository at a revision.
pub(crate) struct Place {
    cache: PathBuf,
    /// Its name in the cache, `models--OWNER--NAME`.
    name: String,
    revision: String,
}

/// Held while a file is downloaded, so that two processes do not write the same bytes. It ends with its file.
pub(crate) struct Lock {
    _file: Option<File>,
}

impl Place {
    pub fn of(hub: &Hub, repository: &Repository) -> Self {
        let repo = repository.to_hf();
        Self { cache: hub.cache.clone(), name: repo.folder_name(), revision: repository.revision.clone() }
    }

    fn folder(&self) -> PathBuf {
        self.cache.join(&self.name)
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder().join("snapshots").join(commit)
    }

    /// The commits that the revision may stand for: what `refs` says, else itself.
    fn commits(&self) -> impl Iterator<Item = String> {
        let named = std::fs::read_to_string(self.folder().join("refs").join(&self.revision)).ok();
        // A commit may lie there without a name that points to it: so the hub's own tools leave it.
        let named = named.map(|commit| commit.trim().to_string()).filter(|commit| is_name(commit));
        named.into_iter().chain(Some(self.revision.clone()))
    }

    /// The file, where it lies in the cache.
    pub fn found(&self, file: &str) -> Option<PathBuf> {
        self.commits().map(|commit| self.snapshot(&commit).join(file)).find(|path| path.exists())
    }

    /// True where the server was asked for the file before and had none.
    pub fn known_missing(&self, file: &str) -> bool {
        self.commits().any(|commit| self.folder().join(".no_exist").join(commit).join(file).exists())
    }

    /// Remembers that a commit has no such file. Where that cannot be written, the server is asked again.
    pub fn remember_missing(&self, commit: &str, file: &str) {
        let mark = self.folder().join(".no_exist").join(name_of(commit)).join(file);
        let made = mark.parent().is_some_and(|folder| std::fs::create_dir_all(folder).is_ok());
        if made && File::create(mark).is_ok() {
            let _ = self.write_ref(&name_of(commit));
        }
    }

    /// Where the content of that name lies.
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder().join("blobs").join(name_of(etag))
    }

    /// Makes the folder for contents.
    pub fn make(&self) -> Result<()> {
        let blobs = self.folder().join("blobs");
        std::fs::create_dir_all(&blobs).map_err(Error::io(&blobs))
    }

    /// Waits until no other process, of Python's either, downloads that content.
    pub fn lock(&self, etag: &str) -> Lock {
        let folder = self.cache.join(".locks").join(&self.name);
        let path = folder.join(format!("{}.lock", name_of(etag)));
        let open = || {
            std::fs::create_dir_all(&folder)?;
            File::options().create(true).append(true).open(&path)
        };
        // Not every file system has locks; they only spare work.
        let Ok(file) = open() else { return Lock { _file: None } };
        loop {
            match file.try_lock() {
                Ok(()) => return Lock { _file: Some(file) },
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(50)),
                Err(TryLockError::Error(_)) => return Lock { _file: None },
            }
        }
    }

    /// Lets the commit's snapshot point to the content, and the revision to the commit.
    pub fn publish(&self, blob: &Path, commit: &str, file: &str) -> Result<PathBuf> {
        let commit = name_of(commit);
        let pointer = self.snapshot(&commit).join(file);
        if let Some(folder) = pointer.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        if !pointer.exists() {
            point(blob, &pointer, Path::new(file).components().count() + 1).map_err(Error::io(&pointer))?;
        }
        self.write_ref(&commit)?;
        Ok(pointer)
    }

    fn write_ref(&self, commit: &str) -> Result<()> {
        if self.revision == commit {
            return Ok(());
        }
        let path = self.folder().join("refs").join(&self.revision);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        // Whoever reads meanwhile sees the old name or the new one.
        let new = beside(&path);
        std::fs::write(&new, commit).and_then(|()| std::fs::rename(&new, &path)).map_err(Error::io(&path))
    }
}

/// A link from the snapshot to the content, `depth` folders up; where there are no links, the content itself.
fn point(blob: &Path, pointer: &Path, depth: usize) -> std::io::Result<()> {
    let up: PathBuf = std::iter::repeat_n(Component::ParentDir, depth).collect();
    let target = up.join("blobs").join(blob.file_name().unwrap_or_default());
    let new = beside(pointer);
    if link(&target, &new).is_err() {
        std::fs::copy(blob, &new)?;
    }
    std::fs::rename(&new, pointer)
}

#[cfg(unix)]
fn link(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn link(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn link(_target: &Path, _link: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// A name beside a path that no other process has.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

/// True for what may be a file's name: a server's word must not lead out of the cache.
fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 128 && !text.starts_with('.') && text.chars().all(allowed)
}

/// A server's word as the name of a file.
fn name_of(text: &str) -> String {
    if is_name(text) { text.to_string() } else { format!("x-{}", &crate::checksum::of_bytes(text.as_bytes())[..32]) }
}
