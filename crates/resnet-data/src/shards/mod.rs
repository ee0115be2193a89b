//! Data sets too large for a file an image: WebDataset's tar shards and the hub's parquet files.
//!
//! Both are indexed when they are opened (where each image lies, its label: 24 bytes an image), and an image is read
//! when it is its turn. So any order can be had, and repeats, and memory does not grow over an epoch.

mod names;
mod parquet;
mod tar;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use parquet::ParquetShards;
pub use tar::TarShards;

use crate::walk::entries;
use crate::{Dataset, Error, Result, Split, imagenet};

/// The files of a split: a folder's (and its subfolders'), or those that a pattern names.
///
/// Which split a file belongs to is said by its own name or, where that says nothing, its folder's: `train`, or `val`, `validation`, `valid`,
/// `dev`, `test` as a word of it. Where no name says anything, all files belong to either split.
fn files(place: &str, extension: &str, split: Split) -> Result<Vec<PathBuf>> {
    let split = split.of_two();
    let all = all_files(place, extension)?;
    let part = |words: &[&str]| -> Vec<PathBuf> { all.iter().filter(|path| is_of(path, words)).cloned().collect() };
    // ImageNet's test images on the hub have no labels: where there is a `val`, that is meant.
    let val = part(VAL);
    let (train, test) = (part(TRAIN), if val.is_empty() { part(TEST) } else { val });
    match (split, train.is_empty() && test.is_empty()) {
        (_, true) => Ok(all),
        (Split::Train, _) if !train.is_empty() => Ok(train),
        (Split::Test, _) if !test.is_empty() => Ok(test),
        _ => {
            let word = if split == Split::Train { "train" } else { "val" };
            Err(Error::NotFound {
                path: place.into(),
                what: format!("{split} shards"),
                hint: format!("their names should say which they are, as in {word}-000000.{extension}"),
            })
        }
    }
}

const TRAIN: &[&str] = &["train"];
const VAL: &[&str] = &["val", "validation", "valid", "dev"];
const TEST: &[&str] = &["test"];

/// Whether a file is of the split that these words name. The folder is asked only where the file's own name says nothing:
/// a folder's name often has all splits of what lies in it.
fn is_of(path: &Path, words: &[&str]) -> bool {
    let has = |name: &std::ffi::OsStr, words: &[&str]| {
        let name = name.to_string_lossy().to_lowercase();
        name.split(|c: char| !c.is_ascii_alphabetic()).any(|word| words.contains(&word))
    };
    let names = [path.file_stem(), path.parent().and_then(Path::file_name)];
    let speaks = |name: &&std::ffi::OsStr| [TRAIN, VAL, TEST].iter().any(|words| has(name, words));
    names.into_iter().flatten().find(speaks).is_some_and(|name| has(name, words))
}

fn all_files(place: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let path = Path::new(place);
    if path.is_dir() {
        below(path, extension, &mut files)?;
    } else {
        for name in names::expand(place)? {
            let path = PathBuf::from(name);
            if !path.is_file() {
                let what = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
                return Err(Error::io(path)(what));
            }
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::NotFound {
            path: path.to_path_buf(),
            what: format!(".{extension} files"),
            hint: format!("name their folder, or the files as in DIR/train-{{000000..000099}}.{extension}"),
        });
    }
    Ok(files)
}

fn below(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) -> Result<()> {
    for path in entries(folder)? {
        if path.is_dir() && !path.is_symlink() {
            below(&path, extension, files)?;
        } else if path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension)) {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether a folder, or one of its subfolders, holds shards of that kind.
pub(crate) fn are_in(folder: &Path, extension: &str) -> bool {
    let mut found = Vec::new();
    below(folder, extension, &mut found).is_ok() && !found.is_empty()
}

/// Labels from here on are taken for something else that stands where a label should: a network's head of so many
/// classes would not fit into memory.
const MOST_CLASSES: u32 = 1 << 20;

/// Names of classes of which only the greatest label is known: those in `classes.txt` beside the shards, a line each;
/// ImageNet's where there are a thousand; else the numbers.
fn class_names(shard: &Path, greatest: u32) -> Result<Vec<String>> {
    if greatest >= MOST_CLASSES {
        let message = format!("a label is {greatest}, more than the number of any class: is it an id of the image?");
        return Err(Error::format(shard, message));
    }
    let folder = shard.parent().unwrap_or(Path::new("."));
    let mut list = [Some(folder), folder.parent()].into_iter().flatten().map(|folder| folder.join("classes.txt"));
    let count = greatest as usize + 1;
    if let Some(path) = list.find(|path| path.is_file()) {
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let names: Vec<String> = text.lines().map(|line| line.trim().to_string()).filter(|l| !l.is_empty()).collect();
        if names.len() < count {
            let message = format!("{} names, but a label is {greatest}: a line a class is needed", names.len());
            return Err(Error::format(path, message));
        }
        return Ok(names);
    }
    Ok(match imagenet::wnids() {
        wnids if wnids.len() == count => wnids.into_iter().map(str::to_string).collect(),
        _ => (0..count).map(|number| number.to_string()).collect(),
    })
}

/// Shards whose classes have no names but numbers can be seen under others' names.
pub(crate) trait Named: Dataset {
    /// The same data set with these names for its classes.
    fn with_classes(self, classes: Vec<String>) -> Self;
}

/// Two parts of a set whose classes are numbered: the part that does not have the last ones shall know of them.
pub(crate) fn with_same_classes<T: Named>(train: T, test: T) -> (T, T) {
    let (have, held) = (train.classes().to_vec(), test.classes().to_vec());
    match have.len().cmp(&held.len()) {
        std::cmp::Ordering::Less if held.starts_with(&have) => (train.with_classes(held), test),
        std::cmp::Ordering::Greater if have.starts_with(&held) => (train, test.with_classes(have)),
        _ => (train, test),
    }
}
