//! The hub's layout: parquet files with a column `image` (bytes and path) and a column `label`, read row group by row
//! group.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lru::LruCache;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::reader::FileReader;
use rayon::prelude::*;

use super::{Named, class_names, files};
use crate::columns::{Columns, labels, unreadable, values};
use crate::decode::decode;
use crate::{Dataset, Error, Image, Result, Split};

/// Where the encoded images stand.
const IMAGES: [&str; 2] = ["image.bytes", "img.bytes"];
/// Where the labels stand.
const LABELS: [&str; 3] = ["label", "labels", "fine_label"];
/// Row groups kept before anybody says how many are wanted.
const KEPT: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// A row group: its file, its number there, its first image.
#[derive(Clone, Copy, Debug)]
struct Group {
    file: usize,
    number: usize,
    start: usize,
}

/// Encoded images of a row group, read by whoever wants one first.
type Rows = Arc<OnceLock<Result<Vec<ByteArray>, String>>>;

/// Images in parquet files. Row groups are read when one of their images is wanted and kept as long as
/// [`expect`](Dataset::expect) asks for: memory holds some of them, never a file.
pub struct ParquetShards {
    files: Vec<PathBuf>,
    groups: Vec<Group>,
    labels: Vec<u32>,
    classes: Vec<String>,
    kept: Mutex<LruCache<usize, Rows>>,
}

impl ParquetShards {
    /// Reads the labels of a split's files: in a folder, or named as `DIR/train-{00000..00293}-of-00294.parquet`.
    ///
    /// Names of classes come from the files' own metadata, as the hub writes them; else from `classes.txt` beside them.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there are none; [`Error::Format`] naming the file that is no parquet file of images
    /// and labels; [`Error::Io`].
    pub fn open(place: &str, split: Split) -> Result<Self> {
        let files = files(place, "parquet", split)?;
        let found: Vec<_> = files
            .par_iter()
            .map(|path| -> Result<_> {
                let columns = Columns::open(path)?;
                columns.find(path, &IMAGES)?;
                let column = columns.find(path, &LABELS)?;
                let groups = (0..columns.reader.num_row_groups())
                    .map(|group| labels(&*columns.reader.get_row_group(group)?, column))
                    .collect::<Result<Vec<Vec<u32>>, _>>()
                    .map_err(unreadable(path))?;
                let names = columns.metadata("huggingface").and_then(|text| names_in(text, &LABELS));
                Ok((groups, names))
            })
            .collect::<Result<_>>()?;
        let (mut groups, mut all, mut names) = (Vec::new(), Vec::new(), None);
        for (file, (found, own)) in found.into_iter().enumerate() {
            names = names.or(own);
            for (number, labels) in found.into_iter().enumerate().filter(|(_, labels)| !labels.is_empty()) {
                groups.push(Group { file, number, start: all.len() });
                all.extend(labels);
            }
        }
        let greatest = all.iter().copied().max().ok_or_else(|| Error::NotFound {
            path: place.into(),
            what: "rows in the parquet files".to_string(),
            hint: "download them again".to_string(),
        })?;
        if greatest == u32::MAX {
            let message = "a label is below 0: this part has no labels; name the files of another";
            return Err(Error::format(place, message));
        }
        let classes = match names {
            Some(names) if names.len() > greatest as usize => names,
            _ => class_names(&files[0], greatest)?,
        };
        Ok(Self { files, groups, labels: all, classes, kept: Mutex::new(LruCache::new(KEPT)) })
    }

    /// The row group that an image stands in, and its row there.
    fn find(&self, index: usize) -> (usize, usize) {
        let group = self.groups.partition_point(|group| group.start <= index) - 1;
        (group, index - self.groups[group].start)
    }

    fn rows(&self, group: usize) -> Rows {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.get_or_insert(group, Rows::default))
    }

    fn read(&self, group: usize) -> Result<Vec<ByteArray>> {
        let Group { file, number, .. } = self.groups[group];
        let path = &self.files[file];
        let columns = Columns::open(path)?;
        let column = columns.find(path, &IMAGES)?;
        let group = columns.reader.get_row_group(number).map_err(unreadable(path))?;
        values::<ByteArrayType>(&*group, column).map_err(unreadable(path))
    }

    #[cfg(test)]
    pub(super) fn kept_groups(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn length(&self, group: usize) -> usize {
        let end = self.groups.get(group + 1).map_or(self.labels.len(), |next| next.start);
        end - self.groups[group].start
    }
}

/// The classes' names in what the hub's library writes of its features.
pub(super) fn names_in(text: &str, columns: &[&str]) -> Option<Vec<String>> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let features = value.get("info")?.get("features")?;
    let names = columns.iter().find_map(|column| features.get(column))?.get("names")?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_string)).collect()
}

impl Named for ParquetShards {
    fn with_classes(self, classes: Vec<String>) -> Self {
        Self { classes, ..self }
    }
}

impl Dataset for ParquetShards {
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
        let (group, row) = self.find(index);
        let rows = self.rows(group);
        match rows.get_or_init(|| self.read(group).map_err(|error| error.to_string())) {
            Ok(rows) => decode(rows[row].data(), || self.origin(index)),
            // The message names the file already.
            Err(message) => Err(Error::Shard { message: message.clone() }),
        }
    }

    fn origin(&self, index: usize) -> String {
        let (group, row) = self.find(index);
        let Group { file, number, .. } = self.groups[group];
        format!("{} (row group {number}, row {row})", self.files[file].display())
    }

    fn name(&self, index: usize) -> Option<String> {
        let (group, row) = self.find(index);
        let Group { file, number, .. } = self.groups[group];
        Some(format!("{}/{number}/{row}", self.files[file].file_name().unwrap_or_default().display()))
    }

    fn stamp(&self, index: usize) -> u64 {
        // An image's own size stands in the column, which is not read for that.
        let file = self.groups[self.find(index).0].file;
        self.files[file].metadata().map_or(0, |file| file.len())
    }

    fn runs(&self) -> Option<Vec<Range<usize>>> {
        let run = |group: usize| self.groups[group].start..self.groups[group].start + self.length(group);
        Some((0..self.groups.len()).map(run).collect())
    }

    fn expect(&self, images: usize) {
        let mean = self.labels.len().div_ceil(self.groups.len()).max(1);
        // A buffer or a batch may begin and end within a group.
        let groups = NonZeroUsize::new(images.div_ceil(mean) + 2).unwrap_or(KEPT);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).resize(groups);
    }
}
