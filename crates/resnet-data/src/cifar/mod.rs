//! CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in the three forms in which they are handed round.

mod binary;
mod classes;
mod parquet;
mod pickle;
mod python;
#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};

use crate::{Error, InMemory, Result, Split};

/// Rows and columns of every image.
pub const SIZE: usize = 32;
/// Bytes of an image.
pub(crate) const PIXELS: usize = 3 * SIZE * SIZE;

/// Which of the two sets, and for CIFAR-100 which labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cifar {
    /// Ten classes.
    Ten,
    /// A hundred classes.
    Hundred,
    /// CIFAR-100's images under its twenty superclasses.
    HundredCoarse,
}

/// A part of a set as it comes out of a file: pixels (image, row, column, RGB) and labels.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) pixels: Vec<u8>,
    pub(crate) labels: Vec<u32>,
}

impl Cifar {
    /// The name under which [`open`](crate::open) knows the set.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ten => "cifar10",
            Self::Hundred => "cifar100",
            Self::HundredCoarse => "cifar100-coarse",
        }
    }

    /// The classes' names, in the order of their labels.
    pub fn classes(self) -> &'static [&'static str] {
        match self {
            Self::Ten => &classes::TEN,
            Self::Hundred => &classes::FINE,
            Self::HundredCoarse => &classes::COARSE,
        }
    }

    /// Number of images in a split: 50,000 and 10,000.
    pub fn images(self, split: Split) -> usize {
        match split {
            Split::Train => 50_000,
            Split::Val | Split::Test => 10_000,
        }
    }

    /// Folders that the published archives unpack to: binary, Python.
    fn folders(self) -> [&'static str; 2] {
        match self {
            Self::Ten => ["cifar-10-batches-bin", "cifar-10-batches-py"],
            Self::Hundred | Self::HundredCoarse => ["cifar-100-binary", "cifar-100-python"],
        }
    }

    /// The binary version's files of a split.
    fn binary_files(self, split: Split) -> Vec<String> {
        match (self, split) {
            (Self::Ten, Split::Train) => (1..=5).map(|batch| format!("data_batch_{batch}.bin")).collect(),
            (Self::Ten, Split::Val | Split::Test) => vec!["test_batch.bin".to_string()],
            (_, split) => vec![format!("{}.bin", split.of_two())],
        }
    }

    /// The Python version's files of a split.
    fn python_files(self, split: Split) -> Vec<String> {
        match (self, split) {
            (Self::Ten, Split::Train) => (1..=5).map(|batch| format!("data_batch_{batch}")).collect(),
            (Self::Ten, Split::Val | Split::Test) => vec!["test_batch".to_string()],
            (_, split) => vec![split.of_two().to_string()],
        }
    }

    /// The one way in which parquet files of a split begin.
    fn parquet_prefix(split: Split) -> String {
        format!("{}-", split.of_two())
    }

    /// Reads a split from a folder: that of the binary or the Python version, or of the hub's parquet files
    /// (`train-00000-of-00001.parquet`), or a parent of one of these.
    ///
    /// # Errors
    /// [`Error::NotFound`] where none is there; [`Error::Io`], [`Error::FileSize`], [`Error::Format`] and
    /// [`Error::Label`] name the file that is missing, too short or wrong.
    pub fn load(self, folder: &Path, split: Split) -> Result<InMemory> {
        let files = self.find(folder, split)?.ok_or_else(|| {
            let [binary, python] = self.folders();
            Error::NotFound {
                path: folder.to_path_buf(),
                what: format!("{} {split} files", self.name()),
                hint: format!(
                    "pass the folder that holds {binary}, {python} or the hub's parquet files \
                     (archives: https://www.cs.toronto.edu/~kriz/cifar.html)"
                ),
            }
        })?;
        self.read(&files, split)
    }

    /// The files of a split in or below a folder; `None` where there are none at all.
    pub(crate) fn find(self, folder: &Path, split: Split) -> Result<Option<Files>> {
        if !folder.is_dir() {
            let what = std::io::Error::new(std::io::ErrorKind::NotFound, "no such folder");
            return Err(Error::io(folder)(what));
        }
        let [binary, python] = self.folders();
        let join = |folder: PathBuf, names: Vec<String>| names.into_iter().map(|name| folder.join(name)).collect();
        for folder in [folder.to_path_buf(), folder.join(binary)] {
            // Any file of the version will do: that one is missing should be said by its name.
            if [Split::Train, Split::Test].iter().any(|&split| any_file(&folder, &self.binary_files(split))) {
                return Ok(Some(Files::Binary(join(folder, self.binary_files(split)))));
            }
        }
        for folder in [folder.to_path_buf(), folder.join(python)] {
            if [Split::Train, Split::Test].iter().any(|&split| any_file(&folder, &self.python_files(split))) {
                return Ok(Some(Files::Python(join(folder, self.python_files(split)))));
            }
        }
        let repository = match self {
            Self::Ten => "cifar10",
            Self::Hundred | Self::HundredCoarse => "cifar100",
        };
        for folder in [folder.to_path_buf(), folder.join("plain_text"), folder.join(repository)] {
            let files = parquet::files(&folder, &Self::parquet_prefix(split))?;
            if !files.is_empty() {
                return Ok(Some(Files::Parquet(files)));
            }
        }
        Ok(None)
    }

    /// Reads the files of a split.
    pub(crate) fn read(self, files: &Files, split: Split) -> Result<InMemory> {
        let (Files::Binary(paths) | Files::Python(paths) | Files::Parquet(paths)) = files;
        let images = self.images(split) / paths.len().max(1);
        let mut all = Records::default();
        for path in paths {
            let records = match files {
                Files::Binary(_) => binary::read(path, self, images),
                Files::Python(_) => python::read(path, self, images),
                Files::Parquet(_) => parquet::read(path, self),
            }?;
            check_labels(path, &records.labels, self.classes().len())?;
            all.pixels.extend(records.pixels);
            all.labels.extend(records.labels);
        }
        let classes = self.classes().iter().map(|&name| name.to_string()).collect();
        let name = format!("{}/{split}", self.name());
        InMemory::new(name, (SIZE, SIZE), all.pixels, all.labels, classes)
    }
}

/// The files of a split and their form.
#[derive(Debug)]
pub(crate) enum Files {
    Binary(Vec<PathBuf>),
    Python(Vec<PathBuf>),
    Parquet(Vec<PathBuf>),
}

fn any_file(folder: &Path, names: &[String]) -> bool {
    names.iter().any(|name| folder.join(name).is_file())
}

fn check_labels(path: &Path, labels: &[u32], classes: usize) -> Result<()> {
    match labels.iter().enumerate().find(|&(_, &label)| label as usize >= classes) {
        Some((record, &label)) => Err(Error::Label { path: path.display().to_string(), record, label, classes }),
        None => Ok(()),
    }
}
