//! `resnet finetune`: a pretrained network on a folder of one's own images.

use std::path::PathBuf;
use std::sync::Arc;

use resnet_data::{Dataset, FolderLayout, OnBroken, SplitRule, shown};
use resnet_models::hub::NewHead;
use resnet_train::finetune::{FinetuneConfig, Finetuned, Task, finetune};

use crate::args::{
    BrokenArgs, DeviceArgs, FolderArgs, LoaderArgs, NormalizeArgs, ProgressArgs, WeightsArgs, with_default,
};
use crate::failure::bad_input;
use crate::{folders, network, output, stop};

/// The share of each class that is for validation where the folder has no parts.
const VALIDATION_SHARE: f64 = 0.2;

/// Fine-tune a pretrained network on a folder of images
///
/// The folder holds a folder of images for each class, or train/ and val/ (or test/, under any usual name) with those;
/// where it is not divided, a fifth of each class is taken for validation and listed in RUN/split.csv. The head is replaced and trained first, then all parameters are, early stages slowly.
/// Weights, labels and preprocessing go into one file, so that `resnet predict --weights RUN/best.safetensors` needs
/// nothing else.
#[derive(clap::Args)]
#[command(mut_arg("batch_size", |arg| with_default(arg, usual().batch_size)))]
pub struct Args {
    #[command(flatten)]
    network: WeightsArgs,
    /// Folder with a folder of images per class, divided into train/ and val/ or not
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    folder: FolderArgs,
    /// Epochs that train the head alone, at most
    #[arg(long, value_name = "N", default_value_t = usual().head_epochs, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    head_epochs: u64,
    /// Epochs that train all parameters after that, at most; with 0 only the head is trained
    #[arg(long, value_name = "N", default_value_t = usual().epochs, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    epochs: u64,
    /// Peak learning rate when all parameters are trained
    #[arg(long, value_name = "RATE", default_value_t = usual().lr, allow_negative_numbers = true)]
    lr: f64,
    /// Peak learning rate when the head alone is trained
    #[arg(long, value_name = "RATE", default_value_t = usual().head_lr, allow_negative_numbers = true)]
    head_lr: f64,
    /// Factor on the learning rate from each stage to the one before it
    #[arg(long, value_name = "SHARE", default_value_t = usual().stage_decay)]
    stage_decay: f64,
    /// Weight decay; norms and biases have none
    #[arg(long, value_name = "RATE", default_value_t = usual().weight_decay, allow_negative_numbers = true)]
    weight_decay: f64,
    /// Share of each target that is spread evenly over all classes
    #[arg(long, value_name = "SHARE", default_value_t = usual().label_smoothing, allow_negative_numbers = true)]
    label_smoothing: f64,
    /// Epochs without a lower validation loss that end the head's training, and then the whole
    #[arg(long, value_name = "N", default_value_t = usual().patience, value_parser = clap::value_parser!(u64).range(1..))]
    patience: u64,
    /// Weight every image equally, so larger classes count more
    #[arg(long)]
    no_balance: bool,
    /// Seed of the split, the new head, order and augmentation
    #[arg(long, value_name = "N", default_value_t = usual().seed)]
    seed: u64,
    #[command(flatten)]
    normalize: NormalizeArgs,
    #[command(flatten)]
    loader: LoaderArgs,
    #[command(flatten)]
    broken: BrokenArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Run directory [default: runs/ARCH-finetuned, with a number where that is taken]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in --out, or begin it where there is no checkpoint yet; give the other flags as it began with them
    #[arg(long, requires = "out")]
    resume: bool,
    #[command(flatten)]
    progress: ProgressArgs,
}

/// The defaults of the flags.
fn usual() -> FinetuneConfig {
    FinetuneConfig::default()
}

/// Fine-tunes, and prints the result and where it lies.
pub fn run(args: Args) -> anyhow::Result<()> {
    let mut progress = args.progress.open();
    args.network.check()?;
    let (train, test) = parts(&args)?;
    let device = args.device.open()?;
    let new_head = NewHead { classes: train.classes().len(), seed: args.seed };
    let loaded = network::load_with(&args.network, &device, Some(new_head))?;
    loaded.must_take_colour()?;
    loaded.tell();
    let dataset = format!("folder:{}", args.data.display());
    let config = FinetuneConfig {
        head_epochs: args.head_epochs,
        epochs: args.epochs,
        batch_size: args.loader.batch_size.map_or(usual().batch_size, |n| n as usize),
        head_lr: args.head_lr,
        lr: args.lr,
        stage_decay: args.stage_decay,
        weight_decay: args.weight_decay,
        label_smoothing: args.label_smoothing,
        balance: !args.no_balance,
        patience: args.patience,
        seed: args.seed,
    };
    let task = Task {
        network: &loaded.network,
        parameters: &loaded.parameters,
        pretrained: &loaded.name,
        preprocessing: loaded.preprocessing(&args.normalize)?,
        train,
        test,
        dataset: &dataset,
        device: &device,
        workers: args.loader.workers(),
        out: args.out.as_deref(),
        on_broken: args.broken.on_broken.map_or(OnBroken::Skip, OnBroken::from),
        resume: args.resume,
        stop: stop::save_and_stop(),
    };
    let result = finetune(&task, &config, &mut *progress)?;
    output::name_broken(&result.broken);
    output::text(sentences(&result))?;
    if result.stopped { stop::result() } else { Ok(()) }
}

/// Training and validation images: the folder's own parts, or a fifth of each class by the seed.
fn parts(args: &Args) -> anyhow::Result<(Arc<dyn Dataset>, Arc<dyn Dataset>)> {
    let data = shown(&args.data);
    if !args.data.is_dir() {
        return Err(bad_input(format!(
            "--data {data}: no such folder; give the one that holds a folder for each class"
        )));
    }
    let layout = FolderLayout::of(&args.data, args.folder.options()).map_err(FolderArgs::explained)?;
    let rule = SplitRule::Share { seed: args.seed, share: VALIDATION_SHARE };
    let (train, test) = layout.open_train_test(rule).map_err(FolderArgs::explained)?;
    if train.classes().len() < 2 {
        let only = train.classes().first().map(shown).unwrap_or_default();
        return Err(bad_input(format!(
            "--data {data}: one class alone ({only}): two class folders or more are needed"
        )));
    }
    folders::tell_both(&layout, &train, &test);
    Ok((Arc::new(train), Arc::new(test)))
}

fn sentences(result: &Finetuned) -> String {
    let dir = result.dir.display();
    let broken = output::left_out(&result.broken);
    let Some(e) = &result.evaluation else {
        let epochs = result.epochs;
        return format!(
            "stopped after {epochs} whole epochs; to go on: the same command with --out {dir} --resume{broken}"
        );
    };
    format!(
        "validation images: {:.2} % right ({} of {}), loss {:.4}, best in epoch {} of {}, {:.0} s{broken}\n\
         report: {dir}/report.html\nto use it: resnet predict --weights {dir}/best.safetensors IMAGE",
        e.top1, e.correct, e.images, e.loss, result.best_epoch, result.epochs, result.seconds
    )
}
