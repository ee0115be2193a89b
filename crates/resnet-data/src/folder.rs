//! Images in folders, one folder a class.

use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::seed::stream;
use crate::walk::{EXTENSIONS, entries, images};
use crate::{Dataset, Error, Image, Result, Split, read_image};

/// A data set of image files: `DIR/CLASS/…/*.jpg`.
///
/// Classes and files are sorted as torchvision's `ImageFolder` sorts them, so that labels agree; names that begin with
/// a dot are left out. Images are decoded when they are asked for.
#[derive(Clone, Debug)]
pub struct Folder {
    classes: Vec<String>,
    files: Vec<(PathBuf, u32)>,
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

    /// Divides the images: every fifth of a class, its second first, is held back.
    ///
    /// For folders without splits. A class of one image has it in the training part.
    pub fn divide(self) -> (Self, Self) {
        let mut seen = vec![0_usize; self.classes.len()];
        let (test, train) = self.files.into_iter().partition(|(_, label)| {
            let place = &mut seen[*label as usize];
            *place += 1;
            *place % 5 == 2
        });
        (Self { classes: self.classes.clone(), files: train }, Self { classes: self.classes, files: test })
    }

    /// Divides the images by a seed: of each class a share is held back, one image at least where it has two or more.
    ///
    /// For folders without splits.
    pub fn divide_by_seed(self, seed: u64, share: f64) -> (Self, Self) {
        let mut held_back = vec![false; self.files.len()];
        for class in 0..self.classes.len() {
            let mut own: Vec<usize> = (0..self.files.len()).filter(|&i| self.files[i].1 as usize == class).collect();
            own.shuffle(&mut ChaCha8Rng::from_seed(stream(seed, class as u64, 0, "split")));
            let most = own.len().saturating_sub(1);
            let count = ((own.len() as f64 * share).round() as usize).max(1).min(most);
            own[..count].iter().for_each(|&i| held_back[i] = true);
        }
        let (test, train): (Vec<_>, Vec<_>) = self.files.into_iter().zip(held_back).partition(|(_, back)| *back);
        let part = |files: Vec<((PathBuf, u32), bool)>| files.into_iter().map(|(file, _)| file).collect();
        (Self { classes: self.classes.clone(), files: part(train) }, Self { classes: self.classes, files: part(test) })
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
        Ok(Self { classes, files })
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
