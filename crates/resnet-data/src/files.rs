//! Images without labels, named one by one, by folder or by pattern.

use std::path::{Path, PathBuf};

use crate::walk::{images, is_image};
use crate::{Dataset, Error, Image, Result, read_image};

/// A list of image files; all have label 0, of a class without a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    paths: Vec<PathBuf>,
    classes: Vec<String>,
}

impl Files {
    /// These files, whatever they are called.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, classes: vec![String::new()] }
    }

    /// The images that names stand for, in the order of the names: a file stands for itself, a folder for the images
    /// in it and below it, a pattern (`photos/*.jpg`, `**/*.png`) for the files and folders that it matches.
    ///
    /// # Errors
    /// [`Error::NotFound`] where a name stands for no image, [`Error::Io`] where a folder cannot be read.
    pub fn find(names: &[impl AsRef<Path>]) -> Result<Self> {
        let mut paths = Vec::new();
        for name in names {
            let name = name.as_ref();
            let before = paths.len();
            if name.is_dir() {
                paths.extend(images(name)?);
            } else if name.exists() || !is_pattern(name) {
                // One that does not exist is reported when it is read, in its turn.
                paths.push(name.to_path_buf());
            } else {
                matching(name, &mut paths)?;
            }
            if paths.len() == before {
                return Err(Error::NotFound {
                    path: name.to_path_buf(),
                    what: "image".to_string(),
                    hint: "name files, folders of pictures, or a pattern".to_string(),
                });
            }
        }
        Ok(Self::new(paths))
    }

    /// The files.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

fn is_pattern(name: &Path) -> bool {
    name.to_str().is_some_and(|name| name.contains(['*', '?', '[']))
}

/// Files and folders that a pattern matches, sorted.
fn matching(pattern: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let wrong = |message: String| Error::Setting { setting: "pattern", message };
    let text = pattern.to_str().unwrap_or_default();
    for path in glob::glob(text).map_err(|error| wrong(format!("{text}: {error}")))? {
        let path = path.map_err(|error| wrong(error.to_string()))?;
        if path.is_dir() {
            // `**` matches every folder and its files too: the files are taken once.
            if !text.contains("**") {
                paths.extend(images(&path)?);
            }
        } else if is_image(&path) {
            paths.push(path);
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
        self.paths[index].display().to_string()
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
        for nothing in ["*.gif", "[", "b/x*"] {
            assert!(find(&[nothing]).unwrap_err().to_string().contains(nothing), "{nothing}");
        }
    }
}
