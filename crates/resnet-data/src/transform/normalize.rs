//! From bytes to the numbers a network sees, in one pass from (row, column, RGB) into the planes of a batch.

use std::sync::Arc;

use super::Padding;
use super::view::View;
use crate::{Dataset, Error, Result};

/// How a byte becomes the network's input.
#[derive(Clone, Debug, PartialEq)]
pub enum Normalize {
    /// `(byte / 255 - mean) / std`, one mean and one deviation a channel (red, green, blue).
    Channel {
        /// Means of the channels, in units of 255.
        mean: [f32; 3],
        /// Deviations of the channels, in units of 255.
        std: [f32; 3],
    },
    /// `byte / 255 - mean`, one mean a position and channel, divided by `std` where there is one: "per-pixel mean
    /// subtracted" (He et al. 2015, section 4.2).
    MeanImage {
        /// The mean image, from [`Normalize::mean_image`].
        mean: Arc<MeanImage>,
        /// Deviations of the channels, in units of 255.
        std: Option<[f32; 3]>,
    },
}

/// The mean of a training set at every position and channel.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanImage {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `3 * height * width` means in the order (channel, row, column), in units of 255.
    pub planes: Vec<f32>,
}

impl Normalize {
    /// One mean and one deviation a channel.
    pub fn channel(mean: [f32; 3], std: [f32; 3]) -> Self {
        Self::Channel { mean, std }
    }

    /// Subtracts the mean image of `dataset`, which is computed here.
    ///
    /// # Errors
    /// [`Error::ImageSize`] where the images differ in size, and whatever reading them gives.
    pub fn mean_image(dataset: &dyn Dataset) -> Result<Self> {
        Ok(Self::MeanImage { mean: Arc::new(MeanImage::of(dataset)?), std: None })
    }

    pub(super) fn check(&self) -> Result<()> {
        let std = match self {
            Self::Channel { std, .. } => Some(std),
            Self::MeanImage { std, .. } => std.as_ref(),
        };
        match std {
            Some(std) if std.iter().any(|&std| !std.is_finite() || std <= 0.0) => {
                Err(Error::Setting { setting: "std", message: format!("{std:?} must be three positive numbers") })
            }
            _ => Ok(()),
        }
    }
}

impl MeanImage {
    /// Computes the mean image of a data set.
    ///
    /// # Errors
    /// [`Error::ImageSize`] where the images differ in size; [`Error::Setting`] where there are none.
    pub fn of(dataset: &dyn Dataset) -> Result<Self> {
        if dataset.is_empty() {
            return Err(Error::Setting { setting: "dataset", message: "no images to take a mean of".to_string() });
        }
        let first = dataset.image(0)?;
        let (height, width) = (first.height, first.width);
        let mut sums = vec![0_u64; first.pixels.len()];
        for index in 0..dataset.len() {
            let image = dataset.image(index)?;
            if (image.height, image.width) != (height, width) {
                return Err(size_error(dataset.origin(index), (image.height, image.width), (height, width)));
            }
            for (sum, &pixel) in sums.iter_mut().zip(&image.pixels) {
                *sum += u64::from(pixel);
            }
        }
        let scale = 1.0 / (255.0 * dataset.len() as f64);
        let planes = (0..3).flat_map(|channel| sums.iter().skip(channel).step_by(3));
        let planes = planes.map(|&sum| (sum as f64 * scale) as f32).collect();
        Ok(Self { height, width, planes })
    }
}

fn size_error(path: String, found: (usize, usize), expected: (usize, usize)) -> Error {
    Error::ImageSize {
        path,
        height: found.0,
        width: found.1,
        expected_height: expected.0,
        expected_width: expected.1,
        hint: "a mean image fits images of its own size: use one mean a channel, or resize first",
    }
}

/// A normalisation made ready: what every byte of every channel becomes.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    normalize: Normalize,
    /// (channel, byte) -> value; not used with a mean image.
    table: Box<[[f32; 256]; 3]>,
}

impl Writer {
    pub(super) fn new(normalize: Normalize) -> Self {
        let mut table = Box::new([[0.0; 256]; 3]);
        for (channel, values) in table.iter_mut().enumerate() {
            for (byte, value) in values.iter_mut().enumerate() {
                let scaled = byte as f32 / 255.0;
                *value = match &normalize {
                    Normalize::Channel { mean, std } => (scaled - mean[channel]) / std[channel],
                    Normalize::MeanImage { .. } => scaled,
                };
            }
        }
        Self { normalize, table }
    }

    pub(super) fn normalize(&self) -> &Normalize {
        &self.normalize
    }

    /// Writes what is seen as three planes; `out` holds `3 * height * width` values.
    pub(super) fn write(&self, view: &View, origin: &dyn Fn() -> String, out: &mut [f32]) -> Result<()> {
        let (height, width) = view.size();
        let outside = self.outside(view.padding);
        let visible = view.visible();
        // Columns of the output on which the image is seen.
        let before = (visible.left - view.frame.left) as usize;
        let after = width - before - visible.width;
        let (start, end) = if view.flipped { (after, width - before) } else { (before, width - after) };
        let rows = (visible.top - view.frame.top) as usize..(visible.top - view.frame.top) as usize + visible.height;

        let (red, rest) = out.split_at_mut(height * width);
        let (green, blue) = rest.split_at_mut(height * width);
        let mut planes = [red, green, blue];
        for row in 0..height {
            let line = row * width..(row + 1) * width;
            if visible.width == 0 || !rows.contains(&row) {
                for (plane, value) in planes.iter_mut().zip(outside) {
                    plane[line.clone()].fill(value);
                }
                continue;
            }
            for (plane, value) in planes.iter_mut().zip(outside) {
                plane[line.clone()][..start].fill(value);
                plane[line.clone()][end..].fill(value);
            }
            let source = (view.frame.top + row as isize) as usize * view.image.width + visible.left as usize;
            let pixels = view.image.pixels[source * 3..(source + visible.width) * 3].chunks_exact(3);
            let [red, green, blue] = &mut planes;
            let red = red[line.clone()][start..end].iter_mut();
            let green = green[line.clone()][start..end].iter_mut();
            let blue = blue[line][start..end].iter_mut();
            let [reds, greens, blues] = &*self.table;
            let values = red.zip(green).zip(blue);
            let put = |(((r, g), b), pixel): (((&mut f32, &mut f32), &mut f32), &[u8])| {
                *r = reds[pixel[0] as usize];
                *g = greens[pixel[1] as usize];
                *b = blues[pixel[2] as usize];
            };
            if view.flipped {
                values.zip(pixels.rev()).for_each(put);
            } else {
                values.zip(pixels).for_each(put);
            }
        }
        if let Normalize::MeanImage { mean, std } = &self.normalize {
            subtract(view, mean, *std, (start, end), origin, &mut planes)?;
        }
        self.shift(view.shift, &mut planes);
        cover_holes(view, &mut planes);
        Ok(())
    }

    /// Adds the view's shift of the colours, before the division by the deviation.
    fn shift(&self, shift: [f32; 3], planes: &mut [&mut [f32]; 3]) {
        if shift == [0.0; 3] {
            return;
        }
        let std = match &self.normalize {
            Normalize::Channel { std, .. } => *std,
            Normalize::MeanImage { std, .. } => std.unwrap_or([1.0; 3]),
        };
        for ((plane, shift), std) in planes.iter_mut().zip(shift).zip(std) {
            let added = shift / std;
            plane.iter_mut().for_each(|value| *value += added);
        }
    }

    /// What the three channels hold outside the image.
    pub(super) fn outside(&self, padding: Padding) -> [f32; 3] {
        match (padding, &self.normalize) {
            (Padding::Black, Normalize::Channel { .. }) => std::array::from_fn(|channel| self.table[channel][0]),
            // A mean image has no value outside the image: the padding comes after the subtraction.
            _ => [0.0; 3],
        }
    }
}

/// Subtracts the mean image where the image is seen, at the image's own positions.
fn subtract(
    view: &View,
    mean: &MeanImage,
    std: Option<[f32; 3]>,
    (start, end): (usize, usize),
    origin: &dyn Fn() -> String,
    planes: &mut [&mut [f32]; 3],
) -> Result<()> {
    if (view.image.height, view.image.width) != (mean.height, mean.width) {
        return Err(size_error(origin(), (view.image.height, view.image.width), (mean.height, mean.width)));
    }
    let (_, width) = view.size();
    let visible = view.visible();
    for (channel, plane) in planes.iter_mut().enumerate() {
        let scale = std.map_or(1.0, |std| 1.0 / std[channel]);
        for source_row in visible.top as usize..visible.top as usize + visible.height {
            let row = (source_row as isize - view.frame.top) as usize;
            let from = (channel * mean.height + source_row) * mean.width + visible.left as usize;
            let means = &mean.planes[from..from + visible.width];
            let values = plane[row * width + start..row * width + end].iter_mut();
            let apply = |(value, mean): (&mut f32, &f32)| *value = (*value - mean) * scale;
            if view.flipped {
                values.zip(means.iter().rev()).for_each(apply);
            } else {
                values.zip(means).for_each(apply);
            }
        }
    }
    Ok(())
}

/// Sets hidden parts to zero, which is the mean colour.
fn cover_holes(view: &View, planes: &mut [&mut [f32]; 3]) {
    let (height, width) = view.size();
    for hole in &view.holes {
        let clip = |from: isize, length: usize, limit: usize| {
            let end = (from + length as isize).clamp(0, limit as isize) as usize;
            (from.clamp(0, limit as isize) as usize).min(end)..end
        };
        let mut left = hole.left - view.frame.left;
        if view.flipped {
            left = width as isize - left - hole.width as isize;
        }
        let columns = clip(left, hole.width, width);
        for row in clip(hole.top - view.frame.top, hole.height, height) {
            for plane in planes.iter_mut() {
                plane[row * width..(row + 1) * width][columns.clone()].fill(0.0);
            }
        }
    }
}
