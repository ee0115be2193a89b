//! Many crops of an image: the evaluation protocols of the papers.
//!
//! Ten crops are the four corners and the middle of an image, and their mirror images (Krizhevsky et al. 2012); He et
//! al. 2015 use them in Tables 2 and 3. In the multi-scale protocol (section 3.4, Table 4) the network, being fully
//! convolutional but for its head, sees the whole image at five sizes; the head takes the mean over all places.

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use candle_core::{D, DType, Device, Tensor};
use candle_nn::ModuleT;
use resnet_data::{Augment, BrokenImage, Dataset, Filter, Image, Normalize, Transform};
use serde::{Deserialize, Serialize};

use crate::metrics::{Counter, Evaluation};
use crate::{Error, Result};

/// The shorter sides of a multi-scale evaluation (He et al. 2015, section 3.4), for networks of 224-pixel crops.
pub const SCALES: [usize; 5] = [224, 256, 384, 480, 640];
/// The side that [`SCALES`] are for.
const SCALES_OF: usize = 224;

/// Which parts of an image a network sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crop {
    /// The middle.
    #[default]
    Center,
    /// Corners and middle, each mirrored too.
    Ten,
    /// Whole images at five scales, each mirrored too.
    Multiscale,
}

impl Crop {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Center, Self::Ten, Self::Multiscale];
}

impl fmt::Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Center => "center",
            Self::Ten => "ten",
            Self::Multiscale => "multiscale",
        })
    }
}

impl FromStr for Crop {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|crop| crop.to_string() == name);
        known.ok_or_else(|| Error::Invalid(format!("no crop is called {name:?}: choose center, ten or multiscale")))
    }
}

/// The transform of one view in the middle, for images of whatever size: the shorter side is resized to 8/7 of the
/// crop, 256 for 224. Images of a set in memory, which have one size, are taken whole where it is the network's, as
/// CIFAR's is; of other sets one image says nothing about the rest.
///
/// # Errors
/// When the normalisation is impossible or `size` is 0.
pub fn center(size: usize, dataset: Option<&dyn Dataset>, normalize: Normalize) -> Result<Transform> {
    if dataset.and_then(Dataset::in_memory).is_some_and(|set| set.size() == (size, size)) {
        return Ok(Transform::plain(normalize)?);
    }
    // Thumbnails are taken whole.
    let share = if size >= 128 { 0.875 } else { 1.0 };
    Ok(Transform::center_crop(size, share, Filter::Bilinear, normalize)?)
}

/// The crops of a protocol, whose probabilities are averaged.
#[derive(Clone, Debug)]
pub struct MultiCrop {
    /// One for each shorter side.
    transforms: Vec<Transform>,
    size: usize,
    crop: Crop,
    normalize: Normalize,
}

impl MultiCrop {
    /// Crops for networks made for `size` x `size` images, resized bilinearly. The sizes of the ten crops (256 for 224)
    /// and of the scales grow and shrink with it.
    ///
    /// # Errors
    /// When the normalisation is impossible or `size` is 0.
    pub fn new(crop: Crop, size: usize, normalize: &Normalize) -> Result<Self> {
        let crops = Self { transforms: Vec::new(), size, crop, normalize: normalize.clone() };
        crops.with_filter(Filter::Bilinear)
    }

    /// The same crops, resized by another filter.
    ///
    /// # Errors
    /// As [`MultiCrop::new`].
    pub fn with_filter(mut self, filter: Filter) -> Result<Self> {
        let size = self.size;
        let shorter = match self.crop {
            Crop::Center => vec![size],
            Crop::Ten => vec![size * 8 / 7],
            Crop::Multiscale => SCALES.iter().map(|scale| scale * size / SCALES_OF).collect(),
        };
        let transform = |shorter| -> Result<Transform> {
            let mut steps = vec![Augment::Resize { size: shorter, filter }];
            if self.crop == Crop::Center {
                steps.push(Augment::CenterCrop { size });
            }
            Ok(Transform::new(steps, self.normalize.clone())?)
        };
        self.transforms = shorter.into_iter().map(transform).collect::<Result<_>>()?;
        Ok(self)
    }

    /// Number of crops of an image.
    pub fn count(&self) -> usize {
        match self.crop {
            Crop::Center => 1,
            Crop::Ten => 10,
            Crop::Multiscale => 2 * self.transforms.len(),
        }
    }

    /// Logarithms of the mean probabilities over all crops, f32 (1, classes) on the CPU.
    ///
    /// # Errors
    /// When the image or one of its crops does not suit the network.
    pub fn log_probabilities(&self, network: &dyn ModuleT, image: &Image, device: &Device) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for transform in &self.transforms {
            let crops = match self.crop {
                Crop::Center => transform.tensor(image.clone())?,
                Crop::Ten => transform.ten_crops(image.clone(), self.size)?,
                Crop::Multiscale => with_mirrors(&transform.tensor(image.clone())?)?,
            };
            let logits = network.forward_t(&crops.to_device(device)?, false)?.to_dtype(DType::F32)?;
            let total = candle_nn::ops::softmax(&logits, D::Minus1)?.sum_keepdim(0)?;
            sum = Some(match sum {
                Some(sum) => (sum + total)?,
                None => total,
            });
        }
        let Some(sum) = sum else { return Err(Error::Invalid("a protocol without crops".into())) };
        // Far below any probability that f32 can tell from zero, so that the logarithm stays finite.
        let mean = ((sum / self.count() as f64)? + 1e-38)?;
        Ok(mean.log()?.to_device(&Device::Cpu)?)
    }
}

/// Evaluates a network on a data set with a protocol's crops. `done` is told the images done and all images; when it
/// says false, the evaluation ends with nothing. Images that cannot be read are left out, and named in the result.
///
/// # Errors
/// As [`MultiCrop::log_probabilities`], and when the data set's classes are not the network's.
pub fn evaluate(
    network: &dyn ModuleT,
    dataset: &dyn Dataset,
    crops: &MultiCrop,
    device: &Device,
    mut done: impl FnMut(usize, usize) -> bool,
) -> Result<Option<Evaluation>> {
    let start = Instant::now();
    let mut counter = Counter::new(dataset.classes().len());
    for index in 0..dataset.len() {
        match dataset.image(index) {
            Ok(image) => {
                let scores = crops.log_probabilities(network, &image, device)?;
                counter.add(&scores, &Tensor::new(&[dataset.label(index)], &Device::Cpu)?, &[index])?;
            }
            Err(error) if error.is_about_an_image() => {
                counter.add_broken(vec![BrokenImage { index, message: error.to_string() }]);
            }
            Err(error) => return Err(error.into()),
        }
        if !done(index + 1, dataset.len()) {
            return Ok(None);
        }
    }
    counter.finish(start.elapsed().as_secs_f64()).map(Some)
}

/// The images, and then the same with left and right swapped.
fn with_mirrors(images: &Tensor) -> Result<Tensor> {
    Ok(Tensor::cat(&[images, &images.flip(&[3])?], 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives each view's mean as the logit of class 0.
    struct Mean;

    impl ModuleT for Mean {
        fn forward_t(&self, x: &Tensor, _: bool) -> candle_core::Result<Tensor> {
            let mean = x.mean_keepdim((1, 2, 3))?.reshape((x.dim(0)?, 1))?;
            Tensor::cat(&[&mean, &mean.zeros_like()?], 1)
        }
    }

    #[test]
    fn probabilities_are_averaged_over_all_views() {
        let normalize = Normalize::channel([0.0; 3], [1.0; 3]);
        // Left half black, right half white: the crops of ten crops see different shares of it.
        let pixels = (0..8 * 16).flat_map(|i| [if i % 16 < 8 { 0 } else { 255 }; 3]).collect();
        let image = Image { height: 8, width: 16, pixels };
        for (crop, count) in [(Crop::Center, 1), (Crop::Ten, 10), (Crop::Multiscale, 10)] {
            let crops = MultiCrop::new(crop, 7, &normalize).unwrap();
            assert_eq!(crops.count(), count);
            let scores = crops.log_probabilities(&Mean, &image, &Device::Cpu).unwrap();
            let p: Vec<f32> = scores.exp().unwrap().flatten_all().unwrap().to_vec1().unwrap();
            assert!((p[0] + p[1] - 1.0).abs() < 1e-5, "{p:?}");
            let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
            let want = match crop {
                // Crops of 7 from 16 columns: left all black, right all white, in the middle 4 of 7 black or white.
                Crop::Ten => (4.0 * sigmoid(0.0) + 4.0 * sigmoid(1.0) + sigmoid(3.0 / 7.0) + sigmoid(3.0 / 7.0)) / 10.0,
                _ => sigmoid(0.5),
            };
            assert!((p[0] - want).abs() < 0.03, "{crop}: {p:?}, not {want}");
        }
        // A crop that ends at an edge shows how the filter drew it.
        let pixels = (0..8 * 16).flat_map(|i| [if i % 16 < 7 { 0 } else { 255 }; 3]).collect();
        let image = Image { height: 8, width: 16, pixels };
        let crops = |filter| MultiCrop::new(Crop::Ten, 14, &normalize).unwrap().with_filter(filter).unwrap();
        let scores = |filter| {
            let scores = crops(filter).log_probabilities(&Mean, &image, &Device::Cpu).unwrap();
            scores.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0]
        };
        assert_ne!(scores(Filter::Bilinear), scores(Filter::Bicubic));
        assert!("tne".parse::<Crop>().is_err());
        assert!(Crop::ALL.iter().all(|crop| crop.to_string().parse::<Crop>().unwrap() == *crop));
    }
}
