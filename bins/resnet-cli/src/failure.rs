//! Errors as the user sees them: one line on standard error, and an exit code.

use std::io;
use std::process::ExitCode;

use crate::{output, stop};

/// The user asked for something that cannot be done: exit code 2. The text names the flag or file and the mend.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(String);

/// A signal ended the work, and everything is saved: exit code 130, and nothing more to say.
#[derive(Debug, thiserror::Error)]
#[error("stopped by a signal")]
pub struct Stopped;

/// A [`BadInput`] as an error of a command.
pub fn bad_input(message: impl Into<String>) -> anyhow::Error {
    BadInput(message.into()).into()
}

/// What the parser of the command line has to say: help and version in full, an error on one line.
pub fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A closed pipe is the only way for this to fail, and nobody is left to tell.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let parts: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information")).collect();
    if text.trim_start().starts_with("error:") {
        // The parser's own line break after a colon is no new thought.
        output::say(parts.join("; ").replace(":; ", ": "));
    } else {
        // No command at all: the help is the best answer.
        output::say(text.trim_end());
    }
    ExitCode::from(2)
}

/// Prints an error that ended a command.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    if error.is::<Stopped>() {
        return ExitCode::from(stop::CODE);
    }
    let text = format!("{}{error}", changed_flag(error).unwrap_or_default());
    output::say(format!("error: {}", text.split_whitespace().collect::<Vec<_>>().join(" ")));
    ExitCode::from(if is_bad_input(error) { 2 } else { 1 })
}

/// Flags of `train` and `finetune` that have the name of a key in `config.toml`.
const FLAGS: [&str; 17] = [
    "arch",
    "batch-size",
    "dataset",
    "dtype",
    "epochs",
    "head-epochs",
    "head-lr",
    "label-smoothing",
    "lr",
    "on-broken",
    "patience",
    "rank",
    "recompute",
    "seed",
    "shuffle-buffer",
    "stage-decay",
    "weight-decay",
];

/// `--seed: `, where a resumed run got another seed than it began with.
fn changed_flag(error: &anyhow::Error) -> Option<String> {
    let Some(resnet_train::Error::ConfigChanged { key, .. }) = error.downcast_ref() else { return None };
    let name = key.strip_prefix("recipe.schedule.").or_else(|| Some(key.split_once('.')?.1))?.replace('_', "-");
    FLAGS.contains(&name.as_str()).then(|| format!("--{name}: "))
}

/// Whoever read standard output (`| head`) has seen enough.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether the cause lies in what the user gave.
fn is_bad_input(error: &anyhow::Error) -> bool {
    if let Some(error) = error.downcast_ref::<resnet_train::Error>() {
        return error.is_bad_input();
    }
    if let Some(error) = error.downcast_ref::<resnet_data::Error>() {
        return !matches!(error, resnet_data::Error::Tensor(_) | resnet_data::Error::Worker { .. });
    }
    if let Some(error) = error.downcast_ref::<resnet_models::Error>() {
        return !matches!(error, resnet_models::Error::Tensor(_));
    }
    error.is::<BadInput>() || error.is::<resnet_hub::Error>() || error.is::<resnet_models::weights::WeightsError>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_decides_the_code() {
        assert!(is_bad_input(&bad_input("--top-k must be 1 or more")));
        assert!(is_bad_input(&resnet_models::Error::NoClasses.into()));
        assert!(!is_bad_input(&resnet_data::Error::Worker { batch: 0, message: "x".into() }.into()));
        assert!(!is_bad_input(&anyhow::anyhow!("something else")));
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&closed.into()));
    }
}
