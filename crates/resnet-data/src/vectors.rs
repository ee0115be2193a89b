//! Feature vectors of images as files: NumPy's `.npy` and parquet, written row by row.

mod npy;
mod parquet;

use std::path::{Path, PathBuf};

use crate::names::{path_text, shown};
use crate::{Error, Result};

/// Writes one vector an image. The file appears under its name when it is complete.
pub struct VectorWriter {
    path: PathBuf,
    temporary: PathBuf,
    form: Form,
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
    /// [`Error::Setting`] for another ending, [`Error::Io`] where the file cannot be written.
    pub fn create(path: impl AsRef<Path>, width: usize) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let form = match path.extension().and_then(|ending| ending.to_str()) {
            Some("npy") => Form::Npy(npy::Npy::create(&temporary, width)?),
            Some("parquet") => Form::Parquet(Box::new(parquet::Parquet::create(&temporary)?)),
            _ => {
                let message = format!("{}: the ending must be .npy or .parquet", path.display());
                return Err(Error::Setting { setting: "output", message });
            }
        };
        Ok(Self { path, temporary, form, rows: 0 })
    }

    /// Appends an image's vector.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`] where it cannot be written.
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

    /// Gives the file up; one of that name from before stays.
    pub fn discard(self) {
        drop(self.form);
        // What cannot be removed has a name that nobody asks for.
        let _ = std::fs::remove_file(&self.temporary);
    }

    /// Completes the file and gives it its name; tells the number of vectors in it.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(self) -> Result<usize> {
        match self.form {
            Form::Npy(npy) => npy.finish(self.rows, &self.path.with_extension("paths.txt"))?,
            Form::Parquet(parquet) => parquet.finish()?,
        }
        std::fs::rename(&self.temporary, &self.path).map_err(Error::io(&self.path))?;
        Ok(self.rows)
    }
}
