//! Columns of parquet files, without a data-frame library.

use std::fs::File;
use std::path::Path;

use parquet::basic::Type;
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

use crate::{Error, Result};

/// A file, and what its columns are called.
pub(crate) struct Columns {
    pub(crate) reader: SerializedFileReader<File>,
    names: Vec<String>,
}

impl Columns {
    /// Reads a file's footer.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        let reader = SerializedFileReader::new(file).map_err(unreadable(path))?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let names = schema.columns().iter().map(|column| column.path().string()).collect();
        Ok(Self { reader, names })
    }

    /// The number of the first column that has one of these names.
    pub(crate) fn find(&self, path: &Path, wanted: &[&str]) -> Result<usize> {
        self.names.iter().position(|name| wanted.contains(&name.as_str())).ok_or_else(|| {
            let (wanted, names) = (wanted.join(" or "), self.names.join(", "));
            Error::format(path, format!("no column {wanted} among {names}; is it another data set?"))
        })
    }

    /// The value under a key of the file's metadata.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        let pairs = self.reader.metadata().file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
    }
}

/// For `map_err`: a file that cannot be read as parquet.
pub(crate) fn unreadable(path: &Path) -> impl Fn(ParquetError) -> Error + Copy + '_ {
    move |error| Error::format(path, format!("not a readable parquet file ({error}); download it again"))
}

/// All values of a column, of which none may be missing.
pub(crate) fn values<T: DataType>(group: &dyn RowGroupReader, column: usize) -> Result<Vec<T::T>, ParquetError> {
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

/// A column of whole numbers, as labels. What is no u32 becomes the greatest, which is no class.
pub(crate) fn labels(group: &dyn RowGroupReader, column: usize) -> Result<Vec<u32>, ParquetError> {
    let label = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
    Ok(match group.metadata().column(column).column_type() {
        Type::INT32 => values::<Int32Type>(group, column)?.into_iter().map(|v| label(i64::from(v))).collect(),
        _ => values::<Int64Type>(group, column)?.into_iter().map(label).collect(),
    })
}
