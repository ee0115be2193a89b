//! `resnet export`: networks for other programs to run.

use std::path::PathBuf;

use candle_core::Device;
use resnet_models::{ModelCard, onnx};

use crate::args::{NormalizeArgs, WeightsArgs};
use crate::{network, output};

/// Write a network as an ONNX file, for batches of any size
///
/// The input `images` is f32 (batch, 3, size, size), normalised; the output `logits` (batch, classes), or `features`
/// (batch, channels) of weights without a head. Mean, deviation and the classes' names stand in the file's properties.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    network: WeightsArgs,
    /// File to write
    #[arg(long, value_name = "FILE")]
    onnx: PathBuf,
    /// Leave the head out: the output is `features` (batch, channels), as it is of weights without a head
    #[arg(long)]
    features: bool,
    #[command(flatten)]
    normalize: NormalizeArgs,
}

/// Exports, and tells the input's shape.
pub fn run(args: Args) -> anyhow::Result<()> {
    let loaded = network::load(&args.network, &Device::Cpu)?;
    loaded.tell();
    let pictures = loaded.preprocessing(&args.normalize)?;
    let network = if args.features { loaded.network.without_head()? } else { loaded.network.clone() };
    let card = ModelCard::new(network.config()).with_preprocessing(pictures);
    let card = match loaded.classes.as_ref().filter(|_| network.config().classes > 0) {
        Some(classes) => card.with_classes(classes.clone()).with_outputs(loaded.outputs),
        None => card,
    };
    let metadata = card.metadata()?;
    onnx::export(&network, &args.onnx, pictures.size, &metadata)?;
    let (path, size) = (args.onnx.display(), pictures.size);
    let (name, channels) = (&network.config().name, network.config().in_chans);
    let result = if network.config().classes > 0 { String::new() } else { ", to `features`".to_owned() };
    output::text(format!("{path}: {name} for `images` (batch, {channels}, {size}, {size}){result}"))
}
