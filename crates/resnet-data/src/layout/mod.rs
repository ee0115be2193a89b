//! How a folder of images is understood: as classes, or as parts that hold classes.

mod find;
mod inside;
mod part_names;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::kind::{Kind, Unreadable};
use crate::names::shown;
use crate::{Dataset, Error, Folder, LeftOut, Result, Split, SplitRule};

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

/// The folders of each class, by the class's name: more than one where names differ in their Unicode form alone, or
/// where each class is divided into parts.
pub(crate) type ClassFolders = BTreeMap<String, Vec<PathBuf>>;

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

    /// All images of a folder that [`is_unsplit`](Self::is_unsplit).
    ///
    /// # Errors
    /// [`Error::EmptyClass`] where a class folder holds no images (unless that is allowed), [`Error::Io`].
    pub fn read(&self) -> Result<Folder> {
        match &self.parts[..] {
            [] => Folder::collect(&self.root, &self.classes, &self.left_out, self.options.allow_empty),
            [only, ..] => self.read_part(only),
        }
    }

    /// Opens a part: [`Split::Val`] and [`Split::Test`] stand for each other where there is but one of them. A folder
    /// without parts is whole, for any.
    ///
    /// Labels are those of the training part where there is one.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`Error::NotFound`] where there is no such part, and [`Error::Format`] where one has a
    /// class that the training part has not.
    pub fn open(&self, split: Split) -> Result<Folder> {
        if self.parts.is_empty() {
            return self.read();
        }
        let wanted = match split {
            Split::Train => &[Split::Train][..],
            Split::Val => &[Split::Val, Split::Test],
            Split::Test => &[Split::Test, Split::Val],
        };
        let found = wanted.iter().find_map(|split| self.parts.iter().find(|part| part.split == *split));
        let found = found.ok_or_else(|| {
            let (what, example) = if split == Split::Train { ("train", "train") } else { ("val or test", "val") };
            Error::NotFound {
                path: self.root.clone(),
                what: format!("folder {what}"),
                hint: format!("put the {split} images into {}/CLASS", shown(self.root.join(example))),
            }
        })?;
        self.read_part(found)
    }

    /// Training and validation images: parts, or of a folder without them those that the rule makes.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::NotFound`] where none would be left for validation.
    pub fn open_train_test(&self, rule: SplitRule) -> Result<(Folder, Folder)> {
        if !self.is_unsplit() {
            return Ok((self.open(Split::Train)?, self.open(self.test_split())?));
        }
        let (train, test) = self.read()?.split_by(rule);
        if test.is_empty() {
            return Err(Error::NotFound {
                path: self.root.clone(),
                what: "class with two images, so that one can be for validation".to_string(),
                hint: "add images, or make folders train/CLASS and val/CLASS".to_string(),
            });
        }
        Ok((train, test))
    }

    fn read_part(&self, own: &Part) -> Result<Folder> {
        let train = self.parts.iter().find(|part| part.split == Split::Train).unwrap_or(own);
        let names: Vec<&String> = train.classes.keys().collect();
        if let Some((name, folders)) = own.classes.iter().find(|(name, _)| !names.contains(name)) {
            let near = names.iter().find(|known| known.to_lowercase() == name.to_lowercase());
            let mend = near.map_or("add or rename it".to_string(), |near| format!("it has {}", shown(near)));
            let folder = folders.first().unwrap_or(&own.folder);
            return Err(Error::format(folder, format!("{} has no such class: {mend}", shown(&train.folder))));
        }
        let mut classes: ClassFolders = names.into_iter().map(|name| (name.clone(), Vec::new())).collect();
        classes.extend(own.classes.clone());
        let mut left_out = self.left_out.clone();
        left_out.merge(&own.left_out);
        // Who evaluates needs no image of every class.
        let allow_empty = self.options.allow_empty || own.split != Split::Train;
        Folder::collect(&own.folder, &classes, &left_out, allow_empty)
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
