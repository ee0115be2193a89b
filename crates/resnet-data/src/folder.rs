//! Images in folders, one folder a class.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::names::{path_text, shown};
use crate::train_test_split::fingerprint;
use crate::tree::images;
use crate::{Dataset, Error, Image, LeftOut, Result, Split, SplitRule, SplitTable, TrainTestSplit, read_image};

/// The folders of each class, by the class's name: more than one where names differ in their Unicode form alone, or
/// where each class is divided into parts.
pub(crate) type ClassFolders = BTreeMap<String, Vec<PathBuf>>;

/// A data set of image files: `DIR/CLASS/…/*.jpg`.
///
/// Classes are sorted as torchvision's `ImageFolder` sorts them, so that labels agree. Links are followed; hidden files
/// and what systems put beside them (`Thumbs.db`, `__MACOSX`, `@eaDir`) are passed over; what else cannot be read is
/// [left out and counted](Folder::left_out). Images are decoded when they are asked for.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    classes: Vec<String>,
    files: Vec<(PathBuf, u32)>,
    left_out: LeftOut,
    train_test_split: Option<TrainTestSplit>,
    split_table: Option<Arc<SplitTable>>,
}

impl Folder {
    /// Splits the images: every fifth of a class, its second first, is for validation ([`SplitRule::EveryFifth`]).
    ///
    /// For folders without splits. Gives the training images, then those for validation.
    pub fn split_every_fifth(self) -> (Self, Self) {
        self.split_by(SplitRule::EveryFifth)
    }

    /// Splits the images by a seed: a share of each class is for validation ([`SplitRule::Share`]). As [`Folder::split_every_fifth`].
    pub fn split_by_seed(self, seed: u64, share: f64) -> (Self, Self) {
        self.split_by(SplitRule::Share { seed, share })
    }

    /// Splits the images by a rule. As [`Folder::split_every_fifth`]; both parts know their [`Dataset::train_test_split`] and have a
    /// [`Dataset::split_table`] of all images.
    pub fn split_by(self, rule: SplitRule) -> (Self, Self) {
        let labels: Vec<u32> = self.files.iter().map(|&(_, label)| label).collect();
        let mask = rule.mask(&labels, self.classes.len());
        let rows = self.files.iter().zip(&mask).map(|((path, label), &is_test)| {
            let split = if is_test { Split::Val } else { Split::Train };
            (self.within(path), self.classes[*label as usize].as_str(), split)
        });
        let split_table = Some(Arc::new(SplitTable::new(rows)));
        let test = self.files.iter().zip(&mask).filter(|(_, is_test)| **is_test);
        let test_fingerprint = fingerprint(test.map(|((path, _), _)| self.within(path)));
        let train_test_split = Some(TrainTestSplit { rule, test_fingerprint });
        let part = |wanted: bool| {
            let own = self.files.iter().zip(&mask).filter(|(_, is_test)| **is_test == wanted);
            Self {
                files: own.map(|(file, _)| file.clone()).collect(),
                train_test_split,
                split_table: split_table.clone(),
                ..self.clone()
            }
        };
        (part(false), part(true))
    }

    /// The images whose numbers are given, in this order.
    #[must_use]
    pub fn only(&self, images: &[usize]) -> Self {
        let files = images.iter().filter_map(|&index| self.files.get(index).cloned()).collect();
        Self { files, ..self.clone() }
    }

    /// The folder that the paths of images are told from.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of image `index`, where there is one.
    pub fn path(&self, index: usize) -> Option<&Path> {
        self.files.get(index).map(|(path, _)| path.as_path())
    }

    /// The paths of the images within the folder, in their order.
    pub fn inner_paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| self.within(path))
    }

    /// The path of image `index` within the folder.
    pub fn inner_path(&self, index: usize) -> Option<&Path> {
        self.path(index).map(|path| self.within(path))
    }

    /// What lies in the folder and is no image that can be read.
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// The number of images of each class.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.files.iter().for_each(|&(_, label)| counts[label as usize] += 1);
        counts
    }

    fn within<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// Lists the images of classes; labels are their places among them.
    pub(crate) fn collect(root: &Path, folders: &ClassFolders, beside: &LeftOut, allow_empty: bool) -> Result<Self> {
        let (mut files, mut left_out) = (Vec::new(), beside.clone());
        for (label, folders) in folders.values().enumerate() {
            let before = files.len();
            let mut own = LeftOut::default();
            for folder in folders {
                files.extend(images(folder, &mut own)?.into_iter().map(|path| (path, label as u32)));
            }
            if let (true, false, Some(path)) = (files.len() == before, allow_empty, folders.first()) {
                let found = if own.is_empty() { "it is empty".to_string() } else { format!("only {own}") };
                return Err(Error::EmptyClass { path: path.clone(), found });
            }
            left_out.merge(&own);
        }
        let classes = folders.keys().cloned().collect();
        Ok(Self { root: root.to_path_buf(), classes, files, left_out, train_test_split: None, split_table: None })
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
        self.path(index).map_or_else(|| format!("image {index}"), shown)
    }

    fn name(&self, index: usize) -> Option<String> {
        self.inner_path(index).map(|path| path_text(path).into_owned())
    }

    fn stamp(&self, index: usize) -> u64 {
        self.files[index].0.metadata().map_or(0, |file| file.len())
    }

    fn train_test_split(&self) -> Option<&TrainTestSplit> {
        self.train_test_split.as_ref()
    }

    fn split_table(&self) -> Option<&SplitTable> {
        self.split_table.as_deref()
    }
}
