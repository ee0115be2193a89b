//! A run as a page: curves from the log, pictures from the data set.

use resnet_data::Dataset;

use super::log::{Record, RecordKind};
use super::run_dir::RunConfig;
use crate::Result;
use crate::metrics::{Evaluation, WrongImage};
use crate::recipe::flat;
use crate::report::{Chart, Confusion, Report, Scale, Series, WorstError};

/// Errors shown as pictures.
const PICTURES: usize = 24;

/// Everything about a run that its report shows.
pub(super) fn report(
    config: &RunConfig,
    records: &[Record],
    parameters: usize,
    result: Option<&Evaluation>,
    test: &dyn Dataset,
) -> Result<Report> {
    let recipe = &config.recipe;
    let mut headline = Vec::new();
    if let Some(e) = result {
        headline.push(("Test accuracy".to_string(), format!("{:.2} %", e.top1)));
        headline.push(("Right of all".into(), format!("{} of {}", e.correct, e.images)));
        if test.classes().len() > 10 {
            headline.push(("Top-5 accuracy".into(), format!("{:.2} %", e.top5)));
        }
        headline.push(("Test loss".into(), format!("{:.4}", e.loss)));
    }
    headline.push(("Parameters".into(), parameters.to_string()));
    if let Some(last) = records.last() {
        headline.push(("Training time".into(), duration(last.seconds)));
        headline.push(("Training speed".into(), format!("{:.0} images/s", last.images_per_second)));
    }
    let confusion = result.map(|e| Confusion { classes: test.classes().to_vec(), counts: e.confusion.clone() });
    let worst_errors = match result {
        Some(result) => worst_errors(result, test)?,
        None => Vec::new(),
    };
    Ok(Report {
        title: format!("{} on {}", recipe.arch, recipe.dataset),
        subtitle: recipe.description.clone(),
        headline,
        tables: Vec::new(),
        charts: charts(records),
        confusion,
        worst_errors,
        heat: Vec::new(),
        configuration: flat(config),
    })
}

/// The worst errors of an evaluation with their pictures.
pub(crate) fn worst_errors(result: &Evaluation, test: &dyn Dataset) -> Result<Vec<WorstError>> {
    let name = |class: u32| test.classes().get(class as usize).cloned().unwrap_or_default();
    let picture = |w: &WrongImage| -> Result<WorstError> {
        let image = test.image(w.index)?;
        Ok(WorstError {
            index: w.index,
            height: image.height,
            width: image.width,
            pixels: image.pixels,
            truth: name(w.label),
            predicted: name(w.predicted),
            truth_probability: w.label_probability,
            predicted_probability: w.predicted_probability,
        })
    };
    result.worst.iter().take(PICTURES).map(picture).collect()
}

/// Loss, accuracy and rate of a run.
pub(crate) fn charts(records: &[Record]) -> Vec<Chart> {
    let epochs: Vec<&Record> = records.iter().filter(|r| r.kind == RecordKind::Epoch).collect();
    let over_epochs = |name: &str, value: fn(&Record) -> Option<f64>| Series {
        name: name.into(),
        points: epochs.iter().filter_map(|r| Some((r.epoch as f64, value(r)?))).collect(),
        ..Series::default()
    };
    // An epoch's record holds the mean over the whole epoch: beside the steps' it would be a kink in the curve. A run
    // that is too short for a step's record has only those.
    let has_steps = records.iter().any(|r| r.kind == RecordKind::Step);
    let steps: Vec<&Record> = records.iter().filter(|r| !has_steps || r.kind == RecordKind::Step).collect();
    let over_steps = |name: &str, value: fn(&Record) -> Option<f64>| Series {
        name: name.into(),
        points: steps.iter().filter_map(|r| Some((r.step as f64, value(r)?))).collect(),
        ..Series::default()
    };
    let chart = |title: &str, x: &str, y: &str, scale, series: Vec<Series>| Chart {
        title: title.into(),
        x_label: x.into(),
        y_label: y.into(),
        scale,
        series,
        y_range: None,
    };
    vec![
        chart(
            "Loss",
            "epoch",
            "cross-entropy",
            Scale::Log,
            vec![over_epochs("train", |r| r.train_loss), over_epochs("test", |r| r.test_loss)],
        ),
        chart(
            "Accuracy",
            "epoch",
            "top-1, %",
            Scale::Linear,
            vec![over_epochs("train", |r| r.train_top1), over_epochs("test", |r| r.test_top1)],
        ),
        chart(
            "Training loss by step",
            "step",
            "cross-entropy",
            Scale::Log,
            vec![over_steps("train", |r| r.train_loss)],
        ),
        chart("Learning rate", "step", "learning rate", Scale::Linear, vec![over_steps("lr", |r| Some(r.lr))]),
    ]
}

/// `40 s`, `12 min 3 s` or `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}
