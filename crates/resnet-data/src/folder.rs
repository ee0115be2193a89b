//! Images in folders, one folder a class.

use std::path::{Path, PathBuf};

use crate::division::fingerprint;
use crate::walk::{EXTENSIONS, entries, images};
use crate::{Dataset, Division, Error, HoldBack, Image, Result, Split, read_image};

/// A data set of image files: `DIR/CLASS/…/*.jpg`.
///
/// Classes and files are sorted as torchvision's `ImageFolder` sorts them, so that labels agree; names that begin with
/// a dot are left out. Images are decoded when they are asked for.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    classes: Vec<String>,
    files: Vec<(PathBuf, u32)>,
    division: Option<Division>,
}

impl Folder {
    /// Reads `folder/CLASS/…`, whatever the folder's name.
    ///
    /// # Errors
    /// [`Error::Io`] where a folder cannot be read, [`Error::NotFound`] where it holds no class folders and
    /// [`Error::EmptyClass`] where a class folder holds no images.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let classes = classes(folder)?;
        Self::collect(folder, classes.clone(), &classes)
    }

    /// Reads a split: `folder/train/CLASS/…`, or `folder/val` or `folder/test` for [`Split::Test`]. A folder that has
    /// neither is read as [`Folder::read`] does, whole, for either split.
    ///
    /// Labels are those of the `train` folder where there is one.
    ///
    /// # Errors
    /// As [`Folder::read`]; [`Error::NotFound`] where one split is there and the other is asked for, and
    /// [`Error::Format`] where `val` or `test` has a class that `train` has not.
    pub fn open(folder: impl AsRef<Path>, split: Split) -> Result<Self> {
        let folder = folder.as_ref();
        if !Self::has_splits(folder) {
            return Self::read(folder);
        }
        let names: &[&str] = match split {
            Split::Train => &["train"],
            Split::Test => &["val", "test"],
        };
        let part = names.iter().map(|name| folder.join(name)).find(|part| part.is_dir());
        let part = part.ok_or_else(|| Error::NotFound {
            path: folder.to_path_buf(),
            what: format!("folder {}", names.join(" or ")),
            hint: format!("put the {split} images into {}/CLASS", folder.join(names[0]).display()),
        })?;
        let present = classes(&part)?;
        let train = folder.join("train");
        let all = if train.is_dir() { classes(&train)? } else { present.clone() };
        if let Some(unknown) = present.iter().find(|name| !all.contains(name)) {
            return Err(Error::format(
                part.join(unknown),
                format!("{} has no such class: add or rename it", train.display()),
            ));
        }
        Self::collect(&part, all, &present)
    }

    /// True where the folder holds `train`, `val` or `test`, and not classes.
    pub fn has_splits(folder: impl AsRef<Path>) -> bool {
        ["train", "val", "test"].iter().any(|name| folder.as_ref().join(name).is_dir())
    }

    /// Divides the images: every fifth of a class, its second first, is held back ([`HoldBack::EveryFifth`]).
    ///
    /// For folders without splits. Gives the part to learn from, then the one held back.
    pub fn divide(self) -> (Self, Self) {
        self.divided(HoldBack::EveryFifth)
    }

    /// Divides the images by a seed: a share of each class is held back ([`HoldBack::Share`]). As [`Folder::divide`].
    pub fn divide_by_seed(self, seed: u64, share: f64) -> (Self, Self) {
        self.divided(HoldBack::Share { seed, share })
    }

    /// Divides the images by a rule. As [`Folder::divide`]; both parts know their [`Dataset::division`].
    pub fn divided(self, rule: HoldBack) -> (Self, Self) {
        let labels: Vec<u32> = self.files.iter().map(|&(_, label)| label).collect();
        let mask = rule.mask(&labels, self.classes.len());
        let (test, train): (Vec<_>, Vec<_>) = self.files.into_iter().zip(mask).partition(|(_, held_back)| *held_back);
        let paths = test.iter().map(|((path, _), _)| path.strip_prefix(&self.root).unwrap_or(path));
        let division = Some(Division { rule, held_back: fingerprint(paths) });
        let part = |files: Vec<((PathBuf, u32), bool)>| Self {
            root: self.root.clone(),
            classes: self.classes.clone(),
            files: files.into_iter().map(|(file, _)| file).collect(),
            division,
        };
        (part(train), part(test))
    }

    /// The folder whose class folders these are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of image `index`, where there is one.
    pub fn path(&self, index: usize) -> Option<&Path> {
        self.files.get(index).map(|(path, _)| path.as_path())
    }

    /// Lists the images of the `present` classes; their labels are their places in `classes`.
    fn collect(folder: &Path, classes: Vec<String>, present: &[String]) -> Result<Self> {
        let mut files = Vec::new();
        for (label, class) in classes.iter().enumerate().filter(|(_, class)| present.contains(class)) {
            let before = files.len();
            files.extend(images(&folder.join(class))?.into_iter().map(|path| (path, label as u32)));
            if files.len() == before {
                let extensions = EXTENSIONS.map(|extension| format!(".{extension}")).join(", ");
                return Err(Error::EmptyClass { path: folder.join(class), extensions });
            }
        }
        Ok(Self { root: folder.to_path_buf(), classes, files, division: None })
    }
}

impl Dataset for Folder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.files[index].1
    }

    fn image(&self, index: usize) -> Result<Image> {
        read_image(&self.files[index].0)
    }

    fn origin(&self, index: usize) -> String {
        self.path(index).map_or_else(|| format!("image {index}"), |path| path.display().to_string())
    }

    fn name(&self, index: usize) -> Option<String> {
        let path = &self.files[index].0;
        Some(path.strip_prefix(&self.root).unwrap_or(path).display().to_string())
    }

    fn stamp(&self, index: usize) -> u64 {
        self.files[index].0.metadata().map_or(0, |file| file.len())
    }

    fn division(&self) -> Option<&Division> {
        self.division.as_ref()
    }
}

/// The class folders' names, sorted by their characters' code points.
fn classes(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for path in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        let name = path.file_name().and_then(|name| name.to_str());
        names.push(name.ok_or_else(|| Error::format(&path, "the name is not valid Unicode: rename it"))?.to_string());
    }
    names.sort();
    if names.is_empty() {
        return Err(Error::NotFound {
            path: folder.to_path_buf(),
            what: "class folders".to_string(),
            hint: "put the images of each class into a folder with the class's name".to_string(),
        });
    }
    Ok(names)
}
