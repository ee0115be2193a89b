//! A batch on the device that trains on it.

use candle_core::{Device, Tensor};
use resnet_data::{Batch, BrokenImage, Mixed};
use resnet_ops::device::upload;

use crate::Result;

/// Images (N, 3, H, W), labels (N,), how they were mixed, and their number.
pub(crate) struct DeviceBatch {
    pub images: Tensor,
    pub labels: Tensor,
    pub mixed: Option<Mixed>,
    /// The images that could not be read and are not in it.
    pub broken: Vec<BrokenImage>,
    pub count: usize,
}

impl DeviceBatch {
    /// Takes a batch of the loader's to the device; one without images stays where it is.
    pub(crate) fn new(batch: Batch, device: &Device) -> Result<Self> {
        // Nothing is asked of the device for no images.
        let device = if batch.indices.is_empty() { &Device::Cpu } else { device };
        let (images, labels) = (upload(&batch.images, device)?, batch.labels.to_device(device)?);
        Ok(Self { images, labels, mixed: batch.mixed, broken: batch.broken, count: batch.indices.len() })
    }
}

impl DeviceBatch {
    /// The batch's images in even parts of at most so many, none of one image alone; whole where no number is given.
    pub(crate) fn parts(self, most: Option<usize>) -> Result<Vec<Self>> {
        // One image has no variance where its map is one pixel: three at two a norm stay together.
        let (count, pairs) = (self.count, (self.count / 2).max(1));
        let parts = most.map_or(1, |most| count.div_ceil(most.max(1)).clamp(1, pairs));
        if parts == 1 {
            return Ok(vec![self]);
        }
        let part = |number: usize| -> Result<Self> {
            let first = number * count / parts;
            let count = (number + 1) * count / parts - first;
            let mixed = self.mixed.as_ref().map(|mixed| -> Result<Mixed> {
                Ok(Mixed { labels: mixed.labels.narrow(0, first, count)?, share: mixed.share })
            });
            Ok(Self {
                images: self.images.narrow(0, first, count)?,
                labels: self.labels.narrow(0, first, count)?,
                mixed: mixed.transpose()?,
                broken: Vec::new(),
                count,
            })
        };
        (0..parts).map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_even_and_hold_every_image_once() {
        let batch = |count: usize| {
            let range = Tensor::arange(0u32, count as u32, &Device::Cpu).unwrap();
            let mixed = Some(Mixed { labels: (&range + 100.0).unwrap(), share: 0.75 });
            let images = range.to_dtype(candle_core::DType::F32).unwrap().reshape((count, 1, 1, 1)).unwrap();
            DeviceBatch { images, labels: range, mixed, broken: Vec::new(), count }
        };
        for (count, most, sizes) in [
            (70, Some(32), &[23, 23, 24][..]),
            (65, Some(32), &[21, 22, 22]),
            (256, Some(32), &[32; 8]),
            (32, Some(32), &[32]),
            (3, Some(32), &[3]),
            (7, Some(2), &[2, 2, 3]),
            (1, Some(2), &[1]),
            (7, None, &[7]),
        ] {
            let parts = batch(count).parts(most).unwrap();
            assert_eq!(parts.iter().map(|part| part.count).collect::<Vec<_>>(), sizes);
            let mut next = 0;
            for part in parts {
                let images = part.images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let (labels, mixed) = (part.labels.to_vec1::<u32>().unwrap(), part.mixed.unwrap());
                assert_eq!((images.len(), mixed.share), (part.count, 0.75));
                for ((image, label), other) in images.iter().zip(labels).zip(mixed.labels.to_vec1::<u32>().unwrap()) {
                    assert_eq!((*image, label, other), (next as f32, next, next + 100));
                    next += 1;
                }
            }
            assert_eq!(next as usize, count);
        }
    }
}
