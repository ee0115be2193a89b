//! The hub's layout: parquet files with a column of pictures (bytes and path) and a column of labels, read row group by
//! row group.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use lru::LruCache;
use rayon::prelude::*;

use super::choice::{Chosen, MOST_SHOWN, Taken};
use super::classes::{Labelled, Shards};
use super::files::files;
use super::labels::{Classes, Given, Label, classes};
use super::own_names::one_list;
use super::parquet_index::{Indexed, index};
use super::summary::{MINUS_ONE, Summary, many};
use crate::columns::{Columns, Texts, Values};
use crate::decode::decode;
use crate::kind::Kind;
use crate::names::shown;
use crate::{Dataset, Error, Image, Result, Split};

/// Row groups kept before anybody says how many are wanted.
const KEPT: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// A row group: its file, its number there, its first image.
#[derive(Clone, Copy, Debug)]
struct Group {
    file: usize,
    number: usize,
    start: usize,
}

/// An image's row in its group, and its class.
#[derive(Clone, Copy, Debug)]
struct Row {
    number: u32,
    label: u32,
}

/// What a row group has of pictures.
struct Pictures {
    bytes: Option<Texts>,
    /// Read only where a row has no bytes.
    paths: Option<Texts>,
}

/// Pictures of a row group, read by whoever wants one first.
type Shared = Arc<OnceLock<Result<Pictures, String>>>;

/// Images in parquet files. Row groups are read when one of their images is wanted and kept as long as
/// [`expect`](Dataset::expect) asks for: memory holds some of them, never a file.
pub struct ParquetShards {
    files: Vec<PathBuf>,
    columns: Vec<Taken>,
    groups: Vec<Group>,
    rows: Vec<Row>,
    classes: Vec<String>,
    words: bool,
    kept: Mutex<LruCache<usize, Shared>>,
    summary: Summary,
}

impl ParquetShards {
    /// Reads the labels of a split's files: in a folder, or named as `DIR/train-{00000..00293}-of-00294.parquet`; with
    /// `?image=NAME&label=NAME` after it, those columns.
    ///
    /// Names of classes come from the files' own metadata, as the hub writes them; else from `classes.txt` beside them;
    /// else words are names.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there are none; [`Error::Format`] naming the file that is no parquet file of images
    /// and labels; [`Error::Io`].
    pub fn open(place: &str, split: Split) -> Result<Self> {
        let (folder, chosen) = Chosen::of(place)?;
        let found = files(folder, "parquet", split)?;
        let mut indexed: Vec<Indexed> =
            found.files.par_iter().map(|path| index(path, &chosen)).collect::<Result<_>>()?;
        let mut left_out = found.left_out.clone();
        let (mut groups, mut rows, mut labels, mut columns) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut notes = found.notes.clone();
        let own = one_list(&found.files, &mut indexed, &mut notes)?;
        for (file, found_in) in indexed.into_iter().enumerate() {
            let path = &found.files[file];
            if found_in.passed_over {
                left_out
                    .add(["file's metadata, which is no JSON", "files' metadata, which is no JSON"], || shown(path));
            }
            found_in.notes.into_iter().for_each(|note| {
                if !notes.contains(&note) {
                    notes.push(note)
                }
            });
            columns.push(found_in.taken);
            if found_in.groups.iter().all(Vec::is_empty) {
                left_out.add(["file without rows", "files without rows"], || shown(path));
            }
            for (number, group) in found_in.groups.into_iter().enumerate() {
                let start = rows.len();
                for (row, label) in group.into_iter().enumerate() {
                    match label {
                        Ok(Label::Number(-1)) => left_out.add(MINUS_ONE, || at(path, number, row)),
                        Ok(label) => {
                            rows.push(Row { number: row as u32, label: 0 });
                            labels.push(label);
                        }
                        Err(None) => {
                            left_out.add(["row without a label", "rows without a label"], || at(path, number, row))
                        }
                        Err(Some(why)) => left_out
                            .add(["row whose label cannot be read", "rows whose label cannot be read"], || {
                                format!("{}: {why}", at(path, number, row))
                            }),
                    }
                }
                if rows.len() > start {
                    groups.push(Group { file, number, start });
                }
            }
        }
        if rows.is_empty() {
            if left_out.count(MINUS_ONE) > 0 {
                let message = "every label is -1: this part has no labels; name the files of another";
                return Err(Error::format(folder, message));
            }
            let hint = left_out.line().unwrap_or_else(|| "name other files".to_string());
            return Err(Error::NotFound { path: folder.into(), what: "rows with labels".to_string(), hint });
        }
        let row_at = |index: usize| {
            let Group { file, number, .. } = groups[group_of(&groups, index)];
            (found.files[file].as_path(), within(number, rows[index].number as usize))
        };
        let given = Given { shard: &found.files[0], labels: &labels, own, at: &row_at };
        let Classes { labels, names, words } = classes(given)?;
        rows.iter_mut().zip(labels).for_each(|(row, label)| row.label = label);
        let files = format!("{} of {}", many(groups.len(), "row group"), many(found.files.len(), "parquet file"));
        let name = format!("parquet:{place}");
        let summary = Summary { name, split, files, undivided: found.undivided, notes, left_out };
        let kept = Mutex::new(LruCache::new(KEPT));
        Ok(Self { files: found.files, columns, groups, rows, classes: names, words, kept, summary })
    }

    /// The row group that an image stands in.
    fn group(&self, index: usize) -> usize {
        group_of(&self.groups, index)
    }

    fn pictures(&self, group: usize) -> Shared {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.get_or_insert(group, Shared::default))
    }

    fn read(&self, group: usize) -> Result<Pictures> {
        let Group { file, number, .. } = self.groups[group];
        let columns = Columns::open(&self.files[file])?;
        let texts = |column: Option<usize>| -> Result<Option<Texts>> {
            let Some(column) = column.filter(|&column| column < columns.leaves().len()) else { return Ok(None) };
            match columns.values(number, column)? {
                Values::Bytes(texts) => Ok(Some(texts)),
                Values::Numbers(_) => Err(Error::format(&self.files[file], "its columns have changed since")),
            }
        };
        if number >= columns.groups() {
            return Err(Error::format(&self.files[file], "its row groups have changed since"));
        }
        let Taken { bytes, paths, .. } = self.columns[file];
        let bytes = texts(bytes)?;
        let whole = bytes.as_ref().is_some_and(|bytes| (0..bytes.len()).all(|row| bytes.get(row).is_some()));
        let paths = if whole { None } else { texts(paths)? };
        Ok(Pictures { bytes, paths })
    }

    #[cfg(test)]
    pub(super) fn kept_groups(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn length(&self, group: usize) -> usize {
        let end = self.groups.get(group + 1).map_or(self.rows.len(), |next| next.start);
        end - self.groups[group].start
    }
}

fn group_of(groups: &[Group], index: usize) -> usize {
    groups.partition_point(|group| group.start <= index) - 1
}

/// A row by its group and number.
fn within(group: usize, row: usize) -> String {
    format!("row group {group}, row {row}")
}

/// A row by its file, group and number.
fn at(path: &Path, group: usize, row: usize) -> String {
    format!("{}, {}", shown(path), within(group, row))
}

impl Shards for ParquetShards {
    fn note(&mut self, note: String) {
        self.summary.notes.push(note);
    }

    fn relabelled(mut self, classes: Vec<String>, change: impl Fn(u32) -> u32) -> Self {
        self.rows.iter_mut().for_each(|row| row.label = change(row.label));
        Self { classes, ..self }
    }

    fn labelled(&self) -> Labelled {
        if self.words { Labelled::Words } else { Labelled::Numbers }
    }
}

impl Dataset for ParquetShards {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.rows[index].label
    }

    fn image(&self, index: usize) -> Result<Image> {
        let group = self.group(index);
        let (row, file) = (self.rows[index].number as usize, &self.files[self.groups[group].file]);
        let pictures = self.pictures(group);
        let pictures = match pictures.get_or_init(|| self.read(group).map_err(|error| error.to_string())) {
            Ok(pictures) => pictures,
            // The message names the file already.
            Err(message) => return Err(Error::Shard { message: message.clone() }),
        };
        let broken = |message: String| Error::Decode { path: self.origin(index), message };
        let text = |text: &[u8]| -> Option<Result<Image>> {
            if is_address(text) {
                let address = short(&String::from_utf8_lossy(text));
                return Some(Err(broken(format!("the row has an address, {address}: fetch the pictures first"))));
            }
            from_base64(text).map(|bytes| decode(&bytes, || self.origin(index)))
        };
        if let Some(bytes) = pictures.bytes.as_ref().and_then(|bytes| bytes.get(row)) {
            return text(bytes).unwrap_or_else(|| decode(bytes, || self.origin(index)));
        }
        let Some(path) = pictures.paths.as_ref().and_then(|paths| paths.get(row)) else {
            return Err(broken("the row has no picture".to_string()));
        };
        if let Some(image) = text(path) {
            return image;
        }
        let path = String::from_utf8_lossy(path);
        let name = short(&path);
        let bytes = beside(file, &path).and_then(|file| crate::decode::read_file(&file).ok());
        let bytes =
            bytes.ok_or_else(|| broken(format!("the row has no bytes, and {name} is no file beside the shard")))?;
        decode(&bytes, || format!("{} ({name})", self.origin(index)))
    }

    fn origin(&self, index: usize) -> String {
        let Group { file, number, .. } = self.groups[self.group(index)];
        at(&self.files[file], number, self.rows[index].number as usize)
    }

    fn name(&self, index: usize) -> Option<String> {
        let Group { file, number, .. } = self.groups[self.group(index)];
        let row = self.rows[index].number;
        Some(format!("{}/{number}/{row}", self.files[file].file_name().unwrap_or_default().display()))
    }

    fn stamp(&self, index: usize) -> u64 {
        // An image's own size stands in the column, which is not read for that.
        let file = self.groups[self.group(index)].file;
        self.files[file].metadata().map_or(0, |file| file.len())
    }

    fn runs(&self) -> Option<Vec<Range<usize>>> {
        let run = |group: usize| self.groups[group].start..self.groups[group].start + self.length(group);
        Some((0..self.groups.len()).map(run).collect())
    }

    fn expect(&self, images: usize) {
        let mean = self.rows.len().div_ceil(self.groups.len()).max(1);
        // A buffer or a batch may begin and end within a group.
        let groups = NonZeroUsize::new(images.div_ceil(mean) + 2).unwrap_or(KEPT);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).resize(groups);
    }

    fn understood(&self) -> Vec<String> {
        self.summary.lines(self)
    }
}

/// A text that may be long, in few characters.
fn short(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", shown(&text[..end])),
        None => shown(text),
    }
}

/// Whether this is no picture but says where one is.
fn is_address(text: &[u8]) -> bool {
    let scheme = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    [&b"http://"[..], b"https://", b"s3://", b"gs://"].iter().any(|known| scheme.starts_with(known))
}

/// The bytes of a picture that is written as text: in base64 of either alphabet, with a `data:` address before it or
/// without.
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = match text.strip_prefix(b"data:") {
        Some(rest) => &rest[rest.iter().take(BEFORE_DATA).position(|&byte| byte == b',')? + 1..],
        None => text,
    };
    let plain = |bytes: &[u8]| -> Vec<u8> {
        let kept = bytes.iter().filter(|byte| !byte.is_ascii_whitespace());
        kept.map(|byte| {
            if let b'-' = byte {
                b'+'
            } else if let b'_' = byte {
                b'/'
            } else {
                *byte
            }
        })
        .collect()
    };
    // What does not begin as a picture is not decoded any further.
    let mut head = plain(&text[..text.len().min(64)]);
    head.truncate(head.len() / 4 * 4);
    if Kind::of_content(&BASE64.decode(head).ok()?) == Kind::Other {
        return None;
    }
    BASE64.decode(plain(text)).ok()
}

/// Text before the comma of a `data:` address is no longer.
const BEFORE_DATA: usize = 128;

/// Padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The file of a path that leads on from a shard's folder; other paths are those of somebody else's disk.
fn beside(shard: &Path, path: &str) -> Option<PathBuf> {
    let inner = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let file = shard.parent()?.join(path);
    (inner && file.is_file()).then_some(file)
}
