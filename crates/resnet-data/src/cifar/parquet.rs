//! The hub's form: parquet files whose rows hold an encoded image and its labels.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use rayon::prelude::*;

use super::{Cifar, PIXELS, Records, SIZE};
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
    let wrong =
        |error: ParquetError| Error::format(path, format!("not a readable parquet file ({error}); download it again"));
    let file = File::open(path).map_err(Error::io(path))?;
    let reader = SerializedFileReader::new(file).map_err(wrong)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let names: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
    let column = |wanted: &[&str]| {
        names.iter().position(|name| wanted.contains(&name.as_str())).ok_or_else(|| {
            Error::format(
                path,
                format!("no column {} among {}; is it another data set?", wanted.join(" or "), names.join(", ")),
            )
        })
    };
    let images = column(&["img.bytes", "image.bytes"])?;
    let labels = column(match set {
        Cifar::Ten => &["label", "labels"],
        Cifar::Hundred => &["fine_label"],
        Cifar::HundredCoarse => &["coarse_label"],
    })?;

    let mut records = Records::default();
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(wrong)?;
        let encoded = values::<ByteArrayType>(&*group, images).map_err(wrong)?;
        let classes = values::<Int64Type>(&*group, labels).map_err(wrong)?;
        if encoded.len() != classes.len() {
            return Err(Error::format(path, format!("{} images but {} labels", encoded.len(), classes.len())));
        }
        let start = records.labels.len();
        let decoded: Vec<Vec<u8>> = encoded
            .par_iter()
            .enumerate()
            .map(|(row, bytes)| picture(path, start + row, bytes))
            .collect::<Result<_>>()?;
        records.pixels.reserve(decoded.len() * PIXELS);
        decoded.iter().for_each(|pixels| records.pixels.extend_from_slice(pixels));
        // A label that is no u32 becomes one that is no class, which the caller refuses.
        records.labels.extend(classes.into_iter().map(|label| u32::try_from(label).unwrap_or(u32::MAX)));
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

/// All values of a column that are there.
fn values<T: DataType>(group: &dyn RowGroupReader, column: usize) -> Result<Vec<T::T>, ParquetError> {
    let found = group.metadata().column(column).column_type();
    if found != T::get_physical_type() {
        return Err(ParquetError::General(format!("column {column} holds {found}, not {}", T::get_physical_type())));
    }
    let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
    let mut reader = get_typed_column_reader::<T>(group.get_column_reader(column)?);
    let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let (records, ..) =
            reader.read_records(rows - read, Some(&mut definitions), Some(&mut repetitions), &mut values)?;
        if records == 0 {
            break;
        }
        read += records;
    }
    if values.len() != rows {
        return Err(ParquetError::General(format!("{rows} rows but {} values in column {column}", values.len())));
    }
    Ok(values)
}
