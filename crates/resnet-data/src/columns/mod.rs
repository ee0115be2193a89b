//! Columns of parquet files: pictures in bytes, and labels.
//!
//! Read here and not by the `parquet` crate (which writes our own files): of a damaged file its decoders panic, loop for
//! ever, or allocate what a page claims to hold. What pictures and labels need of the format is small: every encoding
//! and every compression but LZO, of columns that have one value a row. Whatever a file says of itself is compared with
//! its size before anything is allocated, and there is no unsafe code on the way.

mod codec;
mod encoding;
mod footer;
mod page;
mod thrift;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub(crate) use footer::{Leaf, Physical};
pub(crate) use page::{Texts, Values};

use crate::foreign::what_it_is;
use crate::{Error, Result};

/// What can be wrong within a file, in words.
type Outcome<T> = std::result::Result<T, String>;

/// Stands at both ends of a parquet file.
const MAGIC: &[u8; 4] = b"PAR1";

/// A parquet file whose footer was read.
#[derive(Debug)]
pub(crate) struct Columns {
    path: PathBuf,
    footer: footer::Footer,
}

impl Columns {
    /// Reads a file's footer.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = resnet_files::open(path).map_err(Error::io(path))?;
        let footer = footer_of(&mut file).map_err(Error::io(path))?;
        let footer =
            footer.map_err(|message| Error::format(path, format!("not a readable parquet file: {message}")))?;
        Ok(Self { path: path.to_path_buf(), footer })
    }

    /// The columns that hold values.
    pub(crate) fn leaves(&self) -> &[Leaf] {
        &self.footer.leaves
    }

    /// The number of the first of these columns that is there.
    pub(crate) fn find(&self, wanted: &[&str]) -> Option<usize> {
        wanted.iter().find_map(|name| self.footer.leaves.iter().position(|leaf| leaf.path == *name))
    }

    /// The number of row groups.
    pub(crate) fn groups(&self) -> usize {
        self.footer.groups.len()
    }

    /// The value under a key of the file's metadata.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.footer.pairs.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// The values of a column in a row group, one a row.
    pub(crate) fn values(&self, group: usize, column: usize) -> Result<Values> {
        let (rows, leaf) = (&self.footer.groups[group], &self.footer.leaves[column]);
        let chunk = &rows.chunks[column];
        let wrong = |message: String| {
            let place = format!("row group {group}, column {}", leaf.path);
            Error::format(&self.path, format!("not a readable parquet file: {place}: {message}"))
        };
        if let Some(refused) = chunk.refused {
            return Err(wrong(refused.to_string()));
        }
        let mut bytes = vec![0; chunk.length];
        let mut read = || -> std::io::Result<()> {
            let mut file = resnet_files::open(&self.path)?;
            file.seek(SeekFrom::Start(chunk.start))?;
            file.read_exact(&mut bytes)
        };
        read().map_err(Error::io(&self.path))?;
        page::values(bytes, chunk, leaf, rows.rows).map_err(wrong)
    }
}

/// The footer of an opened file; what is wrong with the file is no error of the disk.
fn footer_of(file: &mut File) -> std::io::Result<Outcome<footer::Footer>> {
    let size = file.metadata()?.len();
    let mut head = vec![0; size.min(512) as usize];
    file.read_exact(&mut head)?;
    if !head.starts_with(MAGIC) {
        return Ok(Err(what_it_is(&head).map_or_else(|| "it does not begin as one does".to_string(), str::to_string)));
    }
    let mut tail = [0; 8];
    if size >= 12 {
        file.seek(SeekFrom::End(-8))?;
        file.read_exact(&mut tail)?;
    }
    if tail.ends_with(b"PARE") {
        return Ok(Err("it is encrypted; write it again without encryption".to_string()));
    }
    let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if !tail.ends_with(MAGIC) || length > size - 12 {
        return Ok(Err("it is cut: its footer is missing; fetch or write it again".to_string()));
    }
    let mut bytes = vec![0; length as usize];
    file.seek(SeekFrom::End(-8 - length as i64))?;
    file.read_exact(&mut bytes)?;
    Ok(footer::read(&bytes, size))
}

#[cfg(test)]
mod tests;
