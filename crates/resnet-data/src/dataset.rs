//! What a data set is, and the one that lies in memory.

use std::ops::Range;

use crate::{Error, Image, Result, SplitTable, TrainTestSplit};

/// A numbered collection of labelled images.
///
/// Indices run from 0 to `len() - 1`; `label` and `image` may panic on others.
pub trait Dataset: Send + Sync {
    /// Number of images.
    fn len(&self) -> usize;

    /// True where there are no images at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the classes; the label is the index here.
    fn classes(&self) -> &[String];

    /// The class of image `index`.
    fn label(&self, index: usize) -> u32;

    /// The pixels of image `index`, decoded where need be.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Decode`], naming the file.
    fn image(&self, index: usize) -> Result<Image>;

    /// Where image `index` comes from, for messages: a path, or the set's name and the index.
    fn origin(&self, index: usize) -> String {
        format!("image {index}")
    }

    /// What image `index` is called within the set, the same wherever the set lies; `None` where its number is all.
    fn name(&self, _index: usize) -> Option<String> {
        None
    }

    /// A number that changes with what is in image `index` and is had without decoding it: the size of its file in bytes,
    /// or a sum over its pixels where they lie in memory.
    fn stamp(&self, _index: usize) -> u64 {
        0
    }

    /// Images that lie side by side and are best read together; `None` where any order is as good as another.
    ///
    /// Shuffled, the runs come in random order, and their images mixed within a buffer of several runs.
    fn runs(&self) -> Option<Vec<Range<usize>>> {
        None
    }

    /// Says that from now on about so many images may be asked for in any order: what is kept in memory for them should
    /// last that long, and no longer.
    fn expect(&self, _images: usize) {}

    /// How the files were understood, in lines to be read before work begins: what there is in them, what is strange
    /// about them, what was left out by kind and number.
    fn understood(&self) -> Vec<String> {
        Vec::new()
    }

    /// How a folder was split into this set and the other one; `None` where they were apart to begin with.
    fn train_test_split(&self) -> Option<&TrainTestSplit> {
        None
    }

    /// Which image of a folder without splits belongs to which; `None` where they were apart to begin with.
    fn split_table(&self) -> Option<&SplitTable> {
        None
    }

    /// The set itself where all its images lie in memory, as bytes of one size.
    fn in_memory(&self) -> Option<&InMemory> {
        None
    }
}

/// A data set whose images all have one size and lie in memory as bytes.
#[derive(Clone, Debug)]
pub struct InMemory {
    name: String,
    height: usize,
    width: usize,
    pixels: Vec<u8>,
    labels: Vec<u32>,
    classes: Vec<String>,
}

impl InMemory {
    /// Takes the pixels of all images, one image after the other, each (row, column, RGB).
    ///
    /// # Errors
    /// [`Error::Format`] where the number of bytes is not `labels.len() * height * width * 3`; [`Error::Label`]
    /// where a label is no class.
    pub fn new(
        name: impl Into<String>,
        (height, width): (usize, usize),
        pixels: Vec<u8>,
        labels: Vec<u32>,
        classes: Vec<String>,
    ) -> Result<Self> {
        let name = name.into();
        let expected = [height, width, 3].iter().fold(labels.len(), |size, &side| size.saturating_mul(side));
        if pixels.len() != expected {
            let images = labels.len();
            return Err(Error::format(
                name,
                format!("{images} images of {height}x{width} take {expected} bytes, got {}", pixels.len()),
            ));
        }
        if let Some((record, &label)) = labels.iter().enumerate().find(|&(_, &label)| label as usize >= classes.len()) {
            return Err(Error::Label { path: name, record, label, classes: classes.len() });
        }
        Ok(Self { name, height, width, pixels, labels, classes })
    }

    /// As [`new`](Self::new), where the caller made the parts to fit.
    pub(crate) fn from_parts(
        name: String,
        (height, width): (usize, usize),
        pixels: Vec<u8>,
        labels: Vec<u32>,
        classes: Vec<String>,
    ) -> Self {
        debug_assert_eq!(pixels.len(), labels.len() * height * width * 3);
        Self { name, height, width, pixels, labels, classes }
    }

    /// Height and width of every image, in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// All labels, in order.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The bytes of all images, one after the other.
    pub fn all_pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes of image `index`, (row, column, RGB), without a copy.
    pub fn pixels(&self, index: usize) -> &[u8] {
        let size = self.height * self.width * 3;
        &self.pixels[index * size..(index + 1) * size]
    }

    /// The first `count` images (all of them where there are fewer): for trials on a part.
    pub fn truncate(&mut self, count: usize) {
        self.labels.truncate(count);
        self.pixels.truncate(self.labels.len() * self.height * self.width * 3);
    }
}

impl Dataset for InMemory {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    fn image(&self, index: usize) -> Result<Image> {
        Ok(Image { height: self.height, width: self.width, pixels: self.pixels(index).to_vec() })
    }

    fn origin(&self, index: usize) -> String {
        format!("{}[{index}]", self.name)
    }

    fn stamp(&self, index: usize) -> u64 {
        // FNV-1a, eight bytes at a time: some hundred megabytes are gone through before a training begins.
        let (words, rest) = self.pixels(index).as_chunks::<8>();
        let last = rest.iter().fold(rest.len() as u64, |word, &byte| word << 8 | u64::from(byte));
        let words = words.iter().map(|word| u64::from_le_bytes(*word)).chain([last]);
        words.fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0100_0000_01b3))
    }

    fn in_memory(&self) -> Option<&InMemory> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_sizes_and_labels_are_refused() {
        let classes = || vec!["a".to_string(), "b".to_string()];
        let short = InMemory::new("set", (2, 2), vec![0; 23], vec![0, 1], classes()).unwrap_err();
        assert!(short.to_string().contains("24 bytes, got 23"), "{short}");
        let label = InMemory::new("set", (2, 2), vec![0; 24], vec![0, 2], classes()).unwrap_err();
        assert!(label.to_string().contains("record 1 has label 2"), "{label}");
        let set = InMemory::new("set", (2, 2), (0..24).collect(), vec![0, 1], classes()).unwrap();
        assert_eq!(set.image(1).unwrap().get(0, 1), Some([15, 16, 17]));
        assert_eq!(set.image(1).unwrap().get(0, 2), None);
    }
}
