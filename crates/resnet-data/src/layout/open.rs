//! Folders of images opened as data sets.

use std::path::Path;

use super::{FolderLayout, FolderOptions, Part, Subfolders};
use crate::folder::ClassFolders;
use crate::names::shown;
use crate::{Dataset, Error, Folder, Result, Split, SplitRule};

impl Folder {
    /// Reads `folder/CLASS/…`, whatever the folders' names.
    ///
    /// # Errors
    /// [`Error::Io`] where a folder cannot be read, [`Error::NotFound`] where it holds no class folders and
    /// [`Error::EmptyClass`] where a class folder holds no images.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let options = FolderOptions { subfolders: Subfolders::Classes, ..FolderOptions::default() };
        FolderLayout::of(folder, options)?.read()
    }

    /// Reads a split: `folder/train/CLASS/…`, or `folder/val` or `folder/test`, under any usual name. A folder without
    /// such parts is read as [`Folder::read`] does, whole, for any split. [`FolderLayout`] tells what is what.
    ///
    /// # Errors
    /// As [`FolderLayout::of`] and [`FolderLayout::open`].
    pub fn open(folder: impl AsRef<Path>, split: Split) -> Result<Self> {
        FolderLayout::of(folder, FolderOptions::default())?.open(split)
    }
}

impl FolderLayout {
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
