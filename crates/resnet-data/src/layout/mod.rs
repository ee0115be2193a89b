//! How a folder of images is understood: as classes, or as parts that hold classes.

mod find;
mod inside;
mod open;
mod part_names;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::folder::ClassFolders;
use crate::kind::{Kind, Unreadable};
use crate::names::shown;
use crate::{Error, LeftOut, Result, Split};

/// What the folders in a folder of images are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subfolders {
    /// Whichever their names and what lies in them show.
    #[default]
    Auto,
    /// Parts, such as `train` and `val`, that hold a folder for each class.
    Parts,
    /// Classes, whatever they are called.
    Classes,
}

/// How a folder of images is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderOptions {
    /// What the folders in it are.
    pub subfolders: Subfolders,
    /// Keep classes whose folder holds no readable image; otherwise such a folder in the training part is an error.
    pub allow_empty: bool,
}

/// A folder of images, understood by the names in it: nothing is counted or decoded yet.
///
/// Folders called `train`, `Training`, `seg_test` and the like are parts where the layout shows it: they hold a folder
/// for each class, of the same classes, and nothing beside them looks like a class. A folder of any name that holds
/// pictures beside others that do is a class.
#[derive(Clone, Debug)]
pub struct FolderLayout {
    given: PathBuf,
    /// The folder whose folders are the parts or the classes.
    root: PathBuf,
    parts: Vec<Part>,
    /// Where there are no parts.
    classes: ClassFolders,
    notes: Vec<String>,
    left_out: LeftOut,
    options: FolderOptions,
}

/// A part of a folder of images.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) split: Split,
    /// The folder that paths are told from.
    pub(crate) folder: PathBuf,
    pub(crate) classes: ClassFolders,
    pub(crate) left_out: LeftOut,
}

impl FolderLayout {
    /// Looks into a folder.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read, [`Error::NotFound`] where no folder in it holds images, [`Error::Layout`]
    /// where its folders may as well be parts as classes.
    pub fn of(folder: impl AsRef<Path>, options: FolderOptions) -> Result<Self> {
        let given = folder.as_ref().to_path_buf();
        if given.is_file() {
            return Err(Error::NotFound { hint: mend_of_file(&given), path: given, what: "folder".to_string() });
        }
        let mut layout = Self {
            root: given.clone(),
            given,
            parts: Vec::new(),
            classes: ClassFolders::new(),
            notes: Vec::new(),
            left_out: LeftOut::default(),
            options,
        };
        while !layout.understand()? {}
        Ok(layout)
    }

    /// The folder that was given.
    pub fn given(&self) -> &Path {
        &self.given
    }

    /// The parts that were found, with their folders; empty where the folders are classes.
    pub fn parts(&self) -> Vec<(Split, &Path)> {
        self.parts.iter().map(|part| (part.split, part.folder.as_path())).collect()
    }

    /// Whether there is such a part.
    pub fn has(&self, split: Split) -> bool {
        self.parts.iter().any(|part| part.split == split)
    }

    /// What somebody who does not see the folder should know of how it was understood.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether validation images are not apart: there are no parts, or `train` alone.
    pub fn is_unsplit(&self) -> bool {
        self.parts.iter().all(|part| part.split == Split::Train)
    }

    /// The part that is evaluated during training: `val`, or `test` where there is none.
    pub fn test_split(&self) -> Split {
        if self.has(Split::Val) { Split::Val } else { Split::Test }
    }
}

/// What to do with a file where a folder should be.
fn mend_of_file(file: &Path) -> String {
    let ending = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match (Kind::of_ending(file), &*ending) {
        (_, "tar") => format!("a tar file of images and labels is named shards:{}", shown(file)),
        (_, "parquet") => format!("a parquet file is named parquet:{}", shown(file)),
        (Kind::Unreadable(Unreadable { name: "archive", .. }), _) => "unpack it, and name the folder".to_string(),
        _ => "it is a file; name the folder that holds a folder for each class".to_string(),
    }
}
