//! Whether a resumed run has the images that it began with: names, labels and sizes decide, wherever they lie.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;
use resnet_data::Dataset;
use serde::{Deserialize, Serialize};

use crate::{Result, files};

/// What tells the images of a run, for its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFingerprint {
    train: Part,
    test: Part,
}

/// One part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    images: usize,
    /// FNV-1a of 64 bits over all names, classes and sizes, in order.
    fingerprint: u64,
}

/// A line of `images.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    part: String,
    image: String,
    class: String,
    bytes: u64,
}

const PARTS: [&str; 2] = ["train", "test"];

impl DataFingerprint {
    /// Of the training and the test images.
    pub(crate) fn of(train: &dyn Dataset, test: &dyn Dataset) -> Self {
        Self { train: Part::of(train), test: Part::of(test) }
    }

    /// In what the images differ from those `before`, which `listed` names if the file is there and whole: how many, and
    /// the first. `None` where they are the same.
    pub(crate) fn difference(&self, before: &Self, sets: [&dyn Dataset; 2], listed: &Path) -> Option<String> {
        let parts = [(self.train, before.train), (self.test, before.test)];
        let mut said = Vec::new();
        for ((part, (now, before)), set) in PARTS.into_iter().zip(parts).zip(sets) {
            if now == before {
                continue;
            }
            let what = match read(listed, part).filter(|rows| rows.len() == before.images) {
                Some(rows) => compared(&rows, &rows_of(part, set)),
                None if now.images != before.images => format!("{} images then, {} now", before.images, now.images),
                None => format!("names, labels or contents of its {} images", now.images),
            };
            said.push(format!("in the {part} part {what}"));
        }
        (!said.is_empty()).then(|| said.join("; "))
    }
}

impl Part {
    fn of(set: &dyn Dataset) -> Self {
        // Sizes are asked of the file system, one image after the other: together it takes a fraction of the time.
        let each = |index: usize| {
            let class = set.classes().get(set.label(index) as usize).map_or("", String::as_str);
            let (name, stamp) = (name(set, index), set.stamp(index).to_le_bytes());
            fnv([name.as_bytes(), b"\0", class.as_bytes(), b"\0", &stamp].concat())
        };
        let all: Vec<u64> = (0..set.len()).into_par_iter().map(each).collect();
        Self { images: set.len(), fingerprint: fnv(all.into_iter().flat_map(u64::to_le_bytes)) }
    }
}

fn fnv(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn name(set: &dyn Dataset, index: usize) -> String {
    set.name(index).unwrap_or_else(|| index.to_string())
}

fn rows_of(part: &str, set: &dyn Dataset) -> Vec<Row> {
    let row = |index: usize| Row {
        part: part.into(),
        image: name(set, index),
        class: set.classes().get(set.label(index) as usize).cloned().unwrap_or_default(),
        bytes: set.stamp(index),
    };
    (0..set.len()).into_par_iter().map(row).collect()
}

/// `images.csv`; `None` where the images have no names.
pub(crate) fn list(train: &dyn Dataset, test: &dyn Dataset) -> Result<Option<String>> {
    if [train, test].iter().any(|set| set.is_empty() || set.name(0).is_none()) {
        return Ok(None);
    }
    let [first, second] = PARTS;
    files::csv(rows_of(first, train).into_iter().chain(rows_of(second, test))).map(Some)
}

/// The lines of a part; `None` where the file cannot be read.
fn read(path: &Path, part: &str) -> Option<Vec<Row>> {
    let mut reader = csv::Reader::from_path(path).ok()?;
    let rows = reader.deserialize().collect::<std::result::Result<Vec<Row>, _>>().ok()?;
    Some(rows.into_iter().filter(|row| row.part == part).collect())
}

/// What became of the images, by number, each with its first.
fn compared(before: &[Row], now: &[Row]) -> String {
    let by_name =
        |rows: &'_ [Row]| -> HashMap<String, Row> { rows.iter().map(|row| (row.image.clone(), row.clone())).collect() };
    let (old, new) = (by_name(before), by_name(now));
    let both = || now.iter().filter_map(|row| Some((row, old.get(&row.image)?)));
    let kinds: [(Vec<&str>, &str); 4] = [
        (before.iter().filter(|row| !new.contains_key(&row.image)).map(|row| &*row.image).collect(), "gone"),
        (now.iter().filter(|row| !old.contains_key(&row.image)).map(|row| &*row.image).collect(), "new"),
        (both().filter(|(a, b)| a.class != b.class).map(|(row, _)| &*row.image).collect(), "of another class"),
        (
            both().filter(|(a, b)| a.class == b.class && a.bytes != b.bytes).map(|(row, _)| &*row.image).collect(),
            "of another size in bytes",
        ),
    ];
    let counts: Vec<String> = kinds
        .into_iter()
        .filter_map(|(names, kind)| {
            let images = if names.len() == 1 { "image" } else { "images" };
            Some(format!("{} {images} {kind} (the first: {})", names.len(), names.first()?))
        })
        .collect();
    if counts.is_empty() { "another order of the images".into() } else { counts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(image: &str, class: &str, bytes: u64) -> Row {
        Row { part: "train".into(), image: image.into(), class: class.into(), bytes }
    }

    #[test]
    fn what_became_of_the_images_is_counted_and_named() {
        let before = [row("a/1", "a", 5), row("a/2", "a", 6), row("b/1", "b", 7), row("b/2", "b", 8)];
        let now = [row("a/1", "a", 5), row("b/1", "a", 7), row("b/2", "b", 9), row("c/1", "c", 1), row("c/2", "c", 1)];
        assert_eq!(
            compared(&before, &now),
            "1 image gone (the first: a/2), 2 images new (the first: c/1), 1 image of another class (the first: b/1), \
             1 image of another size in bytes (the first: b/2)"
        );
        let [a, b, c, d] = before.clone();
        assert_eq!(compared(&before, &[b, a, c, d]), "another order of the images");
    }
}
