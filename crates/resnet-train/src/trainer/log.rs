//! `log.jsonl`: one JSON object a line, for each interval of steps and each epoch.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, files};

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordKind {
    /// The steps since the last record.
    Step,
    /// An epoch, or the part of it that the training's length leaves.
    Epoch,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What the record is about.
    pub kind: RecordKind,
    /// Epoch, counted from 1.
    pub epoch: u64,
    /// Optimizer steps done.
    pub step: u64,
    /// The learning rate of the last of them.
    pub lr: f64,
    /// Mean training loss, label smoothing included.
    pub train_loss: Option<f64>,
    /// Training images classified right, in percent, as they came by (augmented).
    pub train_top1: Option<f64>,
    /// Mean cross-entropy on the test set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_loss: Option<f64>,
    /// Test images classified right, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_top1: Option<f64>,
    /// Test images whose class is among the first five, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_top5: Option<f64>,
    /// Training images a second, evaluation not counted.
    pub images_per_second: f64,
    /// Seconds since training began, pauses between resumed runs not counted.
    pub seconds: f64,
}

/// The open log.
pub(super) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens a log and drops the records that a checkpoint at `step` does not know of, nor of epochs that
    /// ended after `ended_at`: a run that was killed writes them again.
    pub(super) fn open(path: &Path, step: u64, ended_at: u64) -> Result<Self> {
        let kept: Vec<String> = read(path)?
            .into_iter()
            .filter(|record| match record.kind {
                RecordKind::Step => record.step <= step,
                RecordKind::Epoch => record.step <= ended_at,
            })
            .map(|record| line(&record))
            .collect::<Result<_>>()?;
        files::write(path, kept.concat().as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::io("write", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Appends a record, in one write; where it fails, none of it.
    pub(super) fn write(&mut self, record: &Record) -> Result<()> {
        let before = self.file.metadata().map(|file| file.len());
        let written = self.file.write_all(line(record)?.as_bytes());
        if let (Err(_), Ok(length)) = (&written, before) {
            // What cannot be cut off is left out by the next reader.
            let _ = self.file.set_len(length);
        }
        written.map_err(Error::io("write", &self.path))
    }
}

/// The records of a log; none where there is no file. Lines that are no records are left out, as the last one that was
/// cut off: nothing but curves and tables follows from a log.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    match crate::files::read(path) {
        Ok(text) => {
            Ok(text.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

fn line(record: &Record) -> Result<String> {
    let json = serde_json::to_string(record).map_err(|error| Error::Invalid(format!("log record: {error}")))?;
    Ok(json + "\n")
}
