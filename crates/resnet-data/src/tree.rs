//! What lies in a folder and below it: links followed, litter of systems passed over, in an order that is the same
//! everywhere.

use std::fs::{self, DirEntry, Metadata};
use std::path::{Path, PathBuf};

use crate::kind::{Kind, kind_of};
use crate::{Error, LeftOut, Result};

/// Names, in small letters, of what systems, NAS boxes and programs put beside people's files. Names that begin with a
/// dot are passed over anyway.
const LITTER: [&str; 25] = [
    "__macosx",
    "__pycache__",
    "lost+found",
    "system volume information",
    "$recycle.bin",
    "recycler",
    "recycled",
    "_gsdata_",
    "#recycle",
    "#snapshot",
    "@recycle",
    "@recently-snapshot",
    "@eadir",
    "@tmp",
    "@sharebin",
    "@appstore",
    "network trash folder",
    "temporary items",
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "picasa.ini",
    "zbthumbnail.info",
    "icon\r",
];

/// One thing in a folder, links followed.
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) node: Node,
}

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Folder,
    File,
    /// A link to nothing.
    BrokenLink,
    /// A link to a folder on the way to it: to follow it would never end.
    Loop,
    /// A pipe, a socket, a device: to open one may never return.
    Special,
}

impl Node {
    /// What is counted where it is neither a folder nor a file: what one is called, and what several are.
    pub(crate) fn name(self) -> [&'static str; 2] {
        match self {
            Self::Folder => ["folder", "folders"],
            Self::File => ["other file", "other files"],
            Self::BrokenLink => ["broken link", "broken links"],
            Self::Loop => ["link to a folder that it lies in", "links to folders that they lie in"],
            Self::Special => ["pipe or device", "pipes or devices"],
        }
    }

    fn of(entry: &DirEntry, folder: &Path) -> Result<Self> {
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::io(&path))?;
        Ok(match () {
            () if kind.is_dir() => Self::Folder,
            () if kind.is_file() => Self::File,
            () if !kind.is_symlink() => Self::Special,
            () => match fs::metadata(&path) {
                Ok(target) if target.is_dir() && is_above(&path, &target, folder) => Self::Loop,
                Ok(target) if target.is_dir() => Self::Folder,
                Ok(target) if target.is_file() => Self::File,
                Ok(_) => Self::Special,
                Err(_) => Self::BrokenLink,
            },
        })
    }
}

/// Whether a folder is this one or one that it lies in, by the way that was taken there.
fn is_above(path: &Path, target: &Metadata, folder: &Path) -> bool {
    let Some(wanted) = identity(path, target) else { return true };
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let is = |above: &Path| fs::metadata(above).ok().and_then(|metadata| identity(above, &metadata));
    folder.ancestors().any(|above| is(above).as_ref() == Some(&wanted))
}

#[cfg(unix)]
type Identity = (u64, u64);

/// What tells a folder from every other, whatever the path to it.
#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)] // Elsewhere it may not be known.
fn identity(_: &Path, metadata: &Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
type Identity = PathBuf;

#[cfg(not(unix))]
fn identity(folder: &Path, _: &Metadata) -> Option<Identity> {
    fs::canonicalize(folder).ok()
}

/// True for what is no content of anybody's: hidden files, thumbnails, bins.
pub(crate) fn is_litter(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    name.starts_with('.')
        || LITTER.contains(&name.as_str())
        || name.ends_with("@synoeastream")
        || name.ends_with("@synoresource")
        || name.starts_with("thumbs.db:")
}

/// Everything in a folder but litter, sorted.
pub(crate) fn list(folder: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if !is_litter(&entry.file_name()) {
            entries.push(Entry { path: entry.path(), node: Node::of(&entry, folder)? });
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// What a file is. Its ending is believed where it names a kind, so that a million files need not be opened.
/// One that cannot be opened is none.
pub(crate) fn kind(path: &Path) -> Kind {
    match Kind::of_ending(path) {
        Kind::Other => kind_of(path).unwrap_or(Kind::Other),
        known => known,
    }
}

/// The images in a folder and all below it: folders by their paths, files within each by their names. What else lies
/// there is counted.
pub(crate) fn images(folder: &Path, left_out: &mut LeftOut) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(folder, left_out, &mut found)?;
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found.into_iter().flat_map(|(_, images)| images).collect())
}

fn collect(folder: &Path, left_out: &mut LeftOut, found: &mut Vec<(PathBuf, Vec<PathBuf>)>) -> Result<()> {
    let mut images = Vec::new();
    for Entry { path, node } in list(folder)? {
        match node {
            Node::Folder => collect(&path, left_out, found)?,
            Node::File => match kind(&path) {
                Kind::Picture(_) => images.push(path),
                other => left_out.add(&path, other),
            },
            other => left_out.count(other.name()),
        }
    }
    found.push((folder.to_path_buf(), images));
    Ok(())
}

/// Whether a picture, readable or not, lies in a folder or anywhere below; ends at the first.
pub(crate) fn holds_pictures(folder: &Path) -> Result<bool> {
    holds(folder, &|path| kind(path) != Kind::Other)
}

/// Whether any file lies in a folder or anywhere below.
pub(crate) fn holds_files(folder: &Path) -> Result<bool> {
    holds(folder, &|_| true)
}

fn holds(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<bool> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if is_litter(&entry.file_name()) {
            continue;
        }
        match Node::of(&entry, folder)? {
            Node::File if wanted(&entry.path()) => return Ok(true),
            Node::Folder => folders.push(entry.path()),
            _ => {}
        }
    }
    for folder in folders {
        if holds(&folder, wanted)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, names: &[&str]) {
        for name in names {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
    }

    fn found(folder: &Path) -> (Vec<String>, String) {
        let mut left_out = LeftOut::default();
        let images = images(folder, &mut left_out).unwrap();
        let strip = |path: &PathBuf| path.strip_prefix(folder).unwrap().display().to_string();
        (images.iter().map(strip).collect(), left_out.to_string())
    }

    #[test]
    fn litter_is_passed_over_and_the_rest_counted() {
        let folder = tempfile::tempdir().unwrap();
        put(
            folder.path(),
            &[
                "1.jpg",
                "._1.jpg",
                ".hidden.png",
                "Thumbs.db",
                "DESKTOP.INI",
                "Icon\r",
                "a/2.png",
                "a/@eaDir/2.png/t.jpg",
                "__MACOSX/a/._2.png",
                "#recycle/9.jpg",
                "$RECYCLE.BIN/9.jpg",
                ".ipynb_checkpoints/1-checkpoint.jpg",
                "lost+found/3.jpg",
                "System Volume Information/x.jpg",
                ".git/x.png",
                "__pycache__/x.pyc",
                "notes.txt",
                "raw/1.NEF",
            ],
        );
        let (images, left_out) = found(folder.path());
        assert_eq!(images, ["1.jpg", "a/2.png"]);
        assert!(left_out.contains("1 camera raw") && left_out.contains("1 text file"), "{left_out}");
        assert!(!left_out.contains("other file"), "{left_out}");
        assert!(holds_pictures(&folder.path().join("raw")).unwrap(), "a picture, if not one that can be read");
        assert!(!holds_pictures(&folder.path().join("__pycache__")).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_loops_end() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let (store, photos) = (folder.path().join("store"), folder.path().join("photos"));
        put(&store, &["more/1.jpg", "blob"]);
        fs::write(store.join("blob"), b"\xff\xd8\xff\xe0").unwrap();
        put(&photos, &["a/0.jpg"]);
        symlink(store.join("more"), photos.join("a/linked")).unwrap();
        symlink(store.join("blob"), photos.join("a/8.jpg")).unwrap();
        symlink("../..", photos.join("a/up")).unwrap();
        symlink("nowhere", photos.join("a/9.jpg")).unwrap();
        let (images, left_out) = found(&photos);
        assert_eq!(images, ["a/0.jpg", "a/8.jpg", "a/linked/1.jpg"]);
        assert!(
            left_out.contains("1 broken link") && left_out.contains("1 link to a folder that it lies in"),
            "{left_out}"
        );
    }
}
