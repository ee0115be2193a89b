//! How an experiment is run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::Device;

/// How an experiment is run.
#[derive(Clone)]
pub struct ReproduceOptions {
    /// Where runs, table and page go.
    pub out: PathBuf,
    /// Runs of each variant, in place of the scale's number.
    pub seeds: Option<u32>,
    /// The device.
    pub device: Device,
    /// Threads that read and augment images.
    pub workers: usize,
    /// Once true, the step under way is finished and saved.
    pub stop: Arc<AtomicBool>,
    /// The command, for the page.
    pub command: String,
}
