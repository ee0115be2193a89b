//! `resnet`: trains, evaluates and uses residual networks.
//!
//! The program parses flags, calls the libraries and prints; each command is one file in `commands/`. With `--json`
//! standard output holds one JSON object a line and nothing else; progress and messages go to standard error. The exit
//! code is 0 when the work is done, 2 for bad usage or bad input, 130 when a signal stopped it, 1 for anything else.

mod allocator;
mod args;
mod commands;
mod crop;
mod device;
mod failure;
mod folders;
mod grey;
mod home;
mod images;
mod labels;
mod network;
mod output;
mod stop;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use resnet_train::trainer::built_from;
use resnet_train::with_large_stack;

/// Train, evaluate and use residual networks
#[derive(Parser)]
#[command(name = "resnet", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(commands::train::Args),
    Eval(commands::eval::Args),
    Finetune(commands::finetune::Args),
    Predict(commands::predict::Args),
    Embed(commands::embed::Args),
    Forward(commands::forward::Args),
    Convert(commands::convert::Args),
    Export(commands::export::Args),
    List(commands::list::Args),
    Summary(commands::summary::Args),
    Bench(commands::bench::Args),
    Reproduce(commands::reproduce::Args),
    Diagnose(commands::diagnose::Args),
}

impl Command {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Command::Train(args) => commands::train::run(args),
            Command::Eval(args) => commands::eval::run(args),
            Command::Finetune(args) => commands::finetune::run(args),
            Command::Predict(args) => commands::predict::run(args),
            Command::Embed(args) => commands::embed::run(args),
            Command::Forward(args) => commands::forward::run(args),
            Command::Convert(args) => commands::convert::run(args),
            Command::Export(args) => commands::export::run(args),
            Command::List(args) => commands::list::run(args),
            Command::Summary(args) => commands::summary::run(args),
            Command::Bench(args) => commands::bench::run(args),
            Command::Reproduce(args) => commands::reproduce::run(args),
            Command::Diagnose(args) => commands::diagnose::run(args),
        }
    }
}

fn main() -> ExitCode {
    allocator::keep_pages();
    built_from(option_env!("RESNET_REVISION"));
    let arguments = match home::expanded(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => return failure::report(&error),
    };
    let command = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command,
        Err(error) => return failure::usage(&error),
    };
    if let Err(error) = stop::heed_signals() {
        output::note(format!("signals end the program without more ado: {error}"));
    }
    // Of networks of a thousand layers even the forward pass needs it: the record of operations is dropped layer by
    // layer, one call inside the other.
    let ended = catch_unwind(AssertUnwindSafe(|| with_large_stack(|| Ok(command.run()))));
    for convolution in resnet_ops::device::unsupported_convolutions() {
        output::note(format!("cuDNN has no algorithm for it, a slow kernel stood in: {convolution}"));
    }
    match ended {
        Ok(Ok(Ok(()))) => {
            output::begin();
            ExitCode::SUCCESS
        }
        Ok(Ok(Err(error))) => failure::report(&error),
        Ok(Err(error)) => failure::report(&error.into()),
        // The panic's own message stands on standard error already.
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_contradict_no_other() {
        Cli::command().debug_assert();
    }
}
