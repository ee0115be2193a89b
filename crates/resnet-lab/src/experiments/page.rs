//! One CSV and one page for an experiment.

use std::path::PathBuf;

use resnet_train::recipe::Recipe;
use resnet_train::report::{Chart, Report, Scale, Series, Stroke, Table};
use resnet_train::trainer::duration;
use serde::Serialize;

use super::data::Scale as Recipes;
use super::options::ReproduceOptions;
use super::plan::Plan;
use super::plan::slug;
use super::result::{RunResult, VariantResult};
use crate::{Result, files};

/// Fewer points than this in a line are no curve.
const LEAST_POINTS: usize = 5;
/// More lines than this in a chart cannot be told apart.
const MOST_LINES: usize = 10;

#[derive(Serialize, Default)]
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
    // While no run is done the names stand alone.
    files::write(&csv, files::csv_with(&[&files::names::<Row>()?], rows)?.as_bytes())?;
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
        arch: &v.recipe.arch,
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
        fail: run.diverged.is_some() || plan.config.fail_above.is_some_and(|limit| run.test_error > limit),
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
        tables: std::iter::once(table(plan, variants)).chain(differences(variants)).collect(),
        charts: charts(variants),
        configuration: variants.first().map(|v| settings(plan, &v.recipe)).unwrap_or_default(),
        ..Report::default()
    }
}

fn table(plan: &Plan, variants: &[VariantResult]) -> Table {
    let fail = plan.config.fail_above;
    let mut note =
        "Errors in percent after the last step (top-1, or top-1 / top-5 where the paper has both): median, and \
                    least to greatest where there are several runs. The training error is that of the last epoch's \
                    augmented images."
            .to_string();
    if variants.iter().any(|v| v.runs.len() > 1) {
        note += " The curves are those of seed 0.";
    }
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
    let replaced: Vec<String> = plan.config.replace.iter().map(|(old, new)| format!("{new} for {old}")).collect();
    if !replaced.is_empty() {
        note += &format!(" Shallower networks stand for the published ones: {}.", replaced.join(", "));
    }
    let rows = variants.iter().map(|v| {
        vec![
            v.variant.name.clone(),
            v.test_cell(fail),
            v.cell(|run| run.train_error),
            v.variant.published.to_string(),
            v.runs.len().to_string(),
            v.recipe.arch.clone(),
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

/// A chart a group, as in the papers' figures: training error thin, test error bold. All have one range of errors, but for
/// a second chart of each group that shows the second half of the training, where the lines lie close together.
pub(super) fn charts(variants: &[VariantResult]) -> Vec<Chart> {
    let mut groups: Vec<&str> = Vec::new();
    for v in variants {
        if !groups.contains(&v.variant.group.as_str()) {
            groups.push(&v.variant.group);
        }
    }
    let errors = || variants.iter().flat_map(|v| &v.curve).flat_map(|&(_, train, test)| [Some(train), test]).flatten();
    let range = errors().min_by(f64::total_cmp).zip(errors().max_by(f64::total_cmp));
    let chart = |title: &str, from: f64, y_range, members: Vec<&VariantResult>| Chart {
        title: title.into(),
        x_label: "iteration; thin: training, bold: test".into(),
        y_label: "error, %".into(),
        scale: Scale::Linear,
        series: members.into_iter().enumerate().flat_map(|(colour, v)| lines(v, colour, from)).collect(),
        y_range,
    };
    // What belongs to no group is what the groups are compared with: it is drawn with each of them.
    let of = |group: &str| {
        variants.iter().filter(|v| v.variant.group == group || v.variant.group.is_empty()).collect::<Vec<_>>()
    };
    if groups.len() > 1 {
        groups.retain(|group| !group.is_empty());
    }
    let title = |group: &str| {
        let mut trained: Vec<&str> = of(group).iter().map(|v| v.recipe.arch.as_str()).collect();
        trained.dedup();
        match (group, of(group).iter().all(|v| v.recipe.arch != v.variant.arch)) {
            ("", _) => "Error".to_string(),
            (group, true) => format!("{group} [{}]", trained.join(", ")),
            (group, false) => group.to_string(),
        }
    };
    let mut charts: Vec<Chart> = groups.iter().map(|group| chart(&title(group), 0.0, range, of(group))).collect();
    if groups.len() > 1 && variants.len() <= MOST_LINES {
        charts.push(chart("All", 0.0, range, variants.iter().collect()));
    }
    for group in &groups {
        let members = of(group);
        let steps = |v: &&VariantResult| v.curve.iter().map(|point| point.0).collect::<Vec<_>>();
        let last = members.iter().flat_map(steps).max().unwrap_or_default();
        let half = last as f64 / 2.0;
        if members.iter().flat_map(steps).filter(|&step| step as f64 > half).count() >= LEAST_POINTS * members.len() {
            charts.push(chart(&format!("{}, second half", title(group)), half, None, members));
        }
    }
    charts
}

/// A variant's lines, from a step on.
fn lines(v: &VariantResult, colour: usize, from: f64) -> [Series; 2] {
    let points = || v.curve.iter().map(|&(step, train, test)| (step as f64, train, test)).filter(|p| p.0 > from);
    let train = points().map(|(step, train, _)| (step, train)).collect();
    let test = points().filter_map(|(step, _, test)| Some((step, test?))).collect();
    let line = |name: &str, points, stroke| Series { name: name.into(), points, stroke, colour: Some(colour) };
    [line("", train, Stroke::Thin), line(&v.label(), test, Stroke::Bold)]
}

/// What sets the rows apart beside the network: changes of its configuration, and the data set where there are several.
fn differences(variants: &[VariantResult]) -> Option<Table> {
    let changed = variants.iter().any(|v| !v.recipe.network.is_empty());
    if !changed && !several_data_sets(variants) {
        return None;
    }
    let rows = variants.iter().map(|v| {
        let changes = resnet_train::recipe::flat(&v.recipe.network);
        let changes: Vec<String> = changes.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
        vec![v.variant.name.clone(), v.recipe.arch.clone(), changes.join(", "), v.recipe.dataset.clone()]
    });
    Some(Table {
        title: "What sets the rows apart".into(),
        note: "The network by its name in `resnet list`, and what differs from its configuration there.".into(),
        columns: ["variant", "network", "configuration", "data set"].map(Into::into).into(),
        rows: rows.collect(),
    })
}

fn several_data_sets(variants: &[VariantResult]) -> bool {
    variants.windows(2).any(|pair| pair[0].recipe.dataset != pair[1].recipe.dataset)
}

/// The recipe that all variants share, and what the scale adds to it.
fn settings(plan: &Plan, recipe: &Recipe) -> Vec<(String, String)> {
    let shared = Recipe { arch: "as in the table".into(), network: serde_json::Map::new(), ..recipe.clone() };
    // The rest of the scale is in the recipe already, or in the table.
    let told = |key: &str| matches!(key, "recipe" | "dataset" | "epochs" | "dtype" | "seeds" | "variants");
    let scale = resnet_train::recipe::flat(&plan.config).into_iter().filter(|(key, _)| !told(key));
    let scale = scale.map(|(key, value)| (format!("scale.{key}"), value));
    let recipe = resnet_train::recipe::flat(&shared).into_iter().filter(|(key, _)| key != "seed");
    recipe.chain(scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_names_of_its_rows() -> Result<()> {
        let names = "experiment,scale,variant,arch,dataset,seed,test_error,test_top5_error,best_error,train_error,\
                     train_loss,epochs,seconds,parameters,fail,diverged,published_error,published_top5_error,published,\
                     revision";
        assert_eq!(files::names::<Row>()?, names);
        Ok(())
    }
}
