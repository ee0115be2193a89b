//! The small files of a run: replaced whole, so that a reader never sees half of one, and read within a limit.

use std::path::Path;

use resnet_models::Json;
use serde::Serialize;

use crate::{Error, Result};

/// Replaces a file whole or not at all.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    resnet_files::write(path, content).map_err(Error::io("write", path))
}

/// No table, configuration or log of a run is larger.
const MOST_BYTES: u64 = 1 << 30;

/// The bytes of a file that a run left, or a user wrote.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    resnet_files::read(path, MOST_BYTES)
}

/// The text of such a file.
pub fn read_text(path: &Path) -> std::io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not text in UTF-8"))
}

/// A value of a card of weights.
pub(crate) fn json(value: &impl Serialize) -> Result<Json> {
    Json::of(value).map_err(|error| Error::Invalid(format!("metadata: {error}")))
}

/// Rows as CSV with a line of their fields' names.
pub fn csv<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Result<String> {
    written(csv::Writer::from_writer(Vec::new()), rows)
}

/// The names of a row's fields, as the first line of [`csv()`].
pub fn names<T: Serialize + Default>() -> Result<String> {
    Ok(csv([T::default()])?.lines().next().unwrap_or_default().to_string())
}

/// Rows without names as CSV, under these.
pub fn csv_with<T: Serialize>(names: &[&str], rows: impl IntoIterator<Item = T>) -> Result<String> {
    let writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    Ok(names.join(",") + "\n" + &written(writer, rows)?)
}

fn written<T: Serialize>(mut writer: csv::Writer<Vec<u8>>, rows: impl IntoIterator<Item = T>) -> Result<String> {
    let invalid = |error: String| Error::Invalid(format!("a table cannot be written as CSV: {error}"));
    for row in rows {
        writer.serialize(row).map_err(|error| invalid(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| invalid(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| invalid(error.to_string()))
}
