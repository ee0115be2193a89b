//! Images without labels, named one by one, by folder or by pattern.

use std::path::{Component, Path, PathBuf};

use glob::Pattern;

use crate::kind::Kind;
use crate::names::shown;
use crate::tree::{Entry, Node, images, kind, list};
use crate::{Dataset, Error, Image, LeftOut, Result, read_image};

/// A list of image files; all have label 0, of a class without a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    paths: Vec<PathBuf>,
    classes: Vec<String>,
    searched: Vec<Searched>,
}

/// What was found under a name that stands for many files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Searched {
    /// The folder or pattern.
    pub name: PathBuf,
    /// The images that it stands for.
    pub images: usize,
    /// What it stands for besides.
    pub left_out: LeftOut,
}

impl Files {
    /// These files, whatever they are called.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, classes: vec![String::new()], searched: Vec::new() }
    }

    /// The images that names stand for, in the order of the names: a file stands for itself, whatever it is, a folder
    /// for the images in it and below it, a pattern (`photos/*.jpg`, `**/*.png`) for the images and folders that it
    /// matches. What exists under a name is meant before any pattern: `[1].jpg`, `holiday [2019]/*.jpg`.
    ///
    /// # Errors
    /// [`Error::NotFound`] where a folder or a pattern stands for no image, [`Error::Io`] where a folder cannot be read.
    pub fn find(names: &[impl AsRef<Path>]) -> Result<Self> {
        let mut files = Self::new(Vec::new());
        for name in names {
            let name = name.as_ref();
            let mut left_out = LeftOut::default();
            let found = if name.is_dir() {
                images(name, &mut left_out)?
            } else if name.symlink_metadata().is_err() && is_pattern(name.as_os_str()) {
                matching(name, &mut left_out)?
            } else {
                // One that does not exist is reported when it is read, in its turn.
                files.paths.push(name.to_path_buf());
                continue;
            };
            if found.is_empty() {
                let instead = if left_out.is_empty() { String::new() } else { format!(" but {left_out}") };
                return Err(Error::NotFound {
                    path: name.to_path_buf(),
                    what: format!("image{instead}"),
                    hint: "name files, folders with images, or a pattern".to_string(),
                });
            }
            files.searched.push(Searched { name: name.to_path_buf(), images: found.len(), left_out });
            files.paths.extend(found);
        }
        Ok(files)
    }

    /// The files.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// What was found under each name that is a folder or a pattern.
    pub fn searched(&self) -> &[Searched] {
        &self.searched
    }
}

fn is_pattern(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte))
}

/// The images that a pattern matches, and those in folders that it matches, sorted. Names need not be Unicode.
fn matching(pattern: &Path, left_out: &mut LeftOut) -> Result<Vec<PathBuf>> {
    let wrong = |error: glob::PatternError| Error::Setting {
        setting: "pattern",
        message: format!("{}: {}", shown(pattern), error.msg),
    };
    let mut places = vec![PathBuf::new()];
    let mut deep = false;
    for part in pattern.components() {
        let mut next = Vec::new();
        for place in places {
            match part {
                Component::Normal(name) if name == "**" => {
                    deep = true;
                    below(&place, &mut next)?;
                }
                Component::Normal(name) if is_pattern(name) && place.join(name).symlink_metadata().is_err() => {
                    let name = name.to_string_lossy();
                    let one = Pattern::new(&name).map_err(wrong)?;
                    let fits = |path: &Path| path.file_name().is_some_and(|name| one.matches(&name.to_string_lossy()));
                    next.extend(inside(&place)?.into_iter().map(|entry| entry.path).filter(|path| fits(path)));
                }
                other => next.push(place.join(other)),
            }
        }
        places = next;
    }
    let mut found = Vec::new();
    for path in places {
        if path.is_dir() {
            // `**` matches every folder and its files too: the files are taken once.
            if !deep {
                found.extend(images(&path, left_out)?);
            } else if pattern.ends_with("**") {
                found.extend(
                    inside(&path)?.into_iter().filter(|entry| entry.node == Node::File).map(|entry| entry.path),
                );
            }
        } else if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    found.dedup();
    found.retain(|path| match kind(path) {
        Kind::Picture(_) => true,
        other => {
            left_out.add(path, other);
            false
        }
    });
    Ok(found)
}

/// What lies in a folder; in one that is none, nothing.
fn inside(folder: &Path) -> Result<Vec<Entry>> {
    let here = Path::new(".");
    let empty = folder.as_os_str().is_empty();
    if !(empty || folder.is_dir()) {
        return Ok(Vec::new());
    }
    let mut entries = list(if empty { here } else { folder })?;
    if empty {
        // As they were asked for: without `./`.
        let strip = |path: &PathBuf| path.strip_prefix(here).map_or_else(|_| path.clone(), Path::to_path_buf);
        entries.iter_mut().for_each(|entry| entry.path = strip(&entry.path));
    }
    Ok(entries)
}

/// A folder and all below it.
fn below(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    found.push(folder.to_path_buf());
    for Entry { path, node } in inside(folder)? {
        if node == Node::Folder {
            below(&path, found)?;
        }
    }
    Ok(())
}

impl Dataset for Files {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, _: usize) -> u32 {
        0
    }

    fn image(&self, index: usize) -> Result<Image> {
        read_image(&self.paths[index])
    }

    fn origin(&self, index: usize) -> String {
        shown(&self.paths[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_folders_and_patterns_are_found_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["b/2.jpg", "b/1.PNG", "b/sub/3.webp", "b/notes.txt", "a.jpeg", "c.txt"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let find = |names: &[&str]| -> Result<Vec<String>> {
            let names: Vec<PathBuf> = names.iter().map(|name| folder.path().join(name)).collect();
            let strip = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
            Ok(Files::find(&names)?.paths().iter().map(strip).collect())
        };
        assert_eq!(find(&["b", "a.jpeg"]).unwrap(), ["b/1.PNG", "b/2.jpg", "b/sub/3.webp", "a.jpeg"]);
        assert_eq!(find(&["*.*"]).unwrap(), ["a.jpeg"]);
        assert_eq!(find(&["**/*"]).unwrap(), ["a.jpeg", "b/1.PNG", "b/2.jpg", "b/sub/3.webp"]);
        assert_eq!(find(&["c.txt"]).unwrap(), ["c.txt"], "who names a file means it");
        assert_eq!(find(&["nowhere.jpg"]).unwrap(), ["nowhere.jpg"]);
        assert_eq!(find(&["b/**"]).unwrap(), ["b/1.PNG", "b/2.jpg", "b/sub/3.webp"]);
        assert_eq!(find(&["?/[12].*"]).unwrap(), ["b/1.PNG", "b/2.jpg"]);
        assert_eq!(find(&["[b]"]).unwrap(), ["b/1.PNG", "b/2.jpg", "b/sub/3.webp"], "a folder that matches");
        for nothing in ["*.gif", "[", "b/x*"] {
            assert!(find(&[nothing]).unwrap_err().to_string().contains(nothing), "{nothing}");
        }
    }

    #[test]
    fn what_exists_is_meant_before_any_pattern() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["[1].jpg", "1.jpg", "holiday [2019]/a.jpg", "holiday [2019]/._a.jpg", "holiday 2/b.jpg"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let find = |name: &str| {
            let files = Files::find(&[folder.path().join(name)]).unwrap();
            let strip = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
            files.paths().iter().map(strip).collect::<Vec<_>>()
        };
        assert_eq!(find("[1].jpg"), ["[1].jpg"]);
        assert_eq!(find("[12].jpg"), ["1.jpg"]);
        assert_eq!(find("holiday [2019]/*.jpg"), ["holiday [2019]/a.jpg"]);
    }

    #[test]
    fn what_a_folder_holds_besides_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.jpg", "b.heic", "notes.txt", "Thumbs.db"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let [searched] = Files::find(&[folder.path()]).unwrap().searched().to_vec().try_into().unwrap();
        assert_eq!(searched.images, 1);
        let text = searched.left_out.to_string();
        assert!(text.contains("1 HEIC") && text.contains("1 text file") && !text.contains("other"), "{text}");
        let none = Files::find(&[folder.path().join("*.heic")]).unwrap_err().to_string();
        assert!(none.contains("*.heic: no image but 1 HEIC"), "{none}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_of_any_bytes_are_found() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        for name in [&b"caf\xe9.jpg"[..], b"caf\xe8.jpg", b"two\nlines.jpg"] {
            std::fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
        }
        for name in [".", "*.jpg"] {
            let files = Files::find(&[folder.path().join(name)]).unwrap();
            let origins: std::collections::BTreeSet<String> = (0..files.len()).map(|i| files.origin(i)).collect();
            assert_eq!(origins.len(), 3, "{origins:?}");
            assert!(origins.iter().all(|name| !name.contains('\n')), "{origins:?}");
        }
    }
}
