//! `--crop`: which parts of an image a network sees in evaluation.

use candle_core::{D, DType, Device, Tensor};
use candle_nn::ModuleT;
use clap::ValueEnum;
use resnet_data::{Augment, Filter, Image, Normalize, Transform};
use resnet_models::Network;

/// The shorter sides of a multi-scale evaluation (He et al. 2015, section 3.4), as multiples of a 224-pixel crop.
const SCALES: [usize; 5] = [224, 256, 384, 480, 640];
/// The side that [`SCALES`] are for.
const SCALES_OF: usize = 224;

/// What `--crop` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Crop {
    /// The middle, after the shorter side is resized to 8/7 of the crop; small images of the right size as they are
    Center,
    /// Corners and middle, each mirrored too; probabilities averaged (Krizhevsky et al. 2012)
    Ten,
    /// Whole images at five scales, each mirrored too; probabilities averaged (He et al. 2015)
    Multiscale,
}

/// Many views of an image, whose probabilities are averaged.
pub struct Views {
    transforms: Vec<Transform>,
    size: usize,
    crop: Crop,
}

impl Views {
    /// Views for networks made for `size` x `size` images.
    pub fn new(crop: Crop, size: usize, normalize: &Normalize) -> anyhow::Result<Self> {
        let shorter = match crop {
            Crop::Center => vec![size],
            Crop::Ten => vec![size * 8 / 7],
            Crop::Multiscale => SCALES.iter().map(|scale| scale * size / SCALES_OF).collect(),
        };
        let transform = |size| -> anyhow::Result<Transform> {
            let resize = Augment::Resize { size, filter: Filter::Bilinear };
            Ok(Transform::new(vec![resize], normalize.clone())?)
        };
        Ok(Self { transforms: shorter.into_iter().map(transform).collect::<Result<_, _>>()?, size, crop })
    }

    /// Logarithms of the mean probabilities over all views, f32 (1, classes) on the CPU.
    pub fn log_probabilities(&self, network: &Network, image: &Image, device: &Device) -> anyhow::Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        let mut views = 0;
        for transform in &self.transforms {
            let whole = transform.tensor(image.clone())?.to_device(device)?;
            let parts = if self.crop == Crop::Ten { corners(&whole, self.size)? } else { vec![whole] };
            for part in parts {
                let both = Tensor::cat(&[&part, &mirrored(&part)?], 0)?;
                let logits = network.forward_t(&both, false)?.to_dtype(DType::F32)?;
                let total = candle_nn::ops::softmax(&logits, D::Minus1)?.sum_keepdim(0)?;
                views += 2;
                sum = Some(match sum {
                    Some(sum) => (sum + total)?,
                    None => total,
                });
            }
        }
        let Some(sum) = sum else { anyhow::bail!("no view of the image") };
        // Far below any probability that f32 can tell from zero, so that the logarithm stays finite.
        let mean = ((sum / f64::from(views))? + 1e-38)?;
        Ok(mean.log()?.to_device(&Device::Cpu)?)
    }
}

/// The four corners and the middle of (1, 3, H, W).
fn corners(image: &Tensor, size: usize) -> anyhow::Result<Vec<Tensor>> {
    let (bottom, right) = (image.dim(2)? - size, image.dim(3)? - size);
    let places = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom / 2, right / 2)];
    let cut = |(top, left)| image.narrow(2, top, size)?.narrow(3, left, size)?.contiguous();
    Ok(places.into_iter().map(cut).collect::<candle_core::Result<_>>()?)
}

/// Left and right swapped.
fn mirrored(image: &Tensor) -> candle_core::Result<Tensor> {
    image.flip(&[3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_and_mirrors_lie_where_they_should() {
        let image = Tensor::arange(0f32, 12.0, &Device::Cpu).unwrap().reshape((1, 1, 3, 4)).unwrap();
        let parts = corners(&image, 2).unwrap();
        let firsts: Vec<f32> =
            parts.iter().map(|part| part.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0]).collect();
        assert_eq!(firsts, [0.0, 2.0, 4.0, 6.0, 1.0]);
        let mirror = mirrored(&image).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(&mirror[..4], [3.0, 2.0, 1.0, 0.0]);
    }
}
