//! How results and progress are told.

use clap::Args;
use resnet_train::trainer::{Plain, Progress, progress_for_stderr};

use crate::output;

/// Output for programs.
#[derive(Args)]
pub struct JsonArgs {
    /// Print one JSON object per line, and nothing else, on standard output
    #[arg(long)]
    pub json: bool,
}

/// How a training tells its progress.
#[derive(Args)]
pub struct ProgressArgs {
    /// Print a line per epoch, and messages, on standard error, as in a log file
    #[arg(long)]
    log: bool,
}

impl ProgressArgs {
    /// Who shows the progress. To be called first: what is said while a training is set up is for the log too.
    pub fn open(&self) -> Box<dyn Progress> {
        if !self.log {
            return progress_for_stderr();
        }
        output::always_note();
        Box::new(Plain)
    }
}
