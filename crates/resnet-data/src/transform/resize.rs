//! Resizing with the filters of Pillow, which torchvision uses: the filter widens when the image shrinks.

use fast_image_resize as fir;
use fir::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fir::pixels::U8x3;
use fir::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::{Error, Image, Result};

/// How pixels between pixels are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// Pillow's `BILINEAR`.
    #[default]
    Bilinear,
    /// Pillow's `BICUBIC` (a = -0.5).
    Bicubic,
    /// One of the two, drawn for each image: timm's `random`. Bilinear where nothing is drawn.
    Random,
}

/// Resizes the rectangle (top, left, height, width) of an image to (rows, columns); pixels outside it have no part.
///
/// The rectangle must lie within the image and, like the result, hold a pixel at least.
pub(super) fn resize(
    image: &Image,
    (top, left, height, width): (usize, usize, usize, usize),
    (rows, columns): (usize, usize),
    filter: Filter,
) -> Result<Image> {
    let options = filter.options();
    // Columns first, as Pillow does it: the bytes between the passes are rounded and cut at 0 and 255, which shows.
    let (all, part) = ((image.height, image.width), (top, left, height, width));
    let wide = convolve(&image.pixels, all, part, (height, columns), &options)?;
    if rows == height {
        return Ok(Image { height: rows, width: columns, pixels: wide });
    }
    let pixels = convolve(&wide, (height, columns), (0, 0, height, columns), (rows, columns), &options)?;
    Ok(Image { height: rows, width: columns, pixels })
}

/// A part (top, left, height, width) of what the whole image would be if it were resized to `target` (rows, columns),
/// from the pixels that this part takes.
///
/// A picture of 65000 x 2 pixels whose shorter side is resized to 256 would have eight million columns; a crop sees
/// 224.
pub(super) fn resize_part(
    image: &Image,
    target: (usize, usize),
    (top, left, height, width): (usize, usize, usize, usize),
    filter: Filter,
) -> Result<Image> {
    // Places in the source that a run of the result begins and ends at.
    let within = |source: usize, target: usize, from: usize, length: usize| {
        let scale = source as f64 / target as f64;
        let end = ((from + length) as f64 * scale).min(source as f64);
        (from as f64 * scale, end)
    };
    let (above, below) = within(image.height, target.0, top, height);
    let (before, behind) = within(image.width, target.1, left, width);
    // The rows that the filter sees; one more on both sides for rounding.
    let reach = filter.reach() * (image.height as f64 / target.0 as f64).max(1.0) + 1.0;
    let first = (above - reach).floor().max(0.0) as usize;
    let last = ((below + reach).ceil() as usize).min(image.height);
    let seen = last - first;
    let pixels = &image.pixels[first * image.width * 3..last * image.width * 3];
    let options = filter.options();
    let columns = options.crop(before, 0.0, behind - before, seen as f64);
    let wide = convolve(pixels, (seen, image.width), (0, 0, seen, image.width), (seen, width), &columns)?;
    let above = above - first as f64;
    let rows = options.crop(0.0, above, width as f64, (below - first as f64).min(seen as f64) - above);
    let pixels = convolve(&wide, (seen, width), (0, 0, seen, width), (height, width), &rows)?;
    Ok(Image { height, width, pixels })
}

/// The rectangle (top, left, height, width) of RGB pixels resized to (rows, columns).
///
/// For one type of pixels and of pictures: the compiler makes a kernel for each, and of all that the library knows they
/// would be three quarters of this crate's code.
fn convolve(
    pixels: &[u8],
    (height, width): (usize, usize),
    part: (usize, usize, usize, usize),
    (rows, columns): (usize, usize),
    options: &ResizeOptions,
) -> Result<Vec<u8>> {
    let source = TypedImageRef::<U8x3>::from_buffer(size(width)?, size(height)?, pixels).map_err(error)?;
    let (top, left, height, width) = part;
    let source = TypedCroppedImage::from_ref(&source, size(left)?, size(top)?, size(width)?, size(height)?);
    let mut out = vec![0; rows * columns * 3];
    let mut into = TypedImage::<U8x3>::from_buffer(size(columns)?, size(rows)?, &mut out).map_err(error)?;
    Resizer::new().resize_typed(&source.map_err(error)?, &mut into, options).map_err(error)?;
    Ok(out)
}

impl Filter {
    /// How far it reaches from a pixel's middle, in pixels.
    fn reach(self) -> f64 {
        match self {
            Self::Bilinear | Self::Random => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    /// The filter for one image.
    pub(super) fn drawn(self, rng: &mut impl Rng) -> Self {
        match self {
            Self::Random if rng.random_bool(0.5) => Self::Bicubic,
            Self::Random => Self::Bilinear,
            fixed => fixed,
        }
    }

    fn options(self) -> ResizeOptions {
        let kernel = match self {
            Self::Bilinear | Self::Random => FilterType::Bilinear,
            Self::Bicubic => FilterType::CatmullRom,
        };
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(kernel)).use_alpha(false)
    }
}

fn size(value: usize) -> Result<u32> {
    u32::try_from(value).map_err(error)
}

fn error(error: impl std::fmt::Display) -> Error {
    Error::Setting { setting: "resize", message: error.to_string() }
}
