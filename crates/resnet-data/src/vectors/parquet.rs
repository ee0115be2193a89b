//! Parquet with the columns `path` (text) and `features` (list of f32).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, FloatType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::{Error, Result};

const SCHEMA: &str = "message vectors {
    required binary path (UTF8);
    required group features (LIST) { repeated group list { required float element; } }
}";

/// Rows that are written together.
const GROUP: usize = 4096;

pub(super) struct Parquet {
    path: PathBuf,
    writer: SerializedFileWriter<File>,
    names: Vec<ByteArray>,
    values: Vec<f32>,
    /// 0 where a vector begins, 1 within it.
    repetition: Vec<i16>,
    /// 1 for every value: none is missing.
    definition: Vec<i16>,
}

impl Parquet {
    /// `path` is what the file will be called.
    pub(super) fn begin(path: &Path, file: File) -> Result<Self> {
        let wrong = failed(path);
        let schema = Arc::new(parse_message_type(SCHEMA).map_err(&wrong)?);
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(&wrong)?;
        let path = path.to_path_buf();
        let (names, values, repetition, definition) = Default::default();
        Ok(Self { path, writer, names, values, repetition, definition })
    }

    pub(super) fn push(&mut self, image: &str, values: &[f32]) -> Result<()> {
        self.names.push(image.into());
        self.values.extend(values);
        self.repetition.extend((0..values.len()).map(|i| i16::from(i > 0)));
        self.definition.extend(values.iter().map(|_| 1));
        if self.names.len() == GROUP { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let path = self.path.clone();
        self.write_group().map_err(failed(&path))
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.names.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        if let Some(mut column) = group.next_column()? {
            column.typed::<ByteArrayType>().write_batch(&self.names, None, None)?;
            column.close()?;
        }
        if let Some(mut column) = group.next_column()? {
            let (definition, repetition) = (Some(&self.definition[..]), Some(&self.repetition[..]));
            column.typed::<FloatType>().write_batch(&self.values, definition, repetition)?;
            column.close()?;
        }
        group.close()?;
        self.names.clear();
        self.values.clear();
        self.repetition.clear();
        self.definition.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.flush()?;
        let path = self.path;
        self.writer.close().map(drop).map_err(failed(&path))
    }
}

/// What the system says is told as such, not as the format's.
fn failed(path: &Path) -> impl Fn(ParquetError) -> Error {
    let path = path.to_path_buf();
    move |error| {
        let source = match error {
            ParquetError::External(error) => match error.downcast::<std::io::Error>() {
                Ok(error) => *error,
                Err(error) => std::io::Error::other(error),
            },
            other => std::io::Error::other(other),
        };
        Error::write(&path)(source)
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use crate::vectors::VectorWriter;

    #[test]
    fn rows_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.parquet");
        let mut writer = VectorWriter::create(&path, 2).unwrap();
        for i in 0..5000 {
            writer.push(format!("{i}.jpg"), &[i as f32, 0.5]).unwrap();
        }
        writer.finish().unwrap();
        let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
        assert_eq!((reader.metadata().file_metadata().num_rows(), reader.num_row_groups()), (5000, 2));
        let row = reader.get_row_iter(None).unwrap().nth(4999).unwrap().unwrap();
        assert_eq!(row.to_string(), "{path: \"4999.jpg\", features: [4999.0, 0.5]}");
    }
}
