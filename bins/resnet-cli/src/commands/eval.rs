//! `resnet eval`: how many images of a data set a network gets right.

use std::sync::Arc;

use candle_core::Device;
use resnet_data::{BrokenImage, Dataset, Loader, LoaderConfig, OnBroken, Split};
use resnet_models::Outputs;
use resnet_ops::Inference;
use resnet_train::metrics::Evaluation;
use resnet_train::multi_crop;
use resnet_train::trainer::{evaluate, progress_for_stderr, reestimate_statistics};
use serde::Serialize;

use crate::args::{DatasetArgs, DeviceArgs, InferenceArgs, JsonArgs, LoaderArgs, NormalizeArgs, WeightsArgs};
use crate::crop::{Crop, MultiCrop};
use crate::failure::bad_input;
use crate::images::batch_size;
use crate::labels::{Fit, Mapping, Match};
use crate::network::{self, Loaded};
use crate::output;

/// Evaluate a network's weights on a data set
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    network: WeightsArgs,
    #[command(flatten)]
    data: DatasetArgs,
    /// Part of the data set: test, val or train; of a set with two parts, val and test are the same. Of an undivided folder
    /// that the weights were trained on, test is what was for validation then (split.csv beside them); any other is taken whole
    #[arg(long, value_name = "SPLIT", default_value = "test")]
    split: Split,
    /// What a class of the data set is called in the weights; CLASS= leaves its images out. May be given several times
    #[arg(long, value_name = "CLASS=OTHER")]
    map: Vec<Mapping>,
    /// How classes of the data set are found among the network's [default: by name; by number or position where one side
    /// has no names, and then told]
    #[arg(long, value_name = "HOW", value_enum)]
    r#match: Option<Match>,
    #[command(flatten)]
    normalize: NormalizeArgs,
    /// MultiCrop of each image
    #[arg(long, value_enum, default_value_t = Crop::Center)]
    crop: Crop,
    /// First take the batch-norm statistics anew over the whole training set, with batches of --batch-size
    #[arg(long)]
    reestimate_bn: bool,
    #[command(flatten)]
    loader: LoaderArgs,
    #[command(flatten)]
    inference: InferenceArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    json: JsonArgs,
}

#[derive(Serialize)]
struct Evaluated {
    dataset: String,
    split: String,
    #[serde(flatten)]
    result: Evaluation,
}

/// Evaluates and prints `{dataset, split, images, correct, top1, top5, loss, images_per_second}`.
pub fn run(args: Args) -> anyhow::Result<()> {
    let device = args.device.open()?;
    if args.crop != Crop::Center && args.normalize.crop_pct.is_some() {
        return Err(bad_input(
            "--crop-pct is for --crop center; the other protocols have sizes of their own: leave it out",
        ));
    }
    let loaded = network::load(&args.network, &device)?;
    loaded.must_have_head()?;
    loaded.must_take_colour()?;
    loaded.tell();
    if loaded.outputs == Outputs::Values {
        return Err(bad_input(format!(
            "{} is a regression: its outputs are no classes to be right or wrong",
            loaded.name
        )));
    }
    let Some(name) = args.data.dataset.clone().or_else(|| loaded.dataset.clone()) else {
        return Err(bad_input("the weights do not say what they were trained on: add --dataset"));
    };
    let name = args.data.named(&name)?;
    let dataset = fitting(&args, &loaded, &name)?;
    let images = dataset.len();
    if args.reestimate_bn {
        output::begin();
        reestimate(&args, &loaded, &name, &device)?;
    }
    let network = args.inference.ready(loaded.network.graph())?;
    output::begin();
    let result = if args.crop == Crop::Center {
        let transform = loaded.transform(&args.normalize, &args.data, Some(&dataset))?;
        let loader = Loader::new(dataset, transform, loader_config(&args, &loaded)?)?;
        let mut progress = progress_for_stderr();
        let result = evaluate(&network, &loader, &device, None, &mut *progress)?;
        progress.finish();
        result.ok_or_else(|| anyhow::anyhow!("the evaluation was stopped"))?
    } else {
        let normalize = loaded.normalize(&args.normalize, &args.data)?;
        let crops = MultiCrop::new(args.crop.into(), loaded.image_size(&args.normalize)?, &normalize)?;
        let crops = crops.with_filter(loaded.filter())?;
        many_views(&network, &*dataset, &crops, &device)?
    };
    let evaluated = Evaluated { dataset: name, split: args.split.to_string(), result };
    if args.json.json {
        output::json(&evaluated)?
    } else {
        output::text(sentence(&evaluated))?
    }
    without(&evaluated.result.broken, images)
}

/// The end of an evaluation: images that could not be read are named, and make it fail after its result.
fn without(broken: &[BrokenImage], images: usize) -> anyhow::Result<()> {
    let messages: Vec<String> = broken.iter().map(|image| image.message.clone()).collect();
    match &messages[..] {
        [] => Ok(()),
        [only] => {
            Err(bad_input(format!("1 of {images} images could not be read and is left out of the result: {only}")))
        }
        [first, ..] => {
            output::name_broken(&messages);
            let count = messages.len();
            Err(bad_input(format!(
                "{count} of {images} images could not be read and are left out of the result; the first: {first}"
            )))
        }
    }
}

/// The part of the data set under the network's labels.
fn fitting(args: &Args, loaded: &Loaded, name: &str) -> anyhow::Result<Arc<dyn Dataset>> {
    let dataset = loaded.open_and_tell(&args.data, name, args.split)?;
    let fit = Fit {
        dataset: name,
        maps: &args.map,
        by: args.r#match,
        count: loaded.network.config().classes,
        names: loaded.classes.as_deref(),
    };
    let (dataset, said) = fit.apply(&dataset)?;
    if let Some(said) = said {
        output::inform(format!("classes: {said}"));
    }
    Ok(dataset)
}

fn many_views(
    network: &Inference,
    dataset: &dyn Dataset,
    crops: &MultiCrop,
    device: &Device,
) -> anyhow::Result<Evaluation> {
    let bar = output::image_bar("evaluating", dataset.len());
    let result = multi_crop::evaluate(network, dataset, crops, device, |done, _| {
        bar.set_position(done as u64);
        true
    })?;
    bar.finish_and_clear();
    result.ok_or_else(|| anyhow::anyhow!("the evaluation was stopped"))
}

/// Takes batch-norm statistics anew over the training images, seen as in evaluation.
fn reestimate(args: &Args, loaded: &Loaded, name: &str, device: &Device) -> anyhow::Result<()> {
    let train = loaded.open(&args.data, name, Split::Train)?;
    let transform = loaded.transform(&args.normalize, &args.data, Some(&train))?;
    let config = LoaderConfig { shuffle: true, ..loader_config(args, loaded)? };
    let loader = Loader::new(train, transform, config)?;
    let mut progress = progress_for_stderr();
    reestimate_statistics(&loaded.network, &loader, device, &mut *progress)?;
    progress.finish();
    Ok(())
}

fn loader_config(args: &Args, loaded: &Loaded) -> anyhow::Result<LoaderConfig> {
    let usual = batch_size(loaded.image_size(&args.normalize)?);
    Ok(LoaderConfig {
        batch_size: args.loader.batch_size.map_or(usual, |n| n as usize),
        workers: args.loader.workers(),
        on_broken: OnBroken::Skip,
        ..LoaderConfig::default()
    })
}

fn sentence(e: &Evaluated) -> String {
    let r = &e.result;
    format!(
        "{} {}: {} of {} right; top-1 {:.2} %, top-5 {:.2} %, loss {:.4}; {:.0} images/s",
        e.dataset, e.split, r.correct, r.images, r.top1, r.top5, r.loss, r.images_per_second
    )
}
