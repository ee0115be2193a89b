//! Feature vectors of images as files: NumPy's `.npy` and parquet, written row by row.

mod npy;
mod parquet;

use std::io::Write;
use std::path::{Path, PathBuf};

use resnet_files::Replacement;

use crate::names::{path_text, shown};
use crate::{Error, Result};

/// Writes one vector an image. The file appears under its name when it is [finished](VectorWriter::finish); a writer
/// that is dropped before leaves what lay there.
pub struct VectorWriter {
    path: PathBuf,
    form: Form,
    replacement: Replacement,
    rows: usize,
}

enum Form {
    Npy(npy::Npy),
    Parquet(Box<parquet::Parquet>),
}

impl VectorWriter {
    /// Begins a file of vectors of `width` values. Its ending decides the form: `.npy` (f32, (images, width); the
    /// images' paths in a text file beside it, `NAME.paths.txt`, a line each) or `.parquet` (columns `path` and
    /// `features`).
    ///
    /// # Errors
    /// [`Error::Setting`] for another ending, [`Error::Write`] where the file cannot be written.
    pub fn create(path: impl AsRef<Path>, width: usize) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let npy = match path.extension().and_then(|ending| ending.to_str()) {
            Some("npy") => true,
            Some("parquet") => false,
            _ => {
                let message = format!("{}: the ending must be .npy or .parquet", path.display());
                return Err(Error::Setting { setting: "output", message });
            }
        };
        let replacement = Replacement::begin(&path).map_err(Error::write(&path))?;
        let file = replacement.file().map_err(Error::write(&path))?;
        let form = match npy {
            true => Form::Npy(npy::Npy::begin(&path, file, width)?),
            false => Form::Parquet(Box::new(parquet::Parquet::begin(&path, file)?)),
        };
        Ok(Self { path, form, replacement, rows: 0 })
    }

    /// Appends an image's vector.
    ///
    /// # Errors
    /// [`Error::Write`] where it cannot be written.
    pub fn push(&mut self, image: impl AsRef<Path>, values: &[f32]) -> Result<()> {
        let image = image.as_ref();
        match &mut self.form {
            // A line each: a name with a line feed in it must not become two.
            Form::Npy(npy) => npy.push(&shown(image), values)?,
            Form::Parquet(parquet) => parquet.push(&path_text(image), values)?,
        }
        self.rows += 1;
        Ok(())
    }

    /// Whether nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Completes the file and gives it its name; tells the number of vectors in it.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(self) -> Result<usize> {
        match self.form {
            Form::Npy(npy) => {
                // Both are written before either is replaced: they belong together.
                let (names, path) = (npy.finish(self.rows)?, self.path.with_extension("paths.txt"));
                let beside = Replacement::begin(&path).map_err(Error::write(&path))?;
                let written = beside.file().and_then(|mut file| file.write_all(names.as_bytes()));
                written.map_err(Error::write(&path))?;
                self.replacement.finish().map_err(Error::write(&self.path))?;
                beside.finish().map_err(Error::write(&path))?;
            }
            Form::Parquet(parquet) => {
                parquet.finish()?;
                self.replacement.finish().map_err(Error::write(&self.path))?;
            }
        }
        Ok(self.rows)
    }
}
