//! A batch on the device that trains on it.

use candle_core::{Device, Tensor};
use resnet_data::{Batch, Broken, Mixed};

use crate::Result;

/// Images (N, 3, H, W), labels (N,), how they were mixed, and their number.
pub(crate) struct Ready {
    pub images: Tensor,
    pub labels: Tensor,
    pub mixed: Option<Mixed>,
    /// The images that could not be read and are not in it.
    pub broken: Vec<Broken>,
    pub count: usize,
}

impl Ready {
    /// Takes a batch of the loader's to the device; one without images stays where it is.
    pub(crate) fn new(batch: Batch, device: &Device) -> Result<Self> {
        // Nothing is asked of the device for no images.
        let device = if batch.indices.is_empty() { &Device::Cpu } else { device };
        let (images, labels) = (to_device(&batch.images, device)?, batch.labels.to_device(device)?);
        Ok(Self { images, labels, mixed: batch.mixed, broken: batch.broken, count: batch.indices.len() })
    }
}

/// On a CUDA device the host does not wait for the work that was submitted before.
#[cfg(feature = "cuda")]
fn to_device(images: &Tensor, device: &Device) -> candle_core::Result<Tensor> {
    resnet_ops::cuda::upload(images, device)
}

#[cfg(not(feature = "cuda"))]
fn to_device(images: &Tensor, device: &Device) -> candle_core::Result<Tensor> {
    images.to_device(device)
}
