//! A network's answers on every image of a loader.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Device;
use candle_nn::ModuleT;
use resnet_data::Loader;

use super::progress::Progress;
use crate::metrics::{Counter, Evaluation};
use crate::{Error, Result};

/// Evaluates a network with its running statistics on the first epoch of a loader's batches.
///
/// Gives nothing when `stop` becomes true before the end.
///
/// # Errors
/// When the data cannot be read, the network does not take it or has not as many logits as the data set has classes,
/// or a logit is not finite.
pub fn evaluate(
    network: &dyn ModuleT,
    loader: &Loader,
    device: &Device,
    stop: Option<&AtomicBool>,
    progress: &mut dyn Progress,
) -> Result<Option<Evaluation>> {
    let start = Instant::now();
    let mut counter = Counter::new(loader.dataset().classes().len());
    let batches = loader.batches();
    for (done, batch) in loader.epoch(0, 0).enumerate() {
        if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return Ok(None);
        }
        let batch = batch?;
        counter.add_broken(batch.broken);
        if batch.indices.is_empty() {
            continue;
        }
        let images = batch.images.to_device(device)?;
        let logits = network.forward_t(&images, false)?;
        if logits.dims().len() != 2 {
            return Err(Error::Invalid(format!("the network gives {:?}, not (images, classes)", logits.dims())));
        }
        counter.add(&logits.detach(), &batch.labels, &batch.indices)?;
        progress.evaluating(done + 1, batches);
    }
    counter.finish(start.elapsed().as_secs_f64()).map(Some)
}
