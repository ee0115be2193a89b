//! `resnet convert`: weights from one form to another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use resnet_models::weights::{self, LoadOptions, Names};

use crate::args::{PartArgs, must_exist};
use crate::failure::bad_input;
use crate::output;

/// Convert weights between safetensors and PyTorch's files, and between schemes of names
///
/// Of a checkpoint only the network is written, under torchvision's names: without wrappers, without projectors, queues,
/// losses and optimizers; what was left is told.
#[derive(clap::Args)]
pub struct Args {
    /// Weights to read: .safetensors, a PyTorch checkpoint (.pth, .pt, .th, .bin, .ckpt), or an index of several files
    #[arg(value_name = "INPUT")]
    input: PathBuf,
    /// File to write; its ending (.safetensors, .pth, .pt, .th, .bin) decides the form
    #[arg(value_name = "OUTPUT")]
    output: PathBuf,
    /// Names of the tensors in the output; timm's are torchvision's
    #[arg(long, value_enum, default_value_t = Scheme::Torchvision)]
    names: Scheme,
    #[command(flatten)]
    part: PartArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scheme {
    /// conv1.weight, layer1.0.bn2.running_var, fc.bias
    Torchvision,
    /// The same
    Timm,
    /// resnet.embedder.embedder.convolution.weight, classifier.1.bias
    Transformers,
}

/// Reads, renames, writes, and tells what was written.
pub fn run(args: Args) -> anyhow::Result<()> {
    must_exist("INPUT", &args.input, "give a .safetensors file or a PyTorch checkpoint")?;
    let torch = match ending(&args.output) {
        "safetensors" => false,
        "pth" | "pt" | "th" | "bin" => true,
        _ => {
            let path = args.output.display();
            return Err(bad_input(format!("{path}: the ending must be .safetensors, .pth, .pt, .th or .bin")));
        }
    };
    let PartArgs { entry, prefix } = args.part;
    let checkpoint = weights::load_with(&args.input, &LoadOptions { entry, prefix, keep_names: false })?;
    let input = args.input.display();
    checkpoint.remarks().iter().for_each(|remark| output::say(format!("{input}: {remark}")));
    if let Some(what) = &checkpoint.other_head {
        output::say(format!("{input}: the network is written without a head ({what})"));
    }
    let names = match args.names {
        Scheme::Torchvision | Scheme::Timm => Names::Torchvision,
        Scheme::Transformers => Names::Transformers,
    };
    let count = checkpoint.tensors.len();
    let tensors = names.apply(checkpoint.tensors.into_iter().collect()).map_err(|name| {
        let path = args.input.display();
        bad_input(format!("{path}: transformers' ResNets have no tensor {name}; leave out --names transformers"))
    })?;
    if torch {
        if let Some(keys) = kept_by_safetensors(&checkpoint.metadata) {
            output::say(format!(
                "{}: not written, as PyTorch's form has no place for it: {keys}",
                args.output.display()
            ));
        }
        weights::save_torch(&args.output, &tensors)?;
    } else {
        weights::save(&args.output, &tensors, &checkpoint.metadata)?;
    }
    output::text(format!("{}: {count} tensors", args.output.display()))
}

fn ending(path: &Path) -> &str {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or_default()
}

/// Names of what the input says beside its weights (network, classes, preprocessing).
fn kept_by_safetensors(metadata: &BTreeMap<String, String>) -> Option<String> {
    const MOST: usize = 16;
    let keys = metadata.keys().filter(|key| *key != "format");
    let shown: Vec<String> = keys.clone().take(MOST).map(|key| output::escaped(key)).collect();
    let more = keys.count().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!shown.is_empty()).then(|| shown.join(", ") + &more)
}
