//! `resnet diagnose`: signals and gradients through depth.

use std::path::PathBuf;

use candle_core::{DType, Device};
use clap::ValueEnum;
use resnet_data::{Loader, LoaderConfig, Normalize, Split};
use resnet_lab::diagnose::{self, Batch, Output, ShatteredConfig};
use resnet_models::{Network, Parameters};
use resnet_train::multi_crop;
use serde::Serialize;

use crate::args::{DatasetArgs, JsonArgs, NormalizeArgs, PartArgs, WeightsArgs};
use crate::failure::bad_input;
use crate::{network, output};

/// Measure signals and gradients inside networks, as plots and CSV
///
/// signal: size of the signal and of its gradient at each block; scaling: factors on the shortcuts; identity: equation
/// (5) of He et al. 2016 term by term; shattered: autocorrelation of dy/dx of scalar-input networks (Balduzzi et al. 2017).
#[derive(clap::Args)]
pub struct Args {
    /// What to measure
    #[arg(value_enum, default_values_t = [What::Signal, What::Scaling, What::Identity, What::Shattered])]
    what: Vec<What>,
    /// Networks, separated by commas, at initialisation
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "plain56,resnet56,preact_resnet56")]
    arch: Vec<String>,
    /// Weights of one network, in place of fresh ones; with --arch where the file does not name it
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    #[command(flatten)]
    part: PartArgs,
    #[command(flatten)]
    data: DatasetArgs,
    /// Images that signals are measured on
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..=4096))]
    images: u32,
    /// Factors on the shortcuts of the first pre-activation network of --arch, separated by commas
    #[arg(long, value_name = "FACTORS", value_delimiter = ',', default_value = "0.5,0.9,1,1.2")]
    lambda: Vec<f64>,
    /// Hidden layers of the scalar-input networks, separated by commas
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "2,4,10,24,50", value_parser = clap::value_parser!(u32).range(1..=1000))]
    depths: Vec<u32>,
    /// Initialisations that autocorrelations are averaged over
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Factors of the branches of the residual scalar-input networks, separated by commas
    #[arg(long, value_name = "BETAS", value_delimiter = ',', default_value = "1,0.1")]
    beta: Vec<f64>,
    /// Decides initial weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Folder for plots, CSV files and diagnose.html
    #[arg(long, value_name = "DIR", default_value = "runs/diagnose")]
    out: PathBuf,
    #[command(flatten)]
    json: JsonArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Forward signal and gradient at each block through depth
    Signal,
    /// Factors on the shortcuts: the product of equation (8) of He et al. 2016 against what is measured
    Scaling,
    /// The gradient at a shallow block against the sum of equation (5) of He et al. 2016
    Identity,
    /// Autocorrelation of dy/dx by lag, plain against residual by depth
    Shattered,
}

/// Equation (5) holds for any batch, and is checked in f64 without the fast kernels.
const IDENTITY_IMAGES: usize = 4;

/// A line of `--json`.
#[derive(Serialize)]
struct Row<'a, T> {
    diagnostic: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'a str>,
    #[serde(flatten)]
    row: &'a T,
}

/// Measures, writes the folder, and prints where it is and what stands out.
pub fn run(args: Args) -> anyhow::Result<()> {
    if let Some(wrong) = args.beta.iter().find(|beta| !beta.is_finite()) {
        return Err(bad_input(format!("--beta {wrong} must be a number")));
    }
    let mut all = Output::default();
    let mut text = Vec::new();
    if args.what.iter().any(|what| *what != What::Shattered) {
        let (networks, batch) = networks(&args)?;
        if args.what.contains(&What::Signal) {
            signals(&networks, &batch, args.json.json, &mut all, &mut text)?;
        }
        if args.what.contains(&What::Scaling) {
            scalings(&args, &networks, &batch, &mut all, &mut text)?;
        }
        if args.what.contains(&What::Identity) {
            identities(&args, &networks, &batch, &mut all, &mut text)?;
        }
    }
    if args.what.contains(&What::Shattered) {
        shattered(&args, &mut all, &mut text)?;
    }
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let page = all.write(&args.out, &format!("resnet {command}"))?;
    if args.json.json {
        return Ok(());
    }
    text.push(format!("plots and numbers: {}", page.display()));
    output::text(text.join("\n"))
}

/// A network by name, with its weights.
struct Measured {
    name: String,
    network: Network,
    parameters: Parameters,
}

/// The networks, and a batch that fits all of them.
fn networks(args: &Args) -> anyhow::Result<(Vec<Measured>, Batch)> {
    let device = Device::Cpu;
    let (networks, normalize, trained_on) = match &args.weights {
        None => {
            let mut networks = Vec::new();
            for arch in &args.arch {
                let parameters = Parameters::new(args.seed, DType::F32, &device);
                let network = resnet_models::create(arch, parameters.builder(), None)?;
                networks.push(Measured { name: arch.clone(), network, parameters });
            }
            (networks, None, None)
        }
        Some(file) => {
            // The default of --arch is no wish of the user's.
            let arch = match args.arch.as_slice() {
                [arch] => Some(arch.clone()),
                _ => None,
            };
            let loaded = network::load(
                &WeightsArgs { arch, weights: Some(file.clone()), part: args.part.clone(), ..WeightsArgs::default() },
                &device,
            )?;
            loaded.must_have_head()?;
            loaded.must_take_colour()?;
            loaded.tell();
            let normalize = loaded.normalize(&NormalizeArgs::default(), &args.data)?;
            let name = loaded.network.config().name.clone();
            let measured = Measured { name, network: loaded.network, parameters: loaded.parameters };
            (vec![measured], Some(normalize), loaded.dataset)
        }
    };
    let sizes: Vec<usize> = networks.iter().map(|measured| measured.network.config().image_size).collect();
    let Some(&size) = sizes.first() else { return Err(bad_input("--arch names no network")) };
    if sizes.iter().any(|&other| other != size) {
        return Err(bad_input("--arch: the networks are made for images of different sizes; measure them apart"));
    }
    let name = args.data.dataset.clone().or(trained_on).unwrap_or_else(|| "shapes".into());
    let dataset = args.data.open(&name, Split::Test)?;
    let info = resnet_data::info(&name)?;
    let transform = multi_crop::center(
        size,
        Some(&*dataset),
        normalize.unwrap_or_else(|| Normalize::channel(info.mean, info.std)),
    )?;
    let config =
        LoaderConfig { batch_size: args.images as usize, shuffle: true, seed: args.seed, ..Default::default() };
    let loader = Loader::new(dataset, transform, config)?;
    let Some(batch) = loader.epoch(0, 0).next() else { return Err(bad_input(format!("{name} has no images"))) };
    let batch = batch?;
    Ok((networks, Batch { images: batch.images, labels: batch.labels }))
}

fn signals(
    networks: &[Measured],
    batch: &Batch,
    json: bool,
    all: &mut Output,
    text: &mut Vec<String>,
) -> anyhow::Result<()> {
    let bar = output::bar("signal", networks.len(), "networks");
    let mut measured = Vec::new();
    for Measured { name, network, .. } in networks {
        let rows = diagnose::signal(network, batch)?;
        if json {
            for row in &rows {
                output::json(&Row { diagnostic: "signal", network: Some(name), row })?;
            }
        }
        if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
            text.push(format!(
                "{name}: signal {:.3} to {:.3}, gradient {:.3e} at the first block and {:.3e} at the last",
                first.signal, last.signal, first.gradient, last.gradient
            ));
        }
        measured.push((name.clone(), rows));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(all.signals(&measured)?)
}

fn scalings(
    args: &Args,
    networks: &[Measured],
    batch: &Batch,
    all: &mut Output,
    text: &mut Vec<String>,
) -> anyhow::Result<()> {
    if let Some(wrong) = args.lambda.iter().find(|lambda| !lambda.is_finite()) {
        return Err(bad_input(format!("--lambda {wrong} must be a number")));
    }
    let pre = networks.iter().find(|measured| measured.network.config().block.order.is_pre_activation());
    let Some(Measured { name: arch, network, parameters }) = pre else {
        let why = "scaling needs a pre-activation network, and --arch or --weights names none: try preact_resnet56";
        return left_out(args, text, bad_input(why));
    };
    let bar = output::bar("scaling", args.lambda.len(), "factors");
    let mut measured = Vec::new();
    for &lambda in &args.lambda {
        let result = diagnose::scaling(network.config(), parameters, lambda, batch)?;
        for row in &result.rows {
            if args.json.json {
                output::json(&Row { diagnostic: "scaling", network: Some(arch), row })?;
            }
            text.push(format!(
                "{arch}, λ = {lambda}, {} units: product of the λs {:.4e}, measured {:.4e}; with branches {:.4e}",
                row.units, row.predicted, row.measured, row.with_branches
            ));
        }
        measured.push(result);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(all.scalings(arch, &measured)?)
}

fn identities(
    args: &Args,
    networks: &[Measured],
    batch: &Batch,
    all: &mut Output,
    text: &mut Vec<String>,
) -> anyhow::Result<()> {
    let bar = output::bar("identity", networks.len(), "networks");
    let batch = &batch.first(IDENTITY_IMAGES)?;
    let mut refused = None;
    let mut found = false;
    for Measured { name, network, .. } in networks {
        bar.inc(1);
        // Of several networks those without identity shortcuts are left out; if there is no other, that is an error.
        let rows = match diagnose::identity(network, batch) {
            Ok(rows) => rows,
            Err(error @ resnet_train::Error::Invalid(_)) => {
                refused = Some(error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        found = true;
        if args.json.json {
            for row in &rows {
                output::json(&Row { diagnostic: "identity", network: Some(name), row })?;
            }
        }
        let worst = rows.iter().map(|row| row.difference).fold(0.0, f64::max);
        text.push(format!(
            "{name}: the gradient at {} blocks equals the sum of equation (5) up to {worst:.1e} of its norm",
            rows.len()
        ));
        all.identity(name, &rows)?;
    }
    bar.finish_and_clear();
    match refused {
        Some(error) if !found => left_out(args, text, error.into()),
        _ => Ok(()),
    }
}

/// A diagnostic that does not suit the networks: an error where nothing else is measured, and otherwise no reason to lose
/// the rest.
fn left_out(args: &Args, text: &mut Vec<String>, why: anyhow::Error) -> anyhow::Result<()> {
    if args.what.len() == 1 {
        return Err(why);
    }
    match args.json.json {
        true => output::name_broken(&[why.to_string()]),
        false => text.push(format!("left out: {why}")),
    }
    Ok(())
}

fn shattered(args: &Args, all: &mut Output, text: &mut Vec<String>) -> anyhow::Result<()> {
    let config = ShatteredConfig {
        depths: args.depths.iter().map(|&depth| depth as usize).collect(),
        runs: args.runs as usize,
        betas: args.beta.clone(),
        seed: args.seed,
        ..ShatteredConfig::default()
    };
    let bar = output::bar("shattered", (1 + config.betas.len()) * config.depths.len(), "networks");
    let rows = diagnose::shattered(&config, &mut |done, _| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    for row in &rows {
        if args.json.json {
            output::json(&Row { diagnostic: "shattered", network: None, row })?;
        }
        let layers = if row.depth > 0 { format!(", {} layers", row.depth) } else { String::new() };
        text.push(format!(
            "{}{layers}: autocorrelation of dy/dx {:.3} at lag 1, {:.3} at lag 5",
            row.name(),
            row.autocorrelation[1],
            row.autocorrelation[5]
        ));
    }
    Ok(all.shattered(&rows)?)
}
