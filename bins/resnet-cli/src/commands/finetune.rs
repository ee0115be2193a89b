//! `resnet finetune`: a pretrained network on a folder of one's own images.

use std::path::PathBuf;
use std::sync::Arc;

use resnet_data::{Dataset, Folder, Split};
use resnet_models::hub::NewHead;
use resnet_train::finetune::{FinetuneConfig, Finetuned, Task, finetune};
use resnet_train::trainer::progress_for_stderr;

use crate::args::{Broken, DeviceArgs, LoaderArgs, NormalizeArgs, WeightsArgs, left_out};
use crate::failure::bad_input;
use crate::stop::stop_on_ctrl_c;
use crate::{network, output};

/// The share of each class that is held back where the folder has no parts.
const HELD_BACK: f64 = 0.2;

/// Fine-tune a pretrained network on a folder of images
///
/// The folder holds a folder of images for each class, or train/ and val/ with those. The head is replaced and learns
/// first; then all parameters do, early stages slowly. Weights, labels and preprocessing go into one file, so that
/// `resnet predict --weights RUN/best.safetensors` needs nothing else.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    network: WeightsArgs,
    /// Folder with a folder of images for each class, divided into train/ and val/ or not
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Epochs of the head alone
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    head_epochs: Option<u64>,
    /// Epochs of all parameters after that, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    epochs: Option<u64>,
    /// Greatest learning rate when all parameters are trained
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Greatest learning rate of the head alone
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    head_lr: Option<f64>,
    /// What the rate is multiplied by from a stage to the one before it
    #[arg(long, value_name = "SHARE")]
    stage_decay: Option<f64>,
    /// Epochs without gain after which training ends
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    patience: Option<u64>,
    /// Let classes with more images count more
    #[arg(long)]
    no_balance: bool,
    /// Decides the split, the new head, order and augmentation
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    normalize: NormalizeArgs,
    #[command(flatten)]
    loader: LoaderArgs,
    /// What an image that cannot be read does
    #[arg(long, value_enum, default_value_t = Broken::Skip)]
    on_broken: Broken,
    #[command(flatten)]
    device: DeviceArgs,
    /// Run directory; runs/ARCH-finetuned with a number where none is given
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in --out after its last whole epoch; the other flags are those that it began with
    #[arg(long, requires = "out")]
    resume: bool,
}

/// Fine-tunes, and prints the result and where it lies.
pub fn run(args: Args) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let (train, test) = parts(&args)?;
    let new_head = NewHead { classes: train.classes().len(), seed: args.seed };
    let loaded = network::load_with(&args.network, &device, Some(new_head))?;
    let dataset = format!("folder:{}", args.data.display());
    let usual = FinetuneConfig::default();
    let config = FinetuneConfig {
        head_epochs: args.head_epochs.unwrap_or(usual.head_epochs),
        epochs: args.epochs.unwrap_or(usual.epochs),
        batch_size: args.loader.batch_size.map_or(usual.batch_size, |n| n as usize),
        lr: args.lr.unwrap_or(usual.lr),
        head_lr: args.head_lr.unwrap_or(usual.head_lr),
        stage_decay: args.stage_decay.unwrap_or(usual.stage_decay),
        patience: args.patience.unwrap_or(usual.patience),
        balance: !args.no_balance,
        seed: args.seed,
        ..usual
    };
    let task = Task {
        network: &loaded.network,
        parameters: &loaded.parameters,
        pretrained: &loaded.name,
        preprocessing: loaded.preprocessing(&args.normalize),
        train,
        test,
        dataset: &dataset,
        device: &device,
        workers: args.loader.workers(),
        out: args.out.as_deref(),
        on_broken: args.on_broken.into(),
        resume: args.resume,
        stop: stop_on_ctrl_c()?,
    };
    let result = finetune(&task, &config, &mut *progress_for_stderr())?;
    for message in &result.broken {
        output::note(format!("left out: {message}"));
    }
    output::text(sentences(&result))
}

/// What is learned from and what is held back: the folder's own parts, or a fifth of each class by the seed.
fn parts(args: &Args) -> anyhow::Result<(Arc<dyn Dataset>, Arc<dyn Dataset>)> {
    if Folder::has_splits(&args.data) {
        let (train, test) = (Folder::open(&args.data, Split::Train)?, Folder::open(&args.data, Split::Test)?);
        return Ok((Arc::new(train), Arc::new(test)));
    }
    let (train, test) = Folder::read(&args.data)?.divide_by_seed(args.seed, HELD_BACK);
    if train.classes().len() < 2 || test.is_empty() {
        let path = args.data.display();
        return Err(bad_input(format!("--data {path}: two class folders or more are needed, with two images in one")));
    }
    Ok((Arc::new(train), Arc::new(test)))
}

fn sentences(result: &Finetuned) -> String {
    let e = &result.evaluation;
    let dir = result.dir.display();
    let mut text = format!(
        "held-back images: {:.2} % right ({} of {}), loss {:.4}, best in epoch {} of {}, {:.0} s",
        e.top1, e.correct, e.images, e.loss, result.best_epoch, result.epochs, result.seconds
    );
    text += &left_out(&result.broken);
    if result.stopped {
        text += &format!("\nstopped before its end; to go on: the same command with --out {dir} --resume");
    }
    text + &format!("\nreport: {dir}/report.html\nto use it: resnet predict --weights {dir}/best.safetensors IMAGE")
}
