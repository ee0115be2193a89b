//! Batches of one image, whose statistics some norms cannot take.

use candle_core::Tensor;
use resnet_data::Loader;
use resnet_ops::Graph;
use resnet_ops::graph::{MapShape, Op};

use crate::{Error, Result};

/// Whether training needs more than one of these images (N, C, H, W) at a time: a batch norm sees maps of one pixel, and
/// one image alone gives it one value a channel.
pub(super) fn is_too_few(graph: &Graph, images: &Tensor) -> Result<bool> {
    let (_, channels, height, width) = images.dims4()?;
    let shapes = graph.shapes(MapShape { channels, height, width })?;
    let one_value = |value: &resnet_ops::graph::NodeId| {
        shapes.get(value.index()).is_some_and(|shape| shape.height * shape.width == 1)
    };
    Ok(graph.nodes().iter().any(|node| matches!(node.op, Op::Norm(_)) && node.inputs.iter().any(one_value)))
}

/// Whether the last batch of an epoch holds one image, and that is too few.
///
/// # Errors
/// When no batch would be left, or the images cannot be read.
pub(super) fn is_last(graph: &Graph, loader: &Loader) -> Result<bool> {
    let (batch_size, samples) = (loader.config().batch_size, loader.samples());
    if samples % batch_size != 1 % batch_size {
        return Ok(false);
    }
    // Any image tells the size that all have.
    let mut batches = loader.epoch(0, 0).filter(|batch| batch.as_ref().map_or(true, |b| !b.indices.is_empty()));
    let Some(batch) = batches.next() else { return Ok(false) };
    let wanted = is_too_few(graph, &batch?.images)?;
    if wanted && (batch_size == 1 || samples == 1) {
        return Err(Error::Invalid(format!(
            "batch_size = {batch_size} with {samples} training images: a batch of one image is too small for the norms' \
             statistics, as the images shrink to one pixel on their way: take batches of 2 images or more, or larger images"
        )));
    }
    Ok(wanted)
}
