//! `resnet predict`: the classes of images.

use std::fmt::Write as _;

use candle_core::{DType, Device};
use clap::ValueEnum;
use resnet_data::{is_escaped, path_text, shown};
use resnet_models::Outputs;
use serde::Serialize;

use crate::args::{
    DatasetArgs, DeviceArgs, ImagesArgs, InferenceArgs, JsonArgs, LoaderArgs, NormalizeArgs, WeightsArgs,
};
use crate::failure::bad_input;
use crate::images::Images;
use crate::network::{self, Loaded};
use crate::{folders, labels, output};

/// Classify images
#[derive(clap::Args)]
#[command(mut_arg("dataset", |arg| arg.help(CLASSES_OF)))]
pub struct Args {
    #[command(flatten)]
    images: ImagesArgs,
    #[command(flatten)]
    network: WeightsArgs,
    /// Number of classes shown for each image
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top_k: u32,
    /// Print all logits as well (with --json)
    #[arg(long, requires = "json")]
    logits: bool,
    /// What the outputs mean [default: what the weights say, else one-of, and any-of for one output]
    #[arg(long, value_name = "MEANING")]
    outputs: Option<Meaning>,
    #[command(flatten)]
    normalize: NormalizeArgs,
    #[command(flatten)]
    data: DatasetArgs,
    #[command(flatten)]
    loader: LoaderArgs,
    #[command(flatten)]
    inference: InferenceArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    json: JsonArgs,
}

/// What `--dataset` is for here.
const CLASSES_OF: &str = "Data set whose class names are printed where the weights have none: one of `resnet list`, folder:DIR, \
    shards:DIR or parquet:DIR";

/// What `--outputs` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Meaning {
    /// Classes that exclude each other: a softmax over all
    OneOf,
    /// Classes of which several may hold: a sigmoid for each
    AnyOf,
}

#[derive(Serialize)]
struct Prediction {
    image: String,
    /// Whether the file's name is no Unicode, and `image` its bytes in an escaped form.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    escaped: bool,
    top: Vec<Guess>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<Vec<f32>>,
}

#[derive(Serialize)]
struct Guess {
    index: usize,
    label: String,
    probability: f32,
}

/// Prints a line (or a small table) for each image: `{image, top: [{index, label, probability}], logits?}`.
///
/// Images that cannot be read do not stop the others; they make the command fail at its end.
pub fn run(args: Args) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let loaded = network::load(&args.network, &device)?;
    loaded.must_have_head()?;
    let grey = loaded.takes_grey()?;
    loaded.tell();
    let outputs = meaning(&loaded, args.outputs)?;
    let names = class_names(&loaded, &args.data)?;
    let transform = loaded.transform(&args.normalize, &args.data, None)?;
    let images = Images::new(&args.images.images, transform, &args.loader, loaded.image_size(&args.normalize)?, grey)?;
    folders::tell_files(images.files());
    let network = args.inference.ready(loaded.network.graph())?;
    images.for_each_batch("classifying", |batch, paths| {
        let logits = network.forward(&batch.to_device(&device)?)?;
        let logits = logits.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
        let probabilities = outputs.probabilities(&logits)?.to_vec2::<f32>()?;
        for ((path, probabilities), logits) in paths.iter().zip(probabilities).zip(logits.to_vec2::<f32>()?) {
            loaded.must_be_finite(&logits, path)?;
            let probabilities = match (&probabilities[..], names.len()) {
                // Two names of one output: no and yes.
                (&[yes], 2) => vec![1.0 - yes, yes],
                _ => probabilities,
            };
            let top = best(&probabilities, args.top_k as usize, &names);
            if args.json.json {
                let (image, escaped) = (path_text(path).into_owned(), is_escaped(path));
                output::json(&Prediction { image, escaped, top, logits: args.logits.then_some(logits) })?;
            } else {
                output::text(table(shown(path), &top)?)?;
            }
        }
        Ok(())
    })
}

/// What the outputs mean, which is told where it is not the usual.
fn meaning(loaded: &Loaded, flag: Option<Meaning>) -> anyhow::Result<Outputs> {
    let name = &loaded.name;
    let meant = match (flag, loaded.outputs) {
        (Some(Meaning::OneOf), Outputs::Binary) => {
            return Err(bad_input(format!(
                "--outputs one-of: {name} has one output, which is no choice between classes"
            )));
        }
        (Some(Meaning::OneOf), _) => Outputs::OneOf,
        (Some(Meaning::AnyOf), Outputs::Binary) | (None, Outputs::Binary) => Outputs::Binary,
        (Some(Meaning::AnyOf), _) => Outputs::AnyOf,
        (None, Outputs::Values) => {
            let mend = "`resnet forward` gives its outputs, --outputs one-of or any-of reads them as classes";
            return Err(bad_input(format!("{name} is a regression, whose outputs are no classes: {mend}")));
        }
        (None, own) => own,
    };
    match meant {
        Outputs::Binary => {
            output::say(format!("{name} has one output: its probability is sigmoid(logit), of yes against no"));
        }
        Outputs::AnyOf => {
            output::say(format!(
                "{name}: each class has a probability of its own (sigmoid); several may hold, or none"
            ));
        }
        _ => {}
    }
    Ok(meant)
}

/// The most probable classes, the most probable first; of equal ones the first.
fn best(probabilities: &[f32], k: usize, names: &[String]) -> Vec<Guess> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
    let label = |index: usize| names.get(index).cloned().unwrap_or_else(|| index.to_string());
    let guess = |index| Guess { index, label: label(index), probability: probabilities[index] };
    order.into_iter().take(k).map(guess).collect()
}

/// What the weights say, else the data set of `--dataset`, else ImageNet's for 1000 classes; none elsewhere.
fn class_names(loaded: &Loaded, data: &DatasetArgs) -> anyhow::Result<Vec<String>> {
    let classes = loaded.network.config().classes;
    if let Some(names) = &loaded.classes {
        return Ok(names.clone());
    }
    let names = match &data.dataset {
        Some(dataset) => labels::of_dataset(data, dataset)?,
        None if classes == 1000 => labels::imagenet(),
        None => return Ok(Vec::new()),
    };
    let yes_or_no = classes == 1 && names.len() == 2;
    if names.len() != classes && !yes_or_no {
        let name = data.dataset.as_deref().unwrap_or("imagenet");
        return Err(bad_input(format!("--dataset {name} has {} classes, the weights {classes}", names.len())));
    }
    Ok(names)
}

fn table(image: String, top: &[Guess]) -> anyhow::Result<String> {
    let mut text = image;
    for guess in top {
        write!(text, "\n{:7.2} %  {}", 100.0 * guess.probability, shown(&guess.label))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_classes_without_a_name_get_their_number() {
        let top = best(&[0.1, 0.4, 0.4, 0.1], 3, &["a".into(), "b".into()]);
        let order: Vec<(usize, &str)> = top.iter().map(|guess| (guess.index, guess.label.as_str())).collect();
        assert_eq!(order, [(1, "b"), (2, "2"), (0, "a")]);
        assert_eq!(best(&[1.0], 5, &[]).len(), 1);
    }
}
