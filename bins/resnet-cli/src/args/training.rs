//! What `train` and `finetune` share: a recipe, what flags change in it, and how the run is carried out.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use resnet_data::OnBroken;
use resnet_train::optimizer::OptimizerKind;
use resnet_train::recipe::{Overrides, Recipe};
use resnet_train::trainer::{Loading, RunDir, RunInfo, TrainOptions};

use super::{BrokenArgs, DeviceArgs, Dtype, DtypeArgs, LoaderArgs, ProgressArgs};
use crate::stop;

/// A training.
#[derive(Args)]
pub struct TrainingArgs {
    /// Recipe: one of `resnet list`, or a TOML file; `resnet list --recipe NAME` prints one to copy and change
    #[arg(long, value_name = "NAME|FILE")]
    recipe: Option<String>,
    /// Epochs of training, of the last phase where the recipe has phases; the schedule is stretched with them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    epochs: Option<u64>,
    /// Peak learning rate
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Optimizer, with the recipe's settings if it is the recipe's, else with its usual ones [default: the recipe's]
    #[arg(long, value_enum, value_name = "NAME")]
    optimizer: Option<OptimizerArg>,
    /// Weight decay
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Share of each target that is spread evenly over all classes
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    label_smoothing: Option<f64>,
    /// Evaluate and keep an average of the weights that keeps this share of itself at each step [default: the recipe's]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    ema_decay: Option<f64>,
    /// Mix images by mixup of this strength; 0 for none [default: the recipe's]
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true)]
    mixup: Option<f64>,
    /// Mix images by CutMix of this strength; 0 for none [default: the recipe's]
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true)]
    cutmix: Option<f64>,
    /// Seed of initial weights, order and augmentation
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
    pub device: DeviceArgs,
    /// Run directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in --out, or begin it where there is no checkpoint yet
    #[arg(long, requires = "out")]
    resume: bool,
    /// Stop after this many optimizer steps, as a signal would; --resume continues
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_steps: Option<u64>,
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// What `--optimizer` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OptimizerArg {
    /// Stochastic gradient descent with momentum
    Sgd,
    /// LAMB, for large batches
    Lamb,
    /// AdamW
    Adamw,
}

impl From<OptimizerArg> for OptimizerKind {
    fn from(optimizer: OptimizerArg) -> Self {
        match optimizer {
            OptimizerArg::Sgd => Self::Sgd,
            OptimizerArg::Lamb => Self::Lamb,
            OptimizerArg::Adamw => Self::AdamW,
        }
    }
}

impl TrainingArgs {
    /// The recipe of `--recipe`, of the run to be resumed, or the default one. With it, what else is known of the run to be
    /// resumed.
    pub fn recipe(&self, default: &str) -> anyhow::Result<(Recipe, Option<RunInfo>)> {
        if let Some(name) = &self.recipe {
            return Ok((super::recipe(name)?, None));
        }
        let begun = match &self.out {
            Some(out) if self.resume => RunDir::at(out).begun()?,
            _ => None,
        };
        Ok(match begun {
            Some(begun) => (begun.recipe, Some(begun.run)),
            None => (Recipe::load(default)?, None),
        })
    }

    /// What the flags change in the recipe.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            arch: None,
            dataset: None,
            epochs: self.epochs,
            batch_size: self.loader.batch_size.map(|n| n as usize),
            lr: self.lr,
            optimizer: self.optimizer.map(OptimizerKind::from),
            weight_decay: self.weight_decay,
            label_smoothing: self.label_smoothing,
            ema_decay: self.ema_decay,
            mixup: self.mixup,
            cutmix: self.cutmix,
            seed: self.seed,
            dtype: self.dtype.dtype.map(Dtype::compute),
            recompute: self.recompute.then_some(true),
        }
    }

    /// How images are read. Beside the threads, all of it decides the weights' bits: a resumed run has its own.
    pub fn loading(&self, begun: Option<&RunInfo>) -> Loading {
        let workers = self.loader.workers();
        let usual = match begun {
            Some(run) => Loading {
                workers,
                on_broken: run.on_broken,
                rank: run.rank,
                world_size: run.world_size,
                shuffle_buffer: run.shuffle_buffer,
            },
            None => Loading { workers, on_broken: OnBroken::Skip, ..Loading::default() },
        };
        Loading {
            workers,
            on_broken: self.broken.on_broken.map_or(usual.on_broken, OnBroken::from),
            rank: self.rank.map_or(usual.rank, |n| n as usize),
            world_size: self.world_size.map_or(usual.world_size, |n| n as usize),
            shuffle_buffer: self.shuffle_buffer.map_or(usual.shuffle_buffer, |n| n as usize),
        }
    }

    /// How the run is carried out; `data_dir` is where the data set lies.
    pub fn options(&self, data_dir: Option<String>) -> TrainOptions {
        TrainOptions {
            out: self.out.clone(),
            resume: self.resume,
            stop: stop::save_and_stop(),
            max_steps: self.max_steps,
            data_dir,
            ..TrainOptions::default()
        }
    }
}
