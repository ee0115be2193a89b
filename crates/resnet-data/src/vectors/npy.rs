//! NumPy's format, version 1.0: a header of text, then the values.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The header's length: room for any shape, so that it can be written again when the number of rows is known.
const HEADER: usize = 128;

pub(super) struct Npy {
    path: PathBuf,
    file: BufWriter<File>,
    width: usize,
    names: String,
}

impl Npy {
    /// `path` is what the file will be called.
    pub(super) fn begin(path: &Path, file: File, width: usize) -> Result<Self> {
        let mut npy = Self { path: path.to_path_buf(), file: BufWriter::new(file), width, names: String::new() };
        npy.write(&header(0, width))?;
        Ok(npy)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::write(&self.path))
    }

    pub(super) fn push(&mut self, image: &str, values: &[f32]) -> Result<()> {
        if values.len() != self.width {
            return Err(Error::format(&self.path, format!("{} values in a row of {}", values.len(), self.width)));
        }
        self.names.push_str(image);
        self.names.push('\n');
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.write(&bytes)
    }

    /// Gives the images' paths, a line each.
    pub(super) fn finish(mut self, rows: usize) -> Result<String> {
        self.file.seek(SeekFrom::Start(0)).map_err(Error::write(&self.path))?;
        self.write(&header(rows, self.width))?;
        self.file.flush().map_err(Error::write(&self.path))?;
        Ok(self.names)
    }
}

fn header(rows: usize, width: usize) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(((HEADER - 10) as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    // Spaces up to a line feed, as the format wants it.
    bytes.resize(HEADER - 1, b' ');
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use crate::vectors::VectorWriter;

    #[test]
    fn candle_reads_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.npy");
        let mut writer = VectorWriter::create(&path, 3).unwrap();
        writer.push("a.jpg", &[1.0, 2.0, 3.0]).unwrap();
        writer.push("b.jpg", &[4.0, 5.0, 6.5]).unwrap();
        assert!(writer.push("c.jpg", &[1.0]).is_err());
        assert!(!path.exists(), "not before it is complete");
        writer.finish().unwrap();
        let read = candle_core::Tensor::read_npy(&path).unwrap();
        assert_eq!(read.to_vec2::<f32>().unwrap(), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]]);
        assert_eq!(std::fs::read_to_string(folder.path().join("f.paths.txt")).unwrap(), "a.jpg\nb.jpg\n");
        let wrong = VectorWriter::create(folder.path().join("f.csv"), 3).err().unwrap().to_string();
        assert!(wrong.contains(".npy or .parquet"), "{wrong}");
    }
}
