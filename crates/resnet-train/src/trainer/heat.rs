//! Where a network looked: pictures of the test set with Grad-CAM maps, for the report.

use candle_core::Device;
use resnet_data::Loader;
use resnet_models::{Network, Preprocessing};

use crate::grad_cam::grad_cam;
use crate::report::HeatPicture;
use crate::{Error, Result};

/// Images with heat that are shown.
const HEATS: usize = 24;

/// The first images of every class in turn, each with what spoke for the class that the network gave it.
pub(super) fn pictures(
    network: &Network,
    test: &Loader,
    device: &Device,
    preprocessing: &Preprocessing,
) -> Result<Vec<HeatPicture>> {
    let classes = test.dataset().classes();
    let each = HEATS.div_ceil(classes.len()).max(1);
    let mut left = vec![each; classes.len()];
    let mut pictures = Vec::new();
    for batch in test.epoch(0, 0) {
        let batch = batch?;
        if batch.indices.is_empty() {
            continue;
        }
        let images = batch.images.to_device(device)?;
        let logits = network.graph().forward_t(&images, false)?.detach();
        let predicted = logits.argmax(candle_core::D::Minus1)?.to_vec1::<u32>()?;
        let labels = batch.labels.to_vec1::<u32>()?;
        let heats = grad_cam(network, &images, &predicted)?;
        for (place, heat) in heats.into_iter().enumerate() {
            let label = labels[place] as usize;
            if pictures.len() == HEATS || left[label] == 0 {
                continue;
            }
            left[label] -= 1;
            let pixels = seen(preprocessing, &batch.images.get(place)?)?;
            let name = |class: usize| classes.get(class).cloned().unwrap_or_default();
            pictures.push(HeatPicture {
                index: batch.indices[place],
                height: preprocessing.size,
                width: preprocessing.size,
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
fn seen(p: &Preprocessing, image: &candle_core::Tensor) -> Result<Vec<u8>> {
    let (channels, height, width) = image.dims3()?;
    let values = image.flatten_all()?.to_vec1::<f32>()?;
    if channels != 3 {
        return Err(Error::Invalid(format!("images of {channels} channels")));
    }
    let byte = |channel: usize, place: usize| {
        let value = values[channel * height * width + place] * p.std[channel] + p.mean[channel];
        (value * 255.0).round().clamp(0.0, 255.0) as u8
    };
    Ok((0..height * width)
        .flat_map(|place| (0..3).map(move |channel| (channel, place)))
        .map(|(c, i)| byte(c, i))
        .collect())
}
