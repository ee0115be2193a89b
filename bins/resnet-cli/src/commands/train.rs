//! `resnet train`: a recipe on a data set, in a run directory.

use std::path::PathBuf;

use candle_core::Device;
use resnet_train::recipe::Overrides;
use resnet_train::trainer::{End, Outcome, Session};

use crate::args::{DatasetArgs, TrainingArgs, with_default};
use crate::failure::bad_input;
use crate::{device, output, stop};

/// Train a network
///
/// Without any option: a small residual network on the embedded `shapes`, in a minute or two on two cores.
#[derive(clap::Args)]
#[command(mut_arg("recipe", |arg| with_default(arg, "quick, or the run's own with --resume")))]
#[command(mut_arg("epochs", |arg| with_default(arg, "the recipe's length")))]
#[command(mut_arg("lr", |arg| with_default(arg, "the recipe's")))]
#[command(mut_arg("weight_decay", |arg| with_default(arg, "the recipe's")))]
#[command(mut_arg("label_smoothing", |arg| with_default(arg, "the recipe's")))]
#[command(mut_arg("seed", |arg| with_default(arg, "the recipe's")))]
#[command(mut_arg("dtype", |arg| with_default(arg, "the recipe's")))]
#[command(mut_arg("batch_size", |arg| with_default(arg, "the recipe's")))]
#[command(mut_arg("out", |arg| with_default(arg, "runs/ARCH-DATASET, with a number where that is taken")))]
pub struct Args {
    #[command(flatten)]
    data: DatasetArgs,
    /// Network: one of `resnet list` [default: the recipe's]
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    #[command(flatten)]
    training: TrainingArgs,
}

/// The recipe of a run without options.
const DEFAULT_RECIPE: &str = "quick";

/// Trains, and prints the result and where it lies.
pub fn run(mut args: Args) -> anyhow::Result<()> {
    let training = &args.training;
    let mut progress = training.progress.open();
    let device = training.device.open()?;
    let (recipe, begun) = training.recipe(DEFAULT_RECIPE)?;
    if begun.as_ref().is_some_and(|run| run.pretrained.is_some()) {
        return Err(bad_input("--out: this run began with pretrained weights: `resnet finetune` goes on with it"));
    }
    let (arch, dataset) = (args.arch.clone(), args.data.dataset.clone());
    let mut recipe = recipe.with(&Overrides { arch, dataset, ..training.overrides() })?;
    if recipe.phases.iter().any(|phase| phase.freeze_norms) {
        return Err(bad_input("--recipe: its phases keep the norms of pretrained weights: use `resnet finetune`"));
    }
    let begun_in = begun.as_ref().and_then(|run| run.data_dir.clone()).map(PathBuf::from);
    args.data.data_dir = args.data.data_dir.take().or(begun_in);
    recipe.dataset = args.data.named(&recipe.dataset)?;
    resnet_models::config(&recipe.arch)?;
    let (train, test) = args.data.open_train_test(&recipe.dataset)?;
    let session = Session::with_loading(recipe, train, test, &device, training.loading(begun.as_ref()))?;
    let data_dir = args.data.data_dir.as_ref().map(|dir| dir.display().to_string());
    let outcome = session.train(&training.options(data_dir), &mut *progress)?;
    if training.progress.quiet() {
        // Otherwise each was named when it was met.
        output::name_broken(&outcome.broken);
    }
    output::text(sentences(&outcome, &device))?;
    if outcome.end == End::Stopped { stop::result() } else { Ok(()) }
}

fn sentences(outcome: &Outcome, device: &Device) -> String {
    let dir = outcome.dir.path().display();
    let text = match (&outcome.end, &outcome.evaluation) {
        (End::Finished, Some(result)) => format!(
            "test accuracy {:.2} % ({} of {}), loss {:.4}, after {} epochs in {:.0} s on {}\nreport: {}",
            result.top1,
            result.correct,
            result.images,
            result.loss,
            outcome.epochs,
            outcome.seconds,
            device::description(device),
            outcome.dir.report().display()
        ),
        _ => format!("stopped after step {}; to go on: resnet train --out {dir} --resume", outcome.steps),
    };
    text + &output::left_out(&outcome.broken)
}
