//! `resnet export`: networks for other programs to run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::Device;
use resnet_models::onnx;

use crate::args::{NormalizeArgs, WeightsArgs};
use crate::{network, output};

/// Write a network as an ONNX file, for batches of any size
///
/// The input `images` is f32 (batch, 3, size, size), normalised; the output `logits` (batch, classes). Mean, deviation
/// and the classes' names stand in the file's properties.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    network: WeightsArgs,
    /// File to write
    #[arg(long, value_name = "FILE")]
    onnx: PathBuf,
    #[command(flatten)]
    normalize: NormalizeArgs,
}

/// Exports, and tells the input's shape.
pub fn run(args: Args) -> anyhow::Result<()> {
    let loaded = network::load(&args.network, &Device::Cpu)?;
    let pictures = loaded.preprocessing(&args.normalize);
    let mut metadata = BTreeMap::from([
        ("arch".to_owned(), loaded.network.config().name.clone()),
        ("preprocessing".to_owned(), serde_json::to_string(&pictures)?),
    ]);
    if let Some(classes) = &loaded.classes {
        metadata.insert("classes".to_owned(), serde_json::to_string(classes)?);
    }
    onnx::export(&loaded.network, &args.onnx, pictures.size, &metadata)?;
    let (path, size) = (args.onnx.display(), pictures.size);
    output::text(format!("{path}: {} for `images` (batch, 3, {size}, {size})", loaded.network.config().name))
}
