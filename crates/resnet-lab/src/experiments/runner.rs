//! Runs what is not done yet.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use resnet_data::Dataset;
use resnet_train::multi_crop::{self, Crop, MultiCrop};
use resnet_train::recipe::Recipe;
use resnet_train::trainer::{End, Progress, Record, RecordKind, Session, TrainOptions, read_log, revision};

use super::options::ReproduceOptions;
use super::page;
use super::plan::{Plan, PlannedVariant, slug};
use super::result::{RunResult, VariantResult};
use super::subset::first;
use crate::{Error, Result};

/// A data set's parts for training and testing.
pub type Opened = (Arc<dyn Dataset>, Arc<dyn Dataset>);

/// What an experiment came to.
#[derive(Clone, Debug)]
pub struct Reproduction {
    /// In the order of the table.
    pub variants: Vec<VariantResult>,
    /// Whether every run is done.
    pub complete: bool,
    /// `report.html`.
    pub page: PathBuf,
    /// `results.csv`.
    pub csv: PathBuf,
}

/// Runs an experiment: what is done is skipped, what was begun is gone on with. `open` opens a data set by name.
///
/// Table and page are written after every run.
///
/// # Errors
/// When a data set cannot be opened, a run fails, a file cannot be written, or a run in `out` was made by another
/// recipe.
pub fn reproduce(
    plan: &Plan,
    options: &ReproduceOptions,
    open: &mut dyn FnMut(&str) -> Result<Opened>,
    progress: &mut dyn Progress,
) -> Result<Reproduction> {
    std::fs::create_dir_all(&options.out).map_err(Error::io("create", &options.out))?;
    let seeds = u64::from(options.seeds.or(plan.config.seeds).unwrap_or(1).max(1));
    let total = plan.variants.len() as u64 * seeds;
    let rows = plan.rows();
    let mut variants: Vec<VariantResult> = rows.iter().map(|&(planned, _)| nothing_yet(planned)).collect();
    let mut opened: Option<(String, Opened)> = None;
    let (mut number, mut complete) = (0, true);
    // Seed by seed: whoever stops after the first has every variant once.
    'runs: for seed in 0..seeds {
        for (i, &(planned, chosen)) in rows.iter().enumerate() {
            number += u64::from(chosen);
            let recipe = Recipe { seed, ..planned.recipe.clone() };
            let dir = options.out.join(format!("{}-seed{seed}", slug(&planned.variant.name)));
            let run = match RunResult::read(&dir, &recipe)? {
                Some(done) => done,
                None if !chosen => continue,
                None => {
                    let sets = match &opened {
                        Some((name, sets)) if *name == recipe.dataset => sets.clone(),
                        _ => open(&recipe.dataset)?,
                    };
                    opened = Some((recipe.dataset.clone(), sets.clone()));
                    progress.message(&format!("run {number} of {total}: {}, seed {seed}", planned.variant.name));
                    match train(plan, &recipe, sets, &dir, options, progress)? {
                        Some(done) => done,
                        None => {
                            complete = false;
                            break 'runs;
                        }
                    }
                }
            };
            if variants[i].runs.is_empty() {
                variants[i].curve = curve(&dir)?;
            }
            variants[i].runs.push(run);
            page::write(plan, options, &shown(&rows, &variants))?;
        }
    }
    progress.finish();
    let variants = shown(&rows, &variants);
    let (csv, page) = page::write(plan, options, &variants)?;
    Ok(Reproduction { variants, complete, page, csv })
}

fn nothing_yet(planned: &PlannedVariant) -> VariantResult {
    let (variant, recipe) = (planned.variant.clone(), planned.recipe.clone());
    VariantResult { variant, recipe, runs: Vec::new(), curve: Vec::new() }
}

/// What is run, done or not, and what else is done.
fn shown(rows: &[(&PlannedVariant, bool)], variants: &[VariantResult]) -> Vec<VariantResult> {
    let rows = rows.iter().zip(variants).filter(|((_, chosen), v)| *chosen || !v.runs.is_empty());
    rows.map(|(_, v)| v.clone()).collect()
}

/// One run, from the beginning or from its checkpoint; nothing when it was stopped.
fn train(
    plan: &Plan,
    recipe: &Recipe,
    (train, test): Opened,
    dir: &Path,
    options: &ReproduceOptions,
    progress: &mut dyn Progress,
) -> Result<Option<RunResult>> {
    let (train, test) = (first(train, plan.config.train_images), first(test, plan.config.test_images));
    let session = Session::new(recipe.clone(), train, test, &options.device, options.workers)?;
    // What was cut off before its first checkpoint begins anew.
    let resume = dir.exists();
    let train_options =
        TrainOptions { out: Some(dir.to_owned()), resume, stop: Arc::clone(&options.stop), ..TrainOptions::default() };
    let began = Instant::now();
    let outcome = match session.train(&train_options, progress) {
        Err(error) if error.is_divergence() => {
            progress.message(&format!("this run fails: {error}"));
            let result = RunResult { seconds: began.elapsed().as_secs_f64(), ..failed(&session, recipe, dir, &error)? };
            result.write(dir)?;
            return Ok(Some(result));
        }
        outcome => outcome?,
    };
    let (End::Finished, Some(mut evaluation)) = (outcome.end, outcome.evaluation) else { return Ok(None) };
    if plan.config.crop != Crop::Center {
        let test = session.test();
        let done = |done: usize, images: usize| {
            progress.evaluating(done, images);
            !options.stop.load(Ordering::Relaxed)
        };
        let network = session.network();
        let normalize = session.recipe().normalize.resolve(&**session.train_loader().dataset())?;
        let crops = MultiCrop::new(plan.config.crop, network.config().image_size, &normalize)?;
        let Some(seen) = multi_crop::evaluate(network, &**test.dataset(), &crops, &options.device, done)? else {
            return Ok(None);
        };
        evaluation = seen;
    }
    let records = epochs(&outcome.dir.log())?;
    let last = records.last();
    let result = RunResult {
        seed: recipe.seed,
        test_error: 100.0 - evaluation.top1,
        test_top5_error: 100.0 - evaluation.top5,
        best_error: outcome.best.map_or(100.0 - evaluation.top1, |best| 100.0 - best.top1),
        train_error: last.and_then(|r| r.train_top1).map_or(100.0, |top1| 100.0 - top1),
        train_loss: last.and_then(|r| r.train_loss).unwrap_or_default(),
        epochs: outcome.epochs,
        seconds: outcome.seconds,
        parameters: parameters(&session),
        diverged: None,
        revision: revision(),
        recipe: recipe.clone(),
    };
    result.write(dir)?;
    Ok(Some(result))
}

/// A run that diverged is a result too: what the papers call "fail".
fn failed(session: &Session, recipe: &Recipe, dir: &Path, error: &Error) -> Result<RunResult> {
    let records = epochs(&dir.join("log.jsonl"))?;
    let last = records.last();
    Ok(RunResult {
        seed: recipe.seed,
        test_error: 100.0,
        test_top5_error: 100.0,
        best_error: records.iter().filter_map(|r| r.test_top1).map(|top1| 100.0 - top1).fold(100.0, f64::min),
        train_error: last.and_then(|r| r.train_top1).map_or(100.0, |top1| 100.0 - top1),
        train_loss: last.and_then(|r| r.train_loss).unwrap_or_default(),
        epochs: records.len() as u64,
        seconds: 0.0,
        parameters: parameters(session),
        diverged: Some(error.to_string()),
        revision: revision(),
        recipe: recipe.clone(),
    })
}

fn parameters(session: &Session) -> usize {
    session.parameters().trainable().iter().map(|(_, var)| var.elem_count()).sum()
}

fn epochs(log: &Path) -> Result<Vec<Record>> {
    Ok(read_log(log)?.into_iter().filter(|r| r.kind == RecordKind::Epoch).collect())
}

fn curve(dir: &Path) -> Result<Vec<(u64, f64, Option<f64>)>> {
    let records = read_log(&dir.join("log.jsonl"))?.into_iter().filter(|r| r.kind == RecordKind::Epoch);
    Ok(records.filter_map(|r| Some((r.step, 100.0 - r.train_top1?, r.test_top1.map(|top1| 100.0 - top1)))).collect())
}
