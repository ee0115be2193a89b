//! Which image of a folder without splits is for training and which for validation, as a file that people can read.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Component, Path};

use crate::names::{composed, path_text, shown};
use crate::{Error, Result, Split};

/// A table of a million long paths has half of it.
const MOST_BYTES: u64 = 256 << 20;

/// The splits of the images of a folder that has none of its own: `split.csv`, with the columns `path`, `class` and `part` (`train` or
/// `val`). Paths are those within the folder, so that it may be moved; their parts are separated by `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitTable {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    path: String,
    class: String,
    split: Split,
}

/// What became of the images of a part since its table was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The numbers of those that are still there.
    pub images: Vec<usize>,
    /// How many are gone.
    pub gone: usize,
    /// Images of the folder that are in no part.
    pub new: usize,
}

impl SplitTable {
    /// The file's name in a run directory.
    pub const FILE: &'static str = "split.csv";

    /// Of images given by path, class and part.
    pub(crate) fn new<'a>(rows: impl Iterator<Item = (&'a Path, &'a str, Split)>) -> Self {
        let row = |(path, class, split): (&Path, &str, Split)| Row { path: key(path), class: class.to_string(), split };
        Self { rows: rows.map(row).collect() }
    }

    /// Images in all parts.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text of the file.
    ///
    /// # Errors
    /// [`Error::Format`]; none in practice.
    pub fn to_csv(&self) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let wrong = |error: csv::Error| Error::format(Self::FILE, error);
        writer.write_record(["path", "class", "part"]).map_err(wrong)?;
        for Row { path, class, split } in &self.rows {
            writer.write_record([path.as_str(), class, &split.to_string()]).map_err(wrong)?;
        }
        writer.into_inner().map_err(|error| Error::format(Self::FILE, error))
    }

    /// Reads such a file.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read, [`Error::Format`] where it is no such table.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = resnet_files::read(path, MOST_BYTES).map_err(Error::io(path))?;
        // Spreadsheets write a byte order mark.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
        let wrong = |message: String| Error::format(path, format!("{message}; it needs the columns path,class,part"));
        let names = reader.headers().map_err(|error| wrong(error.to_string()))?.clone();
        let column = |name: &str| {
            names.iter().position(|found| found.trim() == name).ok_or_else(|| wrong(format!("no column {name}")))
        };
        let (at_path, at_class, at_part) = (column("path")?, column("class")?, column("part")?);
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| wrong(error.to_string()))?;
            let field = |at: usize| record.get(at).unwrap_or_default();
            let part = field(at_part).trim();
            let split = part.parse().map_err(|_| {
                let line = record.position().map_or(0, csv::Position::line);
                wrong(format!("line {line}: the part {} is neither train nor val", shown(part)))
            })?;
            rows.push(Row { path: field(at_path).to_string(), class: field(at_class).to_string(), split });
        }
        if rows.is_empty() {
            return Err(Error::format(path, "it has no rows: put back the one that was written with the weights"));
        }
        Ok(Self { rows })
    }

    /// Which of these images, given by their [paths within the folder](crate::Folder::inner_paths), are those of a part: of
    /// [`Split::Train`], or of validation. Paths are compared in one Unicode form where they differ as they are.
    pub fn find<'a>(&self, paths: impl IntoIterator<Item = &'a Path>, split: Split) -> Found {
        let is_train = |split: Split| split == Split::Train;
        let keys: Vec<String> = paths.into_iter().map(key).collect();
        let exact: HashMap<&str, usize> = keys.iter().enumerate().map(|(index, key)| (key.as_str(), index)).collect();
        let alike: HashMap<String, usize> =
            keys.iter().enumerate().map(|(index, key)| (composed(key), index)).collect();
        let mut known = vec![false; keys.len()];
        let mut found = Found::default();
        for row in &self.rows {
            let index = exact.get(row.path.as_str()).or_else(|| alike.get(&composed(&row.path))).copied();
            if let Some(index) = index {
                known[index] = true;
            }
            if is_train(row.split) == is_train(split) {
                match index {
                    Some(index) => found.images.push(index),
                    None => found.gone += 1,
                }
            }
        }
        found.new = known.iter().filter(|known| !**known).count();
        found.images.sort_unstable();
        found.images.dedup();
        found
    }
}

/// A path within a folder, as it stands in the table.
fn key(path: &Path) -> String {
    let parts = path.components().filter(|part| !matches!(part, Component::CurDir));
    parts.map(|part| path_text(Path::new(part.as_os_str()))).collect::<Vec<Cow<'_, str>>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte that is no text, and a name that looks as it would be written.
    #[cfg(unix)]
    #[test]
    fn names_that_look_escaped_are_other_rows() {
        use std::os::unix::ffi::OsStrExt;
        let path = |bytes: &'static [u8]| Path::new(std::ffi::OsStr::from_bytes(bytes));
        let names = [path(b"a/\xff1.png"), path(b"a/\\xFF1.png"), path(b"a/\\\\xFF1.png"), path(b"a\\b/1.png")];
        let keys = names.map(key);
        assert_eq!(keys, ["a/\\xFF1.png", "a/\\\\xFF1.png", "a/\\\\\\\\xFF1.png", "a\\b/1.png"]);
    }

    #[test]
    fn tables_go_round_with_odd_names() {
        let names =
            ["ant/1.jpg", "ant/a,b.jpg", "ant/\"quoted\".jpg", "ant/two\nlines.jpg", "bee/ blank .jpg", "bee/-1.jpg"];
        let rows = names.iter().enumerate().map(|(index, name)| {
            let split = if index % 2 == 0 { Split::Train } else { Split::Val };
            (Path::new(*name), &name[..3], split)
        });
        let table = SplitTable::new(rows);
        let text = String::from_utf8(table.to_csv().unwrap()).unwrap();
        assert!(text.starts_with("path,class,part\nant/1.jpg,ant,train\n\"ant/a,b.jpg\",ant,val\n"), "{text}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("split.csv");
        std::fs::write(&file, &text).unwrap();
        assert_eq!(SplitTable::read(&file).unwrap(), table);
        std::fs::write(&file, "\u{feff}class,part,path\nant,test,ant/1.jpg\n").unwrap();
        assert_eq!(SplitTable::read(&file).unwrap().rows[0].split, Split::Test);
        for (wrong, part) in [
            ("path,class\n", "no column part"),
            ("path,class,part\na,b,c\n", "line 2"),
            ("path,class,part\n", "no rows"),
        ] {
            std::fs::write(&file, wrong).unwrap();
            let message = SplitTable::read(&file).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("split.csv"), "{message}");
        }
    }
}
