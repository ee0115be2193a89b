//! The report of a fine-tuning: curves, confusions, worst errors, and where the network looked.

use resnet_data::Loader;

use super::{Task, Written};
use crate::grad_cam::grad_cam;
use crate::metrics::Evaluation;
use crate::report::{Confusion, HeatPicture, Report};
use crate::trainer::Record;
use crate::trainer::page::{charts, worst_errors};
use crate::{Error, Result};

/// Images with heat that are shown.
const HEATS: usize = 24;

pub(super) fn report(
    task: &Task,
    written: &Written,
    records: &[Record],
    result: &Evaluation,
    best_epoch: u64,
    test: &Loader,
) -> Result<Report> {
    let headline = vec![
        ("Held-back images right".to_string(), format!("{:.2} %", result.top1)),
        ("Right of all".into(), format!("{} of {}", result.correct, result.images)),
        ("Loss on them".into(), format!("{:.4}", result.loss)),
        ("Best epoch".into(), format!("{best_epoch} of {}", records.len())),
        ("Images to learn from".into(), task.train.len().to_string()),
    ];
    let classes = task.test.classes().to_vec();
    Ok(Report {
        title: format!("{} on {}", written.arch, task.dataset),
        subtitle: format!("fine-tuned from {}", task.pretrained),
        headline,
        charts: charts(records),
        confusion: Some(Confusion { classes, counts: result.confusion.clone() }),
        worst_errors: worst_errors(result, &*task.test)?,
        heat: heat(task, test)?,
        configuration: crate::recipe::flat(written),
        ..Report::default()
    })
}

/// The first images of every class in turn, each with what spoke for the class that the network gave it.
fn heat(task: &Task, test: &Loader) -> Result<Vec<HeatPicture>> {
    let classes = task.test.classes();
    let each = HEATS.div_ceil(classes.len()).max(1);
    let mut left = vec![each; classes.len()];
    let mut pictures = Vec::new();
    for batch in test.epoch(0, 0) {
        let batch = batch?;
        if batch.indices.is_empty() {
            continue;
        }
        let images = batch.images.to_device(task.device)?;
        let logits = task.network.graph().forward_t(&images, false)?.detach();
        let predicted = logits.argmax(candle_core::D::Minus1)?.to_vec1::<u32>()?;
        let labels = batch.labels.to_vec1::<u32>()?;
        let heats = grad_cam(task.network, &images, &predicted)?;
        for (place, heat) in heats.into_iter().enumerate() {
            let label = labels[place] as usize;
            if pictures.len() == HEATS || left[label] == 0 {
                continue;
            }
            left[label] -= 1;
            let pixels = seen(task, &batch.images.get(place)?)?;
            let name = |class: usize| classes.get(class).cloned().unwrap_or_default();
            pictures.push(HeatPicture {
                index: batch.indices[place],
                height: task.preprocessing.size,
                width: task.preprocessing.size,
                pixels,
                heat,
                truth: name(label),
                predicted: name(predicted[place] as usize),
            });
        }
        if pictures.len() == HEATS || left.iter().all(|&left| left == 0) {
            break;
        }
    }
    Ok(pictures)
}

/// The bytes of what the network saw: (row, column, RGB) of a normalised (3, H, W).
fn seen(task: &Task, image: &candle_core::Tensor) -> Result<Vec<u8>> {
    let (channels, height, width) = image.dims3()?;
    let values = image.flatten_all()?.to_vec1::<f32>()?;
    if channels != 3 {
        return Err(Error::Invalid(format!("images of {channels} channels")));
    }
    let p = task.preprocessing;
    let byte = |channel: usize, place: usize| {
        let value = values[channel * height * width + place] * p.std[channel] + p.mean[channel];
        (value * 255.0).round().clamp(0.0, 255.0) as u8
    };
    Ok((0..height * width)
        .flat_map(|place| (0..3).map(move |channel| (channel, place)))
        .map(|(c, i)| byte(c, i))
        .collect())
}
