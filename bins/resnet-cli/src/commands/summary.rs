//! `resnet summary`: layers, shapes, parameters, multiply-adds.

use crate::args::JsonArgs;
use crate::failure::bad_input;
use crate::output;

/// Print a network's layers, output sizes, parameters and multiply-adds
#[derive(clap::Args)]
pub struct Args {
    /// Network: one of `resnet list`
    arch: String,
    /// Number of classes [default: the network's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    classes: Option<u32>,
    /// Rows and columns of the images [default: the network's own]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=65536))]
    image_size: Option<u32>,
    #[command(flatten)]
    json: JsonArgs,
}

/// Prints the table, or the object `{arch, parameters, multiply_adds, layers, …}`.
pub fn run(args: Args) -> anyhow::Result<()> {
    let config = resnet_models::config(&args.arch)?;
    let size = args.image_size.map_or(config.image_size, |size| size as usize);
    let summary =
        resnet_models::summary(&args.arch, args.classes.map(|n| n as usize), (size, size)).map_err(|error| {
            match error {
                // The name and the classes were checked above: what is left is the size.
                resnet_models::Error::Tensor(error) => bad_input(format!("--image-size {size}: {error}")),
                other => other.into(),
            }
        })?;
    if args.json.json { output::json(&summary) } else { output::text(summary) }
}
