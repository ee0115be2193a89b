//! Batch-norm statistics taken anew over a whole data set.

use candle_core::Device;
use resnet_data::Loader;
use resnet_models::Network;

use super::batch_of_one;
use super::progress::Progress;
use crate::Result;

/// Replaces the running statistics of a network's batch norms by means over all batches of a loader.
///
/// In training they are moving averages, dominated by the last few batches and by weights that have changed since.
/// The mean and the (unbiased) variance of each batch are averaged, as PyTorch's `update_bn` does, each weighed by its
/// images (there a smaller last batch counts as much as the others). Batches should be large, and the loader's transform that of the evaluation. Weights are left as they are.
///
/// # Errors
/// When the data cannot be read or the network does not take it.
pub fn reestimate_statistics(
    network: &Network,
    loader: &Loader,
    device: &Device,
    progress: &mut dyn Progress,
) -> Result<()> {
    let batches = loader.batches();
    let mut images = 0;
    for (done, batch) in loader.epoch(0, 0).enumerate() {
        let batch = batch?;
        let count = batch.indices.len();
        if count == 0 || (count == 1 && batch_of_one::is_too_few(network.graph(), &batch.images)?) {
            continue;
        }
        images += count;
        // With these weights the running mean is that of all images so far.
        let graph = network.graph().with_momentum(count as f64 / images as f64);
        graph.forward_t(&batch.images.to_device(device)?, true)?;
        progress.evaluating(done + 1, batches);
    }
    Ok(())
}
