//! How results and progress are told.

use clap::Args;
use resnet_train::trainer::{Plain, Progress, Silent, progress_for_stderr};

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
    /// No progress on standard error: errors and warnings alone
    #[arg(long, conflicts_with = "log")]
    quiet: bool,
    /// A line per epoch in place of a bar, as where standard error is no terminal
    #[arg(long, hide = true)]
    log: bool,
}

impl ProgressArgs {
    /// Whether no progress is shown.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// Who shows the progress: a bar at a terminal, elsewhere a line per epoch and what else is to be said. To be called
    /// first: what is said while a training is set up is for the log too.
    pub fn open(&self) -> Box<dyn Progress> {
        if self.quiet {
            output::never_note();
            return Box::new(Silent);
        }
        output::always_note();
        if self.log { Box::new(Plain) } else { progress_for_stderr() }
    }
}
