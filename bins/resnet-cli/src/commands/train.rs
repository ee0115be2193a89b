//! `resnet train`: a recipe on a data set, in a run directory.

use std::path::PathBuf;

use candle_core::Device;
use resnet_data::OnBroken;
use resnet_train::recipe::{Overrides, Recipe};
use resnet_train::trainer::{End, Loading, Outcome, RunDir, RunInfo, Session, TrainOptions};

use crate::args::{BrokenArgs, DatasetArgs, DeviceArgs, Dtype, DtypeArgs, LoaderArgs, ProgressArgs, with_default};
use crate::{args, device, output, stop};

/// Train a network
///
/// Without any option: a small residual network on the embedded `shapes`, in a minute or two on two cores.
#[derive(clap::Args)]
#[command(mut_arg("dtype", |arg| with_default(arg, "the recipe's")))]
#[command(mut_arg("batch_size", |arg| with_default(arg, "the recipe's")))]
pub struct Args {
    #[command(flatten)]
    data: DatasetArgs,
    /// Network: one of `resnet list` [default: the recipe's]
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Recipe: one of `resnet list`, or a TOML file; `resnet list --recipe NAME` prints one to copy and change [default:
    /// quick, or the run's own with --resume]
    #[arg(long, value_name = "NAME|FILE")]
    recipe: Option<String>,
    /// Epochs of training; the schedule is stretched with them [default: the recipe's length]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    epochs: Option<u64>,
    /// Peak learning rate [default: the recipe's]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Seed of initial weights, order and augmentation [default: the recipe's]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    dtype: DtypeArgs,
    /// Recompute activations in the backward pass instead of keeping them: less memory, a third more time
    #[arg(long)]
    recompute: bool,
    #[command(flatten)]
    loader: LoaderArgs,
    #[command(flatten)]
    broken: BrokenArgs,
    /// Images of tar shards or parquet files that are shuffled together [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    shuffle_buffer: Option<u32>,
    /// Which of --world-size processes this is, from 0; each trains on its own part of every epoch, and gradients are not
    /// exchanged
    #[arg(long, value_name = "R", requires = "world_size")]
    rank: Option<u32>,
    /// Number of processes that share an epoch
    #[arg(long, value_name = "W", requires = "rank", value_parser = clap::value_parser!(u32).range(1..))]
    world_size: Option<u32>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Run directory [default: runs/ARCH-DATASET, with a number where that is taken]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in --out, or begin it where there is no checkpoint yet
    #[arg(long, requires = "out")]
    resume: bool,
    /// Stop after this many optimizer steps, as a signal would; --resume continues
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_steps: Option<u64>,
    #[command(flatten)]
    progress: ProgressArgs,
}

/// The recipe of a run without options.
const DEFAULT_RECIPE: &str = "quick";

/// Trains, and prints the result and where it lies.
pub fn run(mut args: Args) -> anyhow::Result<()> {
    let mut progress = args.progress.open();
    let device = args.device.open()?;
    let (mut recipe, begun) = recipe(&mut args)?;
    recipe.dataset = args.data.named(&recipe.dataset)?;
    resnet_models::config(&recipe.arch)?;
    let (train, test) = args.data.open_train_test(&recipe.dataset)?;
    // Beside the threads, all of this decides the weights' bits: a resumed run has its own.
    let usual = match begun {
        Some(run) => Loading {
            workers: args.loader.workers(),
            on_broken: run.on_broken,
            rank: run.rank,
            world_size: run.world_size,
            shuffle_buffer: run.shuffle_buffer,
        },
        None => Loading { workers: args.loader.workers(), on_broken: OnBroken::Skip, ..Loading::default() },
    };
    let loading = Loading {
        on_broken: args.broken.on_broken.map_or(usual.on_broken, OnBroken::from),
        rank: args.rank.map_or(usual.rank, |n| n as usize),
        world_size: args.world_size.map_or(usual.world_size, |n| n as usize),
        shuffle_buffer: args.shuffle_buffer.map_or(usual.shuffle_buffer, |n| n as usize),
        ..usual
    };
    let session = Session::with_loading(recipe, train, test, &device, loading)?;
    let options = TrainOptions {
        out: args.out,
        resume: args.resume,
        stop: stop::save_and_stop(),
        max_steps: args.max_steps,
        data_dir: args.data.data_dir.map(|dir| dir.display().to_string()),
        ..TrainOptions::default()
    };
    let outcome = session.train(&options, &mut *progress)?;
    if args.progress.quiet() {
        // Otherwise each was named when it was met.
        output::name_broken(&outcome.broken);
    }
    output::text(sentences(&outcome, &device))?;
    if outcome.end == End::Stopped { stop::result() } else { Ok(()) }
}

/// The recipe of `--recipe`, of the run to be resumed, or the default; changed as the other flags say. With it, what else
/// is known of the run to be resumed.
fn recipe(args: &mut Args) -> anyhow::Result<(Recipe, Option<RunInfo>)> {
    let mut run = None;
    let recipe = match (&args.recipe, &args.out) {
        (Some(name), _) => args::recipe(name)?,
        (None, Some(out)) if args.resume => match RunDir::at(out).begun()? {
            Some(begun) => {
                args.data.data_dir = args.data.data_dir.take().or(begun.run.data_dir.clone().map(PathBuf::from));
                run = Some(begun.run);
                begun.recipe
            }
            None => Recipe::load(DEFAULT_RECIPE)?,
        },
        _ => Recipe::load(DEFAULT_RECIPE)?,
    };
    let recipe = recipe.with(&Overrides {
        arch: args.arch.clone(),
        dataset: args.data.dataset.clone(),
        epochs: args.epochs,
        batch_size: args.loader.batch_size.map(|n| n as usize),
        lr: args.lr,
        seed: args.seed,
        dtype: args.dtype.dtype.map(Dtype::compute),
        recompute: args.recompute.then_some(true),
    })?;
    Ok((recipe, run))
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
