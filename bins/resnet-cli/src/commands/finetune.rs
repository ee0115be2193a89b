//! `resnet finetune`: a pretrained network on a folder of one's own images.

use std::path::PathBuf;
use std::sync::Arc;

use resnet_data::{Dataset, FolderLayout, SplitRule, shown};
use resnet_models::hub::NewHead;
use resnet_train::recipe::{ClassWeights, Overrides, Recipe, Trains};
use resnet_train::trainer::{End, Outcome, Pretrained, Session};

use crate::args::{FolderArgs, NormalizeArgs, TrainingArgs, WeightsArgs, with_default};
use crate::failure::bad_input;
use crate::{folders, network, output, stop};

/// The recipe of a run without `--recipe`.
const DEFAULT_RECIPE: &str = "finetune";

/// The share of each class that is for validation where the folder has no parts.
const VALIDATION_SHARE: f64 = 0.2;

/// Fine-tune a pretrained network on a folder of images
///
/// The folder holds a folder of images for each class, or train/ and val/ (or test/, under any usual name) with those;
/// where it is not divided, a fifth of each class is taken for validation and listed in RUN/split.csv. The head is replaced and trained first, then all parameters are, early stages slowly.
/// Weights, labels and preprocessing go into one file, so that `resnet predict --weights RUN/best.safetensors` needs
/// nothing else.
///
/// All of it is the recipe `finetune` (`resnet list --recipe finetune`), which flags change; defaults are that recipe's.
#[derive(clap::Args)]
#[command(mut_arg("recipe", |arg| with_default(arg, "finetune, or the run's own with --resume")))]
#[command(mut_arg("epochs", |arg| {
    let arg = arg.value_parser(clap::value_parser!(u64).range(0..=10_000));
    with_default(arg.help("Epochs that train all parameters after the head, at most; with 0 only the head is trained"), "15")
}))]
#[command(mut_arg("lr", |arg| with_default(arg, "0.005")))]
#[command(mut_arg("weight_decay", |arg| with_default(arg, "0.0001")))]
#[command(mut_arg("label_smoothing", |arg| with_default(arg, "0.1")))]
#[command(mut_arg("seed", |arg| with_default(arg.help("Seed of the split, the new head, order and augmentation"), "0")))]
#[command(mut_arg("dtype", |arg| with_default(arg, "f32")))]
#[command(mut_arg("batch_size", |arg| with_default(arg, "16")))]
#[command(mut_arg("out", |arg| with_default(arg, "runs/ARCH-finetuned, with a number where that is taken")))]
pub struct Args {
    #[command(flatten)]
    network: WeightsArgs,
    /// Folder with a folder of images per class, divided into train/ and val/ or not
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    folder: FolderArgs,
    /// Epochs that train the head alone, at most [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    head_epochs: Option<u64>,
    /// Peak learning rate when the head alone is trained [default: 0.05]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    head_lr: Option<f64>,
    /// Factor on the learning rate from each stage to the one before it [default: 0.5]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    stage_decay: Option<f64>,
    /// Epochs without a lower validation loss that end the head's training, and then the whole [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    patience: Option<u64>,
    /// Weight every image equally, so larger classes count more
    #[arg(long)]
    no_balance: bool,
    #[command(flatten)]
    normalize: NormalizeArgs,
    #[command(flatten)]
    training: TrainingArgs,
}

/// Fine-tunes, and prints the result and where it lies.
pub fn run(args: Args) -> anyhow::Result<()> {
    let training = &args.training;
    let mut progress = training.progress.open();
    args.network.check()?;
    let (recipe, begun) = match training.recipe(DEFAULT_RECIPE)? {
        // A training from random weights lies there, which is refused in words when its folder is taken.
        (_, Some(run)) if run.pretrained.is_none() => (Recipe::load(DEFAULT_RECIPE)?, None),
        own => own,
    };
    let dataset = Some(format!("folder:{}", args.data.display()));
    let recipe = changed(recipe, &args)?.with(&Overrides { dataset, ..training.overrides() })?;
    let (train, test) = parts(&args, recipe.seed)?;
    let device = training.device.open()?;
    let new_head = NewHead { classes: train.classes().len(), seed: recipe.seed };
    let loaded = network::load_with(&args.network, &device, Some(new_head))?;
    loaded.must_take_colour()?;
    loaded.tell();
    let preprocessing = loaded.preprocessing(&args.normalize)?;
    let network::Loaded { network, parameters, name, .. } = loaded;
    let pretrained = Pretrained { network, parameters, name, preprocessing };
    let loading = training.loading(begun.as_ref());
    let session = Session::pretrained(recipe, pretrained, train, test, &device, loading)?;
    let outcome = session.train(&training.options(None), &mut *progress)?;
    if training.progress.quiet() {
        // Otherwise each was named when it was met.
        output::name_broken(&outcome.broken);
    }
    output::text(sentences(&outcome))?;
    if outcome.end == End::Stopped { stop::result() } else { Ok(()) }
}

/// The recipe as the flags that `train` has not change it.
fn changed(mut recipe: Recipe, args: &Args) -> anyhow::Result<Recipe> {
    for phase in &mut recipe.phases {
        if phase.trains == Trains::Head {
            phase.epochs = args.head_epochs.unwrap_or(phase.epochs);
            phase.lr = args.head_lr.or(phase.lr);
        } else {
            phase.stage_decay = args.stage_decay.unwrap_or(phase.stage_decay);
        }
    }
    let (head, given) = (args.head_epochs.is_some() || args.head_lr.is_some(), args.stage_decay.is_some());
    let has = |trains| recipe.phases.iter().any(|phase| phase.trains == trains);
    if (head && !has(Trains::Head)) || (given && !has(Trains::All)) {
        let flag = if head { "--head-epochs and --head-lr" } else { "--stage-decay" };
        return Err(bad_input(format!(
            "{flag}: the recipe has no such phase; leave it out, or give a recipe with phases"
        )));
    }
    recipe.patience = args.patience.or(recipe.patience);
    if args.no_balance {
        recipe.loss.class_weights = ClassWeights::None;
    }
    Ok(recipe)
}

/// Training and validation images: the folder's own parts, or a fifth of each class by the seed.
fn parts(args: &Args, seed: u64) -> anyhow::Result<(Arc<dyn Dataset>, Arc<dyn Dataset>)> {
    let data = shown(&args.data);
    if !args.data.is_dir() {
        return Err(bad_input(format!(
            "--data {data}: no such folder; give the one that holds a folder for each class"
        )));
    }
    let layout = FolderLayout::of(&args.data, args.folder.options()).map_err(FolderArgs::explained)?;
    let rule = SplitRule::Share { seed, share: VALIDATION_SHARE };
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

fn sentences(outcome: &Outcome) -> String {
    let dir = outcome.dir.path().display();
    let broken = output::left_out(&outcome.broken);
    let (Some(e), Some(best)) = (&outcome.evaluation, outcome.best) else {
        let epochs = outcome.epochs;
        return format!(
            "stopped after {epochs} whole epochs; to go on: the same command with --out {dir} --resume{broken}"
        );
    };
    format!(
        "validation images: {:.2} % right ({} of {}), loss {:.4}, best in epoch {} of {}, {:.0} s{broken}\n\
         report: {dir}/report.html\nto use it: resnet predict --weights {dir}/best.safetensors IMAGE",
        e.top1, e.correct, e.images, e.loss, best.epoch, outcome.epochs, outcome.seconds
    )
}
