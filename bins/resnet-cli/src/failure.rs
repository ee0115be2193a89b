//! Errors as the user sees them: one line on standard error, and an exit code.

use std::io;
use std::process::ExitCode;

use crate::output::{escaped, say};
use crate::stop::{self, Stopped};

/// The user asked for something that cannot be done: exit code 2. The text names the flag or file and the mend.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(String);

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
        say(escaped(&parts.join("; ").replace(":; ", ": ")));
    } else {
        // No command at all: the help is the best answer.
        say(text.trim_end());
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
    say(format!("error: {}{}", changed_flag(error).unwrap_or_default(), message(error)));
    ExitCode::from(if is_bad_input(error) { 2 } else { 1 })
}

/// One line of what the libraries say, with the flags that they do not know.
fn message(error: &anyhow::Error) -> String {
    let text = match error.downcast_ref::<candle_core::Error>() {
        Some(error) => resnet_models::message(error),
        None => error.to_string(),
    };
    // An error of candle may have become text on its way, with a backtrace behind it.
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("0: "));
    let line = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    match flag(error) {
        Some(flag) => format!("{} ({flag})", escaped(&line)),
        None => escaped(&line),
    }
}

/// The flags that the mend is passed with; for this program only, as the libraries have no flags.
fn flag(error: &anyhow::Error) -> Option<String> {
    use resnet_train::Error as Train;
    match error.downcast_ref() {
        Some(Train::RunExists { .. }) => Some("--resume, or another --out".into()),
        Some(Train::RunBusy { .. } | Train::NothingToResume { .. }) => Some("--out".into()),
        Some(Train::LossNotFinite { .. } | Train::GradientNotFinite { .. } | Train::WeightNotFinite { .. }) => {
            Some("--lr".into())
        }
        Some(Train::Model(error)) => of_models(error),
        Some(Train::Data(error)) => of_data(error),
        Some(_) => None,
        None => (error.downcast_ref().and_then(of_models))
            .or_else(|| error.downcast_ref().and_then(of_data))
            .or_else(|| error.downcast_ref().and_then(of_hub)),
    }
}

fn of_models(error: &resnet_models::Error) -> Option<String> {
    use resnet_models::Error::{Hub, Nameless, OtherNetwork, UnknownNetwork, Untagged};
    match error {
        Hub(error) => of_hub(error),
        UnknownNetwork { .. } => Some("`resnet list` shows all".into()),
        Untagged { .. } => Some("--weights FILE or --hub NAME; `resnet list --pretrained` shows all".into()),
        Nameless { fitting, .. } | OtherNetwork { fitting, .. } => Some(match &fitting[..] {
            [] => "--arch NAME; `resnet list` shows the networks".to_owned(),
            names => names.iter().map(|name| format!("--arch {name}")).collect::<Vec<_>>().join(" or "),
        }),
        _ => None,
    }
}

fn of_data(error: &resnet_data::Error) -> Option<String> {
    match error {
        resnet_data::Error::Hub(error) => of_hub(error),
        resnet_data::Error::NotFound { hint, .. } if hint.ends_with("as its data") => Some("--data-dir DIR".into()),
        resnet_data::Error::ImageSize { hint, .. } if hint.starts_with("a batch holds images of one size") => {
            Some("to train on photos: `resnet finetune`, or --recipe torchvision-v1".into())
        }
        _ => None,
    }
}

fn of_hub(error: &resnet_hub::Error) -> Option<String> {
    Some(match error.kind()? {
        resnet_hub::Kind::Model => "--hub DIR".into(),
        resnet_hub::Kind::Dataset => "--data-dir DIR".into(),
    })
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
        assert!(!is_bad_input(&candle_core::Error::Msg("shape".into()).into()));
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&closed.into()));
    }

    #[test]
    fn a_message_is_one_line_without_backtrace_and_orders() {
        let backtrace = Box::new(std::backtrace::Backtrace::force_capture());
        let inner = Box::new(candle_core::Error::Msg("bad\u{1b}[2J shape".into()));
        let candle = || candle_core::Error::WithBacktrace { inner, backtrace };
        let text = candle().to_string();
        let errors: [anyhow::Error; 4] = [
            candle_core::Error::Msg(text.clone()).into(),
            resnet_models::Error::Tensor(candle_core::Error::Msg(text.clone())).into(),
            resnet_data::Error::Tensor(candle_core::Error::Msg(text.clone())).into(),
            bad_input(text),
        ];
        for error in &errors {
            assert_eq!(message(error), "bad\\u{1b}[2J shape");
        }
        // Names keep their spaces.
        assert_eq!(message(&bad_input("a  b.png: no image")), "a  b.png: no image");
    }
}
