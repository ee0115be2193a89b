//! What happens to a picture between the disk and the batch.

mod augment;
mod colour;
mod normalize;
mod operations;
mod padding;
mod rand_augment;
mod resize;
mod view;

#[cfg(test)]
mod tests;

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use augment::Augment;
pub use normalize::{MeanImage, Normalize};
pub use padding::Padding;
pub use resize::Filter;
pub(crate) use view::View;

use crate::{Error, Image, Result};
use normalize::Writer;

/// A list of steps and the normalisation after them.
///
/// Crops, flips and holes cost nothing of their own: the pass that writes the batch carries them out.
///
/// ```
/// use resnet_data::{Augment, Image, Normalize, Transform};
/// let normalize = Normalize::channel([0.5; 3], [0.25; 3]);
/// let transform = Transform::new(vec![Augment::CenterCrop { size: 2 }], normalize).unwrap();
/// let tensor = transform.tensor(Image::filled(4, 6, [255, 0, 0])).unwrap();
/// assert_eq!(tensor.dims(), [1, 3, 2, 2]);
/// assert_eq!(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()[3..5], [2.0, -2.0]);
/// ```
#[derive(Clone, Debug)]
pub struct Transform {
    steps: Vec<Augment>,
    writer: Writer,
}

impl Transform {
    /// Steps in the order in which they are done.
    ///
    /// # Errors
    /// [`Error::Setting`] where a step's numbers cannot work, a deviation is not positive, or a step that resizes
    /// or repaints follows one that crops, pads or hides.
    pub fn new(steps: Vec<Augment>, normalize: Normalize) -> Result<Self> {
        normalize.check()?;
        steps.iter().try_for_each(Augment::check)?;
        let last_repaint = steps.iter().rposition(Augment::repaints);
        let first_cover = steps.iter().position(Augment::covers);
        if let (Some(repaint), Some(cover)) = (last_repaint, first_cover)
            && cover < repaint
        {
            let hint = "resize first, and change pixels before cropping and hiding them";
            let message = format!("{:?} comes after {:?}: {hint}", steps[repaint], steps[cover]);
            return Err(Error::Setting { setting: "augment", message });
        }
        Ok(Self { steps, writer: Writer::new(normalize) })
    }

    /// The usual augmentation of CIFAR: pad 4 with black, random crop of `size`, random flip.
    ///
    /// # Errors
    /// As [`Transform::new`].
    pub fn crop_and_flip(size: usize, normalize: Normalize) -> Result<Self> {
        let crop = Augment::RandomCrop { size, padding: 4, fill: Padding::Black };
        Self::new(vec![crop, Augment::HorizontalFlip { probability: 0.5 }], normalize)
    }

    /// The usual training augmentation of ImageNet: random resized crop of `size`, random flip.
    ///
    /// # Errors
    /// As [`Transform::new`].
    pub fn resized_crop_and_flip(size: usize, normalize: Normalize) -> Result<Self> {
        Self::new(vec![Augment::random_resized_crop(size), Augment::HorizontalFlip { probability: 0.5 }], normalize)
    }

    /// The usual evaluation of ImageNet: shorter side to `size / share` (rounded down, as timm does), middle `size`.
    ///
    /// `share` is 0.875 for torchvision's weights (256 and 224).
    ///
    /// # Errors
    /// As [`Transform::new`], and [`Error::Setting`] where `share` is not in (0, 1].
    pub fn center_crop(size: usize, share: f64, filter: Filter, normalize: Normalize) -> Result<Self> {
        if !(share > 0.0 && share <= 1.0) {
            return Err(Error::Setting { setting: "crop", message: format!("{share} is not in (0, 1]") });
        }
        let shorter = (size as f64 / share).floor() as usize;
        Self::new(vec![Augment::Resize { size: shorter, filter }, Augment::CenterCrop { size }], normalize)
    }

    /// Normalisation only.
    ///
    /// # Errors
    /// As [`Transform::new`].
    pub fn plain(normalize: Normalize) -> Result<Self> {
        Self::new(Vec::new(), normalize)
    }

    /// The steps.
    pub fn steps(&self) -> &[Augment] {
        &self.steps
    }

    /// The normalisation.
    pub fn normalize(&self) -> &Normalize {
        self.writer.normalize()
    }

    /// What the channels hold beyond an image's edges.
    pub(crate) fn outside(&self, padding: Padding) -> [f32; 3] {
        self.writer.outside(padding)
    }

    /// Does the steps, all but the last pass over the pixels.
    pub(crate) fn view(&self, image: Image, origin: &dyn Fn() -> String, rng: &mut impl Rng) -> Result<View> {
        let mut view = self.unsettled(image, origin, rng)?;
        view.settle(origin)?;
        Ok(view)
    }

    /// As [`Transform::view`], where what is too large to be resized whole may still be so.
    fn unsettled(&self, image: Image, origin: &dyn Fn() -> String, rng: &mut impl Rng) -> Result<View> {
        if image.height == 0 || image.width == 0 {
            return Err(Error::Decode { path: origin(), message: "it has no pixels".to_string() });
        }
        let mut view = View::new(image);
        self.steps.iter().try_for_each(|step| step.apply(&mut view, origin, rng))?;
        Ok(view)
    }

    /// Writes what is seen, normalised, as (channel, row, column).
    pub(crate) fn write(&self, view: &View, origin: &dyn Fn() -> String, out: &mut [f32]) -> Result<()> {
        self.writer.write(view, origin, out)
    }

    /// One image as a batch of one: f32 (1, 3, rows, columns) on the CPU. Random steps draw from a fixed seed.
    ///
    /// # Errors
    /// [`Error::ImageSize`] where the image does not suit a step or the mean image.
    pub fn tensor(&self, image: Image) -> Result<Tensor> {
        let origin = || "image".to_string();
        let view = self.view(image, &origin, &mut ChaCha8Rng::seed_from_u64(0))?;
        let (height, width) = view.size();
        let mut values = vec![0.0; 3 * height * width];
        self.write(&view, &origin, &mut values)?;
        Ok(Tensor::from_vec(values, (1, 3, height, width), &Device::Cpu)?)
    }

    /// The four corners and the middle of what the steps give, each of `size` x `size`, then the same of its mirror
    /// image: f32 (10, 3, size, size) on the CPU, in torchvision's order (`TenCrop`).
    ///
    /// # Errors
    /// As [`Transform::tensor`]; [`Error::ImageSize`] where the steps give less than the crops need.
    pub fn ten_crops(&self, image: Image, size: usize) -> Result<Tensor> {
        let origin = || "image".to_string();
        let mut whole = self.unsettled(image, &origin, &mut ChaCha8Rng::seed_from_u64(0))?;
        let (height, width) = whole.size();
        let (Some(bottom), Some(right)) = (height.checked_sub(size), width.checked_sub(size)) else {
            return Err(Error::ImageSize {
                path: origin(),
                height,
                width,
                expected_height: size,
                expected_width: size,
                hint: "the crops are larger than the image: resize it first",
            });
        };
        let half = |side: usize| (side as f64 / 2.0).round_ties_even() as usize;
        let places = [(0, 0), (0, right), (bottom, 0), (bottom, right), (half(bottom), half(right))];
        let length = 3 * size * size;
        let mut values = vec![0.0; 10 * length];
        // The mirror image is cut, not the cuts mirrored: where half pixels are rounded that is another middle.
        for (index, out) in values.chunks_exact_mut(length).enumerate() {
            let (top, left) = places[index % 5];
            if index == 5 {
                whole.flip();
            }
            self.write(&whole.square(top, left, size, &origin)?, &origin, out)?;
        }
        Ok(Tensor::from_vec(values, (10, 3, size, size), &Device::Cpu)?)
    }
}
