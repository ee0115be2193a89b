//! The hub's form: parquet files whose rows hold an encoded image and its labels.

use std::path::{Path, PathBuf};

use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::reader::FileReader;
use rayon::prelude::*;

use super::{Cifar, PIXELS, Records, SIZE};
use crate::columns::{Columns, labels, unreadable, values};
use crate::decode::decode;
use crate::{Error, Result};

/// The parquet files of a folder whose names begin so, sorted.
pub(super) fn files(folder: &Path, prefix: &str) -> Result<Vec<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(prefix) && name.ends_with(".parquet") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a file: the first column of bytes under `img` or `image`, and the set's column of labels.
pub(super) fn read(path: &Path, set: Cifar) -> Result<Records> {
    let columns = Columns::open(path)?;
    let image_column = columns.find(path, &["img.bytes", "image.bytes"])?;
    let label_column = columns.find(
        path,
        match set {
            Cifar::Ten => &["label", "labels"],
            Cifar::Hundred => &["fine_label"],
            Cifar::HundredCoarse => &["coarse_label"],
        },
    )?;

    let mut records = Records::default();
    for group in 0..columns.reader.num_row_groups() {
        let group = columns.reader.get_row_group(group).map_err(unreadable(path))?;
        let encoded = values::<ByteArrayType>(&*group, image_column).map_err(unreadable(path))?;
        let start = records.labels.len();
        let decoded: Vec<Vec<u8>> = encoded
            .par_iter()
            .enumerate()
            .map(|(row, bytes)| picture(path, start + row, bytes))
            .collect::<Result<_>>()?;
        records.pixels.reserve(decoded.len() * PIXELS);
        decoded.iter().for_each(|pixels| records.pixels.extend_from_slice(pixels));
        records.labels.extend(labels(&*group, label_column).map_err(unreadable(path))?);
    }
    Ok(records)
}

fn picture(path: &Path, row: usize, bytes: &ByteArray) -> Result<Vec<u8>> {
    let image = decode(bytes.data(), || format!("{} (row {row})", path.display()))?;
    if (image.height, image.width) != (SIZE, SIZE) {
        let message = format!("row {row} is {}x{} pixels, CIFAR's images are 32x32", image.height, image.width);
        return Err(Error::format(path, message));
    }
    Ok(image.pixels)
}
