//! Training and evaluation of a network on a loader's batches.
//!
//! [`Session`] puts a recipe, two data sets and a device together; [`Session::train`] trains in a run directory that
//! it can be resumed from, bit for bit. [`evaluate`] stands alone.

mod batch_of_one;
mod checkpoint;
pub(crate) mod data_fingerprint;
pub(crate) mod device_batch;
mod device_dataset;
mod evaluate;
mod heat;
mod log;
mod lr_scheduler;
pub(crate) mod meter;
pub(crate) mod page;
mod phase;
mod preprocessing;
mod progress;
mod revision;
mod run;
mod run_dir;
mod session;
mod statistics;

pub use checkpoint::{Best, Counters};
pub use data_fingerprint::DataFingerprint;
pub use evaluate::evaluate;
pub use log::{Record, RecordKind, read as read_log};
pub use lr_scheduler::HoldState;
pub use meter::Sums;
pub use page::duration;
pub use progress::{Plain, Progress, Silent, Status, Terminal, progress_for_stderr};
pub(crate) use revision::program;
pub use revision::{built_from, revision};
pub use run::{End, Outcome};
pub use run_dir::{RunConfig, RunDir, RunInfo};
pub use session::{Loading, Pretrained, Session, TrainOptions};
pub use statistics::reestimate_statistics;
