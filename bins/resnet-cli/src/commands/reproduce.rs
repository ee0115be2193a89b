//! `resnet reproduce`: a table or figure of the papers, ours beside the published.

use std::path::PathBuf;

use clap::ValueEnum;
use resnet_lab::experiments::{Experiment, Opened, ReproduceOptions, Reproduction, Scale, reproduce};
use serde::Serialize;

use crate::args::{DeviceArgs, DtypeArgs, JsonArgs, LoaderArgs, ProgressArgs, with_default};
use crate::failure::bad_input;
use crate::output::Download;
use crate::{device, output, stop};

/// Reproduce a table or figure of the papers
///
/// Trains every variant that is not trained yet and writes results.csv and report.html: median and spread of the runs,
/// the published value, and curves of training and test error. Started again, it goes on where it was stopped.
#[derive(clap::Args)]
#[command(mut_arg("dtype", |arg| with_default(arg, "the experiment's")))]
pub struct Args {
    /// The experiment; --list shows all
    name: Option<String>,
    /// Show every experiment with its source
    #[arg(long)]
    list: bool,
    /// How much of it
    #[arg(long, value_enum, default_value_t = ScaleArg::Smoke)]
    scale: ScaleArg,
    /// Runs of each variant, with seeds from 0 on [default: the experiment's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: Option<u32>,
    #[command(flatten)]
    dtype: DtypeArgs,
    /// Runs only this variant; may be given several times. The page keeps the rows that are done
    #[arg(long, value_name = "NAME")]
    variant: Vec<String>,
    /// Folder of the data set: CIFAR's files, or ImageNet's train/ and val/
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Folder for runs, table and page [default: runs/reproduce/NAME-SCALE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Threads that read and augment images [default: half of the CPU's threads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=256))]
    workers: Option<u32>,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    json: JsonArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScaleArg {
    /// As published: days on a GPU
    Full,
    /// What two cores do in about two hours; the order of the variants is what counts
    Cpu,
    /// Minutes: whether everything works
    Smoke,
}

impl From<ScaleArg> for Scale {
    fn from(scale: ScaleArg) -> Self {
        match scale {
            ScaleArg::Full => Self::Full,
            ScaleArg::Cpu => Self::Cpu,
            ScaleArg::Smoke => Self::Smoke,
        }
    }
}

/// A line of `--list --json`.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    title: String,
    source: String,
    variants: Vec<String>,
}

/// A line of `--json`.
#[derive(Serialize)]
struct Row<'a> {
    experiment: &'a str,
    scale: String,
    variant: &'a str,
    runs: usize,
    fail: bool,
    test_error: Option<f64>,
    train_error: Option<f64>,
    published_error: Option<f64>,
    published: String,
}

/// Runs an experiment, or lists all.
pub fn run(args: Args) -> anyhow::Result<()> {
    let name = match (&args.name, args.list) {
        (_, true) => return list(args.json.json),
        (Some(name), false) => name.clone(),
        (None, false) => return Err(bad_input("name an experiment; `resnet reproduce --list` shows all")),
    };
    let mut progress = args.progress.open();
    let experiment = Experiment::load(&name)?;
    let scale = Scale::from(args.scale);
    let mut plan = experiment.plan(scale)?.only(&args.variant)?;
    if let Some(dtype) = args.dtype.dtype {
        plan = plan.with_dtype(dtype.compute())?;
    }
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("runs/reproduce/{name}-{scale}")));
    let workers = args.workers.map_or_else(LoaderArgs::default_workers, |n| n as usize);
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let options = ReproduceOptions {
        out,
        seeds: args.seeds,
        device: args.device.open()?,
        workers,
        stop: stop::save_and_stop(),
        command: format!("resnet {command}"),
    };
    let data_dir = args.data_dir.clone();
    let mut open = |name: &str| opened(name, data_dir.as_ref());
    output::inform(format!("{} at scale {scale} on {}", plan.experiment.title, device::name(&options.device)));
    let outcome = reproduce(&plan, &options, &mut open, &mut *progress)?;
    let fail_above = plan.config.fail_above;
    if args.json.json {
        lines(&name, scale, fail_above, &outcome)?;
    } else {
        output::text(table(fail_above, &outcome))?;
    }
    if outcome.complete { Ok(()) } else { stop::result() }
}

/// A data set's two parts; `imagenet` is a folder that the user must name.
fn opened(name: &str, data_dir: Option<&PathBuf>) -> resnet_train::Result<Opened> {
    let (name, data_dir) = match (name, data_dir) {
        ("imagenet", None) => {
            return Err(resnet_train::Error::Invalid(
                "this scale is on ImageNet: name the folder that holds its train/ and val/ with --data-dir".into(),
            ));
        }
        ("imagenet", Some(dir)) => (format!("folder:{}", dir.display()), None),
        (name, dir) => (name.to_owned(), dir.map(PathBuf::as_path)),
    };
    Ok(resnet_data::open_train_test(&name, data_dir, &mut Download::default())?)
}

fn list(json: bool) -> anyhow::Result<()> {
    let mut text = Vec::new();
    for name in Experiment::names() {
        let Experiment { title, source, variants, .. } = Experiment::load(name)?;
        if json {
            let variants = variants.into_iter().map(|v| v.name).collect();
            output::json(&Listed { name, title, source, variants })?;
        } else {
            text.push(format!("{name}\n    {title}\n    {source}; {} variants", variants.len()));
        }
    }
    if json { Ok(()) } else { output::text(text.join("\n")) }
}

fn lines(experiment: &str, scale: Scale, fail_above: Option<f64>, outcome: &Reproduction) -> anyhow::Result<()> {
    outcome.variants.iter().try_for_each(|v| {
        output::json(&Row {
            experiment,
            scale: scale.to_string(),
            variant: &v.variant.name,
            runs: v.runs.len(),
            fail: v.fails(fail_above),
            test_error: v.median(|run| run.test_error),
            train_error: v.median(|run| run.train_error),
            published_error: v.variant.published.error,
            published: v.variant.published.to_string(),
        })
    })
}

/// Median, and least and greatest of several runs, beside the published value.
fn table(fail_above: Option<f64>, outcome: &Reproduction) -> String {
    let header = ["error, %", "test", "training", "runs", "published"].map(String::from);
    let rows = outcome.variants.iter().map(|v| {
        let (test, train) = (v.test_cell(fail_above), v.cell(|run| run.train_error));
        [v.variant.name.clone(), test, train, v.runs.len().to_string(), v.variant.published.to_string()]
    });
    let rows: Vec<[String; 5]> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let line = |[name, test, train, runs, published]: &[String; 5]| {
        let [a, b, c, d] = widths;
        format!("{name:a$}  {test:>b$}  {train:>c$}  {runs:>d$}  {published}")
    };
    let mut text: Vec<String> = rows.iter().map(line).collect();
    if !outcome.complete {
        text.push("stopped: the same command goes on".into());
    }
    text.push(format!("page: {}\ntable: {}", outcome.page.display(), outcome.csv.display()));
    text.join("\n")
}
