//! Data sets too large for a file an image: WebDataset's tar shards and the hub's parquet files.
//!
//! Both are indexed when they are opened (where each image lies, its label: 24 bytes an image), and an image is read
//! when it is its turn. So any order can be had, and repeats, and memory does not grow over an epoch.

mod choice;
mod files;
mod labels;
mod members;
mod names;
mod parquet;
mod samples;
mod summary;
mod tar;
#[cfg(test)]
mod tests;

pub(crate) use choice::with_columns;
pub(crate) use files::are_in;
pub use parquet::ParquetShards;
pub use tar::TarShards;

use crate::Dataset;

/// What the labels of shards are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Labelled {
    /// Numbers: the classes' places in a list that another part may know more of.
    Numbers,
    /// Words that a part knows as far as it has them.
    Words,
}

/// Shards whose classes can be seen under others' names and numbers.
pub(crate) trait Shards: Dataset + Sized {
    /// The same data set with these classes, each label changed so.
    fn relabelled(self, classes: Vec<String>, change: impl Fn(u32) -> u32) -> Self;

    /// What its labels are.
    fn labelled(&self) -> Labelled;

    /// The same data set with these names for its classes.
    fn with_classes(self, classes: Vec<String>) -> Self {
        self.relabelled(classes, |label| label)
    }
}

/// Two parts of a set shall have the same classes: of numbers the longer list, of words those of both.
pub(crate) fn with_same_classes<T: Shards>(train: T, test: T) -> (T, T) {
    let (have, held) = (train.classes().to_vec(), test.classes().to_vec());
    if have == held {
        return (train, test);
    }
    if [train.labelled(), test.labelled()].contains(&Labelled::Words) {
        let mut all = [have, held].concat();
        all.sort();
        all.dedup();
        return (among(train, &all), among(test, &all));
    }
    match have.len().cmp(&held.len()) {
        std::cmp::Ordering::Less if held.starts_with(&have) => (train.with_classes(held), test),
        std::cmp::Ordering::Greater if have.starts_with(&held) => (train, test.with_classes(have)),
        _ => (train, test),
    }
}

/// A part under the classes of all.
fn among<T: Shards>(part: T, all: &[String]) -> T {
    let place = |name: &String| all.binary_search(name).unwrap_or(0) as u32;
    let places: Vec<u32> = part.classes().iter().map(place).collect();
    part.relabelled(all.to_vec(), |label| places.get(label as usize).copied().unwrap_or(0))
}
