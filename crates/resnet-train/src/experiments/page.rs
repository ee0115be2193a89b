//! One CSV and one page for an experiment.

use std::path::PathBuf;

use serde::Serialize;

use super::data::Scale as Recipes;
use super::plan::Plan;
use super::result::{RunResult, VariantResult};
use super::runner::{ReproduceOptions, slug};
use crate::recipe::Recipe;
use crate::report::{Chart, Report, Scale, Series, Stroke, Table};
use crate::trainer::duration;
use crate::{Result, files};

/// More lines than this in a chart cannot be told apart.
const MOST_LINES: usize = 10;

#[derive(Serialize)]
struct Row<'a> {
    experiment: &'a str,
    scale: String,
    variant: &'a str,
    arch: &'a str,
    dataset: &'a str,
    seed: u64,
    test_error: f64,
    test_top5_error: f64,
    best_error: f64,
    train_error: f64,
    train_loss: f64,
    epochs: u64,
    seconds: f64,
    parameters: usize,
    fail: bool,
    diverged: &'a str,
    published_error: Option<f64>,
    published_top5_error: Option<f64>,
    published: String,
    revision: &'a str,
}

/// Writes `results.csv`, `curves.csv`, each chart as SVG and `report.html`; returns the paths of the first and the last.
pub(super) fn write(plan: &Plan, options: &ReproduceOptions, variants: &[VariantResult]) -> Result<(PathBuf, PathBuf)> {
    let (csv, page) = (options.out.join("results.csv"), options.out.join("report.html"));
    let rows = variants.iter().flat_map(|v| v.runs.iter().map(move |run| row(plan, v, run)));
    files::write(&csv, files::csv(rows)?.as_bytes())?;
    let curves = variants
        .iter()
        .flat_map(|v| v.curve.iter().map(move |&(step, train, test)| (&v.variant.name, step, train, test)));
    let header = ["variant", "step", "train_error", "test_error"];
    files::write(&options.out.join("curves.csv"), files::csv_with(&header, curves)?.as_bytes())?;
    let report = report(plan, options, variants);
    for chart in &report.charts {
        files::write(&options.out.join(format!("curves-{}.svg", slug(&chart.title))), chart.svg().as_bytes())?;
    }
    report.write(&page)?;
    Ok((csv, page))
}

fn row<'a>(plan: &'a Plan, v: &'a VariantResult, run: &'a RunResult) -> Row<'a> {
    Row {
        experiment: &plan.experiment.name,
        scale: plan.scale.to_string(),
        variant: &v.variant.name,
        arch: &v.arch,
        dataset: &run.recipe.dataset,
        seed: run.seed,
        test_error: run.test_error,
        test_top5_error: run.test_top5_error,
        best_error: run.best_error,
        train_error: run.train_error,
        train_loss: run.train_loss,
        epochs: run.epochs,
        seconds: run.seconds,
        parameters: run.parameters,
        fail: run.diverged.is_some() || plan.experiment.fail_above.is_some_and(|limit| run.test_error > limit),
        diverged: run.diverged.as_deref().unwrap_or_default(),
        published_error: v.variant.published.error,
        published_top5_error: v.variant.published.top5,
        published: v.variant.published.to_string(),
        revision: &run.revision,
    }
}

fn report(plan: &Plan, options: &ReproduceOptions, variants: &[VariantResult]) -> Report {
    let experiment = &plan.experiment;
    let runs: usize = variants.iter().map(|v| v.runs.len()).sum();
    let seconds: f64 = variants.iter().flat_map(|v| &v.runs).map(|run| run.seconds).sum();
    Report {
        title: experiment.title.clone(),
        subtitle: format!("{}. {} Made by: {}", experiment.source, experiment.about, options.command),
        headline: vec![
            ("Scale".into(), plan.scale.to_string()),
            ("Runs".into(), runs.to_string()),
            ("Training".into(), duration(seconds)),
        ],
        tables: vec![table(plan, variants)],
        charts: charts(variants),
        configuration: plan.variants.first().map(|v| settings(&v.recipe)).unwrap_or_default(),
        ..Report::default()
    }
}

fn table(plan: &Plan, variants: &[VariantResult]) -> Table {
    let fail = plan.experiment.fail_above;
    let mut note =
        "Errors in percent after the last step: median, and least to greatest where there are several runs. \
                    The training error is that of the last epoch's augmented images."
            .to_string();
    if let Some(limit) = fail {
        note +=
            &format!(" \"fail\" stands for a test error above {limit:.0} %, as in the paper, or a run that diverged.");
    }
    if plan.config.epochs.is_some() || plan.config.dataset.is_some() || !plan.config.replace.is_empty() {
        note += match plan.scale {
            Recipes::Smoke => " This scale shows that everything runs, no more: errors near chance are to be expected.",
            _ => " This scale is not the published one: the order of the rows may be compared, the numbers not.",
        };
    }
    let rows = variants.iter().map(|v| {
        vec![
            v.variant.name.clone(),
            v.test_cell(fail),
            v.cell(|run| run.train_error),
            v.variant.published.to_string(),
            v.runs.len().to_string(),
            v.arch.clone(),
            v.runs.first().map_or_else(String::new, |run| format!("{:.2} M", run.parameters as f64 / 1e6)),
            v.median(|run| run.seconds / 60.0).map_or_else(String::new, |minutes| format!("{minutes:.1}")),
        ]
    });
    Table {
        title: "Ours beside the published".into(),
        note,
        columns: ["variant", "test error", "training error", "published", "runs", "network", "parameters", "minutes"]
            .map(Into::into)
            .into(),
        rows: rows.collect(),
    }
}

/// A chart a group, as in the papers' figures: training error thin, test error bold. All have one range of errors.
pub(super) fn charts(variants: &[VariantResult]) -> Vec<Chart> {
    let mut groups: Vec<&str> = Vec::new();
    for v in variants {
        if !groups.contains(&v.variant.group.as_str()) {
            groups.push(&v.variant.group);
        }
    }
    let errors = || variants.iter().flat_map(|v| &v.curve).flat_map(|&(_, train, test)| [Some(train), test]).flatten();
    let range = errors().min_by(f64::total_cmp).zip(errors().max_by(f64::total_cmp));
    let chart = |title: &str, members: Vec<&VariantResult>| Chart {
        title: if title.is_empty() { "Error".into() } else { title.into() },
        x_label: "iteration; thin: training, bold: test".into(),
        y_label: "error, %".into(),
        scale: Scale::Linear,
        series: members.into_iter().enumerate().flat_map(|(colour, v)| lines(v, colour)).collect(),
        y_range: range,
    };
    // What belongs to no group is what the groups are compared with: it is drawn with each of them.
    let of = |group: &str| {
        variants.iter().filter(|v| v.variant.group == group || v.variant.group.is_empty()).collect::<Vec<_>>()
    };
    if groups.len() > 1 {
        groups.retain(|group| !group.is_empty());
    }
    let mut charts: Vec<Chart> = groups.iter().map(|group| chart(group, of(group))).collect();
    if groups.len() > 1 && variants.len() <= MOST_LINES {
        charts.push(chart("All", variants.iter().collect()));
    }
    charts
}

fn lines(v: &VariantResult, colour: usize) -> [Series; 2] {
    let train = v.curve.iter().map(|&(step, train, _)| (step as f64, train)).collect();
    let test = v.curve.iter().filter_map(|&(step, _, test)| Some((step as f64, test?))).collect();
    let line = |name: &str, points, stroke| Series { name: name.into(), points, stroke, colour: Some(colour) };
    [line("", train, Stroke::Thin), line(&v.variant.name, test, Stroke::Bold)]
}

/// The recipe that all variants share.
fn settings(recipe: &Recipe) -> Vec<(String, String)> {
    let shared = Recipe { arch: "as in the table".into(), network: serde_json::Map::new(), ..recipe.clone() };
    crate::recipe::flat(&shared).into_iter().filter(|(key, _)| key != "seed").collect()
}
