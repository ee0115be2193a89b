//! The steps between a decoded picture and the batch.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::colour;
use super::padding::Padding;
use super::rand_augment::RandAugment;
use super::resize::{Filter, resize};
use super::view::View;
use crate::{Error, Image, Result};

/// One step; the random ones draw from the sample's own generator.
///
/// Defaults in brackets are those of a recipe file that leaves the field out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Augment {
    /// Pads all four sides, then cuts out a square at a random place (He et al. 2015, section 4.2: 4 and 32).
    RandomCrop {
        /// Side of the square in pixels.
        size: usize,
        /// Pixels added to each side (0).
        #[serde(default)]
        padding: usize,
        /// What is added (black).
        #[serde(default)]
        fill: Padding,
    },
    /// Mirrors left and right.
    HorizontalFlip {
        /// How often, 0 to 1 (0.5).
        #[serde(default = "half")]
        probability: f64,
    },
    /// Cuts out a part of random area and shape and resizes it to a square, as torchvision's `RandomResizedCrop`.
    RandomResizedCrop {
        /// Side of the square in pixels.
        size: usize,
        /// Least and greatest share of the area (0.08, 1).
        #[serde(default = "crop_scale")]
        scale: (f64, f64),
        /// Least and greatest ratio of width to height (3/4, 4/3).
        #[serde(default = "crop_ratio")]
        ratio: (f64, f64),
        /// The filter (bilinear).
        #[serde(default)]
        filter: Filter,
    },
    /// Resizes so that the shorter side has `size` pixels; the shape is kept, as by torchvision's `Resize(size)`.
    Resize {
        /// The shorter side in pixels.
        size: usize,
        /// The filter (bilinear).
        #[serde(default)]
        filter: Filter,
    },
    /// Resizes to a square whatever the shape, as torchvision's `Resize((size, size))`.
    Squash {
        /// Both sides in pixels.
        size: usize,
        /// The filter (bilinear).
        #[serde(default)]
        filter: Filter,
    },
    /// Resizes so that the shorter side has a random number of pixels (He et al. 2015, section 3.4: 256 to 480).
    RandomResize {
        /// Least shorter side in pixels.
        min: usize,
        /// Greatest shorter side in pixels.
        max: usize,
        /// The filter (bilinear).
        #[serde(default)]
        filter: Filter,
    },
    /// Cuts a square out of the middle; smaller images are padded with black.
    CenterCrop {
        /// Side of the square in pixels.
        size: usize,
    },
    /// Hides one square at a random place, partly beyond the edges (Cutout, DeVries and Taylor 2017).
    Cutout {
        /// Side of the square in pixels.
        size: usize,
    },
    /// Hides one random rectangle, as torchvision's `RandomErasing` with value 0 (Zhong et al. 2017).
    RandomErasing {
        /// How often, 0 to 1 (0.5).
        #[serde(default = "half")]
        probability: f64,
        /// Least and greatest share of the area (0.02, 0.33).
        #[serde(default = "erase_scale")]
        scale: (f64, f64),
        /// Least and greatest ratio of height to width (0.3, 3.3).
        #[serde(default = "erase_ratio")]
        ratio: (f64, f64),
    },
    /// Shifts all colours along the principal components of ImageNet's (Krizhevsky et al. 2012, section 4.1).
    PcaColour {
        /// Standard deviation of the shift's lengths (0.1).
        #[serde(default = "tenth")]
        deviation: f64,
    },
    /// Two operations or so out of fifteen (RandAugment, Cubuk et al. 2019), as timm's `rand-m6-mstd0.5-inc1`: rotation,
    /// shear, translation, contrast, brightness, saturation, sharpness, posterisation, solarisation and the like.
    RandAugment {
        /// How strong, 0 to 10.
        magnitude: f64,
        /// Standard deviation of the magnitude from image to image (0.5).
        #[serde(default = "half")]
        deviation: f64,
        /// Operations an image (2).
        #[serde(default = "two")]
        layers: usize,
        /// How often each is done, 0 to 1 (0.5).
        #[serde(default = "half")]
        probability: f64,
        /// How geometric operations read between pixels (random). Bicubic is Pillow's `transform` here: a = -1.
        #[serde(default = "random")]
        filter: Filter,
        /// RGB where they have nothing (ImageNet's mean).
        #[serde(default = "imagenet_mean")]
        fill: [u8; 3],
    },
}

fn tenth() -> f64 {
    0.1
}

fn two() -> usize {
    2
}

fn random() -> Filter {
    Filter::Random
}

fn imagenet_mean() -> [u8; 3] {
    [124, 116, 104]
}

fn half() -> f64 {
    0.5
}

fn crop_scale() -> (f64, f64) {
    (0.08, 1.0)
}

fn crop_ratio() -> (f64, f64) {
    (3.0 / 4.0, 4.0 / 3.0)
}

fn erase_scale() -> (f64, f64) {
    (0.02, 0.33)
}

fn erase_ratio() -> (f64, f64) {
    (0.3, 3.3)
}

impl Augment {
    /// `RandomResizedCrop` with torchvision's scale and ratio.
    pub fn random_resized_crop(size: usize) -> Self {
        Self::RandomResizedCrop { size, scale: crop_scale(), ratio: crop_ratio(), filter: Filter::Bilinear }
    }

    /// `RandomErasing` with torchvision's probability, scale and ratio.
    pub fn random_erasing() -> Self {
        Self::RandomErasing { probability: half(), scale: erase_scale(), ratio: erase_ratio() }
    }

    /// Makes new pixels: must come before padding and hiding, which are done last, on the batch.
    pub(super) fn repaints(&self) -> bool {
        matches!(
            self,
            Self::RandomResizedCrop { .. }
                | Self::Resize { .. }
                | Self::Squash { .. }
                | Self::RandomResize { .. }
                | Self::RandAugment { .. }
        )
    }

    /// Pads or hides.
    pub(super) fn covers(&self) -> bool {
        !self.repaints() && !matches!(self, Self::HorizontalFlip { .. } | Self::PcaColour { .. })
    }

    /// The setting that cannot work, if any.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |setting, message: String| Err(Error::Setting { setting, message });
        let share = |(low, high): (f64, f64)| low > 0.0 && low <= high && high <= 1.0;
        let range = |(low, high): (f64, f64)| low > 0.0 && low <= high && high.is_finite();
        match self {
            Self::RandomCrop { size: 0, .. }
            | Self::RandomResizedCrop { size: 0, .. }
            | Self::Resize { size: 0, .. }
            | Self::Squash { size: 0, .. }
            | Self::RandomResize { min: 0, .. }
            | Self::CenterCrop { size: 0 }
            | Self::Cutout { size: 0 } => wrong("size", "must be at least 1 pixel".to_string()),
            Self::RandomResize { min, max, .. } if min > max => {
                wrong("max", format!("{max} is less than the least side, {min}"))
            }
            Self::HorizontalFlip { probability }
            | Self::RandomErasing { probability, .. }
            | Self::RandAugment { probability, .. }
                if !(0.0..=1.0).contains(probability) =>
            {
                wrong("probability", format!("{probability} is not between 0 and 1"))
            }
            Self::RandomResizedCrop { scale, .. } | Self::RandomErasing { scale, .. } if !share(*scale) => {
                wrong("scale", format!("{scale:?} must be two rising shares between 0 and 1"))
            }
            Self::RandomResizedCrop { ratio, .. } | Self::RandomErasing { ratio, .. } if !range(*ratio) => {
                wrong("ratio", format!("{ratio:?} must be two rising positive numbers"))
            }
            Self::RandAugment { magnitude, .. } if !(0.0..=10.0).contains(magnitude) => {
                wrong("magnitude", format!("{magnitude} is not between 0 and 10"))
            }
            Self::PcaColour { deviation } | Self::RandAugment { deviation, .. }
                if !(*deviation >= 0.0 && deviation.is_finite()) =>
            {
                wrong("deviation", format!("{deviation} must be 0 or more"))
            }
            _ => Ok(()),
        }
    }

    /// Does the step.
    pub(super) fn apply(&self, view: &mut View, origin: &dyn Fn() -> String, rng: &mut impl Rng) -> Result<()> {
        let (height, width) = view.size();
        match *self {
            Self::RandomCrop { size, padding, fill } => {
                let room = |side: usize| (side + 2 * padding).checked_sub(size);
                let (Some(down), Some(right)) = (room(height), room(width)) else {
                    return Err(Error::ImageSize {
                        path: origin(),
                        height,
                        width,
                        expected_height: size,
                        expected_width: size,
                        hint: "the crop is larger than the padded image: make it smaller or pad more",
                    });
                };
                let top = rng.random_range(0..=down) as isize - padding as isize;
                let left = rng.random_range(0..=right) as isize - padding as isize;
                view.padding = fill;
                view.crop(top, left, size, size);
            }
            Self::HorizontalFlip { probability } => {
                if rng.random_bool(probability) {
                    view.flip();
                }
            }
            Self::RandomResizedCrop { size, scale, ratio, filter } => {
                let part =
                    random_part((height, width), scale, ratio, rng).unwrap_or_else(|| middle(height, width, ratio));
                view.settle(origin)?;
                replace(view, part, (size, size), filter.drawn(rng))?;
            }
            Self::Resize { size, filter } => shorter_side(view, size, filter.drawn(rng), origin)?,
            Self::Squash { size, filter } => {
                let filter = filter.drawn(rng);
                view.settle(origin)?;
                if (height, width) != (size, size) {
                    replace(view, (0, 0, height, width), (size, size), filter)?;
                }
            }
            Self::RandomResize { min, max, filter } => {
                shorter_side(view, rng.random_range(min..=max), filter.drawn(rng), origin)?;
            }
            Self::CenterCrop { size } => {
                view.crop(central(height, size), central(width, size), size, size);
            }
            Self::Cutout { size } => {
                let half = (size / 2) as isize;
                let (row, column) = (rng.random_range(0..height), rng.random_range(0..width));
                view.hide(row as isize - half, column as isize - half, size, size);
            }
            Self::RandomErasing { probability, scale, ratio } => {
                if rng.random_bool(probability) {
                    // The ratio is height to width here, width to height in a crop: torchvision has it so.
                    let inverse = (1.0 / ratio.1, 1.0 / ratio.0);
                    if let Some((top, left, rows, columns)) = random_part((height, width), scale, inverse, rng) {
                        view.hide(top as isize, left as isize, rows, columns);
                    }
                }
            }
            Self::PcaColour { deviation } => view.shift = colour::shift(colour::lengths(deviation, rng)),
            Self::RandAugment { magnitude, deviation, layers, probability, filter, fill } => {
                view.settle(origin)?;
                view.upright();
                let image = std::mem::replace(&mut view.image, Image::filled(0, 0, fill));
                let chosen = RandAugment { magnitude, deviation, layers, probability, filter, fill };
                view.image = chosen.apply(image, rng);
            }
        }
        Ok(())
    }
}

type Part = (usize, usize, usize, usize);

/// A part (top, left, height, width) of random area and shape; `None` where ten tries do not fit.
fn random_part(
    (height, width): (usize, usize),
    scale: (f64, f64),
    ratio: (f64, f64),
    rng: &mut impl Rng,
) -> Option<Part> {
    for _ in 0..10 {
        let area = (height * width) as f64 * rng.random_range(scale.0..=scale.1);
        let shape = rng.random_range(ratio.0.ln()..=ratio.1.ln()).exp();
        let columns = (area * shape).sqrt().round() as usize;
        let rows = (area / shape).sqrt().round() as usize;
        if (1..=width).contains(&columns) && (1..=height).contains(&rows) {
            let top = rng.random_range(0..=height - rows);
            let left = rng.random_range(0..=width - columns);
            return Some((top, left, rows, columns));
        }
    }
    None
}

/// The largest part in the middle whose ratio of width to height is allowed.
fn middle(height: usize, width: usize, ratio: (f64, f64)) -> Part {
    let shape = width as f64 / height as f64;
    let (rows, columns) = if shape < ratio.0 {
        ((width as f64 / ratio.0).round() as usize, width)
    } else if shape > ratio.1 {
        (height, (height as f64 * ratio.1).round() as usize)
    } else {
        (height, width)
    };
    let (rows, columns) = (rows.clamp(1, height), columns.clamp(1, width));
    ((height - rows) / 2, (width - columns) / 2, rows, columns)
}

/// First row of a crop of `size` in the middle of `side`, as torchvision rounds it; negative where it must pad.
fn central(side: usize, size: usize) -> isize {
    if size > side {
        return -(((size - side) / 2) as isize);
    }
    ((side - size) as f64 / 2.0).round_ties_even() as isize
}

fn shorter_side(view: &mut View, size: usize, filter: Filter, origin: &dyn Fn() -> String) -> Result<()> {
    let (height, width) = view.size();
    if height.min(width) == size {
        return Ok(());
    }
    let longer = size * height.max(width) / height.min(width).max(1);
    let target = if height <= width { (size, longer) } else { (longer, size) };
    view.settle(origin)?;
    if view.resize_later(target, filter) {
        return Ok(());
    }
    replace(view, (0, 0, height, width), target, filter)
}

/// Replaces what is seen by a resized part of it. A mirrored view stays mirrored.
fn replace(view: &mut View, (top, left, height, width): Part, target: (usize, usize), filter: Filter) -> Result<()> {
    debug_assert!(view.is_whole(), "resizing comes before cropping and padding");
    let (flipped, shift) = (view.flipped, view.shift);
    let left = if flipped { view.image.width - left - width } else { left };
    *view = View::new(resize(&view.image, (top, left, height, width), target, filter)?);
    (view.flipped, view.shift) = (flipped, shift);
    Ok(())
}
