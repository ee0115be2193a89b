//! `resnet forward`: a raw tensor through a network, to compare with other frameworks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{DType, Tensor};
use candle_nn::ModuleT;
use resnet_models::weights::{self, LoadOptions};

use crate::args::{DeviceArgs, WeightsArgs, must_exist};
use crate::failure::bad_input;
use crate::{network, output};

/// Run a raw tensor through a network in evaluation mode
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    network: WeightsArgs,
    /// Safetensors file with the tensor `input`, (N, C, H, W), of the network's channels C, mostly 3
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Safetensors file to write, with the tensor `logits`, (N, classes), f32; of weights without a head with `features`,
    /// (N, channels)
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Reads `input`, writes `logits`.
pub fn run(args: Args) -> anyhow::Result<()> {
    must_exist("--input", &args.input, "give a safetensors file with the tensor `input`")?;
    let device = args.device.open()?;
    let options = LoadOptions { keep_names: true, ..LoadOptions::default() };
    let mut file = weights::load_with(&args.input, &options)?;
    let Some(input) = file.tensors.remove("input") else {
        let found: Vec<&str> = file.tensors.keys().map(String::as_str).take(8).collect();
        let path = args.input.display();
        return Err(bad_input(format!(
            "--input {path}: no tensor is called `input` (it has {}); rename it",
            found.join(", ")
        )));
    };
    let loaded = network::load(&args.network, &device)?;
    loaded.tell();
    let config = loaded.network.config();
    let name = if config.classes > 0 { "logits" } else { "features" };
    if config.classes == 0 {
        output::say(format!("{}: the weights have no head: the output is `features`", loaded.name));
    }
    let logits = loaded.network.forward_t(&check(&input, config.in_chans, &args)?.to_device(&device)?, false)?;
    let logits = logits.to_dtype(DType::F32)?.to_device(&candle_core::Device::Cpu)?;
    loaded.must_be_finite(&logits.flatten_all()?.to_vec1::<f32>()?, &args.input)?;
    weights::save(&args.output, &[(name.to_owned(), logits)], &BTreeMap::new())?;
    Ok(())
}

/// The input as f32, if it is a batch of images.
fn check(input: &Tensor, channels: usize, args: &Args) -> anyhow::Result<Tensor> {
    match input.dims() {
        [n, c, h, w] if n * h * w > 0 && *c == channels => Ok(input.to_dtype(DType::F32)?),
        other => Err(bad_input(format!(
            "--input {}: `input` has shape {other:?}; give images as (N, {channels}, H, W)",
            args.input.display()
        ))),
    }
}
