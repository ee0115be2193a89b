//! Flags that several commands share, each defined once.

mod compute;
mod data;
mod network;
mod output;
mod training;

use std::fmt::Display;
use std::path::Path;

use clap::Arg;
use resnet_train::recipe::Recipe;

pub use compute::{DeviceArgs, Dtype, DtypeArgs, InferenceArgs};
pub use data::{BrokenArgs, DatasetArgs, FolderArgs, ImagesArgs, LoaderArgs, tell};
pub use network::{NormalizeArgs, PartArgs, WeightsArgs};
pub use output::{JsonArgs, ProgressArgs};
pub use training::TrainingArgs;

use crate::failure::bad_input;

/// A shared flag whose help tells the default that a command has for it; for `mut_arg`.
pub fn with_default(arg: Arg, default: impl Display) -> Arg {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.help(format!("{help} [default: {default}]"))
}

/// Refuses a file or folder that is not there; `mend` says what to give instead.
pub fn must_exist(flag: &str, path: &Path, mend: &str) -> anyhow::Result<()> {
    if path.exists() {
        return Ok(());
    }
    Err(bad_input(format!("{flag} {}: no such file or folder; {mend}", path.display())))
}

/// The recipe that `--recipe` names.
pub fn recipe(name: &str) -> anyhow::Result<Recipe> {
    // With an ending it is a file; of anything else the library knows the nearest name.
    if Path::new(name).extension().is_some() {
        must_exist("--recipe", Path::new(name), "give a TOML file, or the name of a recipe in `resnet list`")?;
    }
    Ok(Recipe::load(name)?)
}
