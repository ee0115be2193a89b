//! The hub's form: parquet files whose rows hold an encoded image and its labels.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Cifar, PIXELS, Records, SIZE};
use crate::columns::{Columns, Values};
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
    let find = |wanted: &[&str]| {
        columns.find(wanted).ok_or_else(|| {
            let names: Vec<&str> = columns.leaves().iter().map(|leaf| leaf.path.as_str()).collect();
            let (wanted, names) = (wanted.join(" or "), names.join(", "));
            Error::format(path, format!("no column {wanted} among {names}; is it another data set?"))
        })
    };
    let image_column = find(&["img.bytes", "image.bytes"])?;
    let label_column = find(match set {
        Cifar::Ten => &["label", "labels"],
        Cifar::Hundred => &["fine_label"],
        Cifar::HundredCoarse => &["coarse_label"],
    })?;

    let mut records = Records::default();
    for group in 0..columns.groups() {
        let (encoded, labels) = (columns.values(group, image_column)?, columns.values(group, label_column)?);
        let (Values::Bytes(encoded), Values::Numbers(labels)) = (encoded, labels) else {
            return Err(Error::format(
                path,
                "its images are no bytes or its labels no numbers; is it another data set?",
            ));
        };
        let start = records.labels.len();
        let decoded: Vec<Vec<u8>> = (0..encoded.len())
            .into_par_iter()
            .map(|row| picture(path, start + row, encoded.get(row).unwrap_or_default()))
            .collect::<Result<_>>()?;
        records.pixels.reserve(decoded.len() * PIXELS);
        decoded.iter().for_each(|pixels| records.pixels.extend_from_slice(pixels));
        for (row, label) in labels.into_iter().enumerate() {
            let label = label.and_then(|label| u32::try_from(label).ok());
            let label = label.ok_or_else(|| Error::format(path, format!("row {} has no label", start + row)))?;
            records.labels.push(label);
        }
    }
    Ok(records)
}

fn picture(path: &Path, row: usize, bytes: &[u8]) -> Result<Vec<u8>> {
    let image = decode(bytes, || format!("{} (row {row})", path.display()))?;
    if (image.height, image.width) != (SIZE, SIZE) {
        let message = format!("row {row} is {}x{} pixels, CIFAR's images are 32x32", image.height, image.width);
        return Err(Error::format(path, message));
    }
    Ok(image.pixels)
}
