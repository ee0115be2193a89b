//! A training set whose bytes lie on a CUDA device: crops, mirroring and normalisation happen there, and no pixel crosses
//! the bus in training.

use candle_core::{DType, Device, Tensor};
use resnet_data::{Loader, Normalize};
use resnet_ops::{ImageScale, ImageView, take_images};

use super::device_batch::DeviceBatch;
use crate::Result;

/// Sets beyond this stay on the host.
const MOST_BYTES: usize = 4 << 30;

/// The bytes, and how they become a batch.
pub(super) struct DeviceDataset {
    /// (images, rows, columns, 3) u8
    pixels: Tensor,
    scale: ImageScale,
    dtype: DType,
}

impl DeviceDataset {
    /// Takes the loader's set to the device; `None` where the device is no CUDA device, the images are not in memory, are
    /// too many, or get more than crops and mirroring.
    pub(super) fn new(loader: &Loader, device: &Device, dtype: DType) -> Result<Option<Self>> {
        if !device.is_cuda() || loader.frames(0, 0).is_none() {
            return Ok(None);
        }
        let Some(set) = loader.dataset().in_memory() else { return Ok(None) };
        if set.all_pixels().len() > MOST_BYTES {
            return Ok(None);
        }
        let (height, width) = set.size();
        let pixels = Tensor::from_slice(set.all_pixels(), (set.labels().len(), height, width, 3), device)?;
        let border = loader.border();
        let scale = match loader.transform().normalize() {
            Normalize::Channel { mean, std } => ImageScale { mean_image: None, mean: *mean, deviation: *std, border },
            Normalize::MeanImage { mean, std } if (mean.height, mean.width) == (height, width) => {
                let means = Tensor::from_slice(&mean.planes, (3, height, width), device)?;
                let deviation = std.map_or([1.0; 3], |std| std.map(|std| 1.0 / std));
                ImageScale { mean_image: Some(means), mean: [0.0; 3], deviation, border }
            }
            // The loader refuses it with a message of its own.
            Normalize::MeanImage { .. } => return Ok(None),
        };
        Ok(Some(Self { pixels, scale, dtype }))
    }

    /// The batches of an epoch from number `first` on.
    pub(super) fn epoch<'a>(
        &'a self,
        loader: &'a Loader,
        epoch: u64,
        first: usize,
    ) -> impl Iterator<Item = Result<DeviceBatch>> + 'a {
        loader.frames(epoch, first).into_iter().flatten().map(|frames| {
            let frames = frames?;
            let size = frames.first().map_or((0, 0), |frame| (frame.height, frame.width));
            let view = |frame: &resnet_data::Frame| ImageView {
                image: frame.index as u32,
                row: frame.top as i32,
                column: frame.left as i32,
                flip: frame.flipped,
            };
            let views: Vec<ImageView> = frames.iter().map(view).collect();
            let labels: Vec<u32> = frames.iter().map(|frame| loader.dataset().label(frame.index)).collect();
            let labels = Tensor::new(labels, self.pixels.device())?;
            let images = take_images(&self.pixels, &views, size, &self.scale, self.dtype)?;
            Ok(DeviceBatch { images, labels, mixed: None, broken: Vec::new(), count: frames.len() })
        })
    }
}
