//! Resizing with the filters of Pillow, which torchvision uses: the filter widens when the image shrinks.

use fast_image_resize as fir;
use fir::images::{CroppedImage, Image as FirImage, ImageRef};
use fir::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
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
    let source = ImageRef::new(size(image.width)?, size(image.height)?, &image.pixels, PixelType::U8x3);
    let source = source.map_err(error)?;
    let part = |top, left, height, width| {
        CroppedImage::new(&source, size(left)?, size(top)?, size(width)?, size(height)?).map_err(error)
    };
    // Columns first, as Pillow does it: the bytes between the passes are rounded and cut at 0 and 255, which shows.
    let mut wide = FirImage::new(size(columns)?, size(height)?, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter.kernel())).use_alpha(false);
    let mut resizer = Resizer::new();
    resizer.resize(&part(top, left, height, width)?, &mut wide, &options).map_err(error)?;
    if rows == height {
        return Ok(Image { height: rows, width: columns, pixels: wide.into_vec() });
    }
    let mut out = FirImage::new(size(columns)?, size(rows)?, PixelType::U8x3);
    resizer.resize(&wide, &mut out, &options).map_err(error)?;
    Ok(Image { height: rows, width: columns, pixels: out.into_vec() })
}

/// A part (top, left, height, width) of what the whole image would be if it were resized to `target` (rows, columns), from
/// the pixels that this part takes.
///
/// A picture of 65000 x 2 pixels whose shorter side is resized to 256 would have eight million columns; a crop sees 224.
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
    let rows = &image.pixels[first * image.width * 3..last * image.width * 3];
    let source = ImageRef::new(size(image.width)?, size(last - first)?, rows, PixelType::U8x3).map_err(error)?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter.kernel())).use_alpha(false);
    let mut resizer = Resizer::new();
    let mut wide = FirImage::new(size(width)?, size(last - first)?, PixelType::U8x3);
    let columns = options.crop(before, 0.0, behind - before, (last - first) as f64);
    resizer.resize(&source, &mut wide, &columns).map_err(error)?;
    let mut out = FirImage::new(size(width)?, size(height)?, PixelType::U8x3);
    let above = above - first as f64;
    let rows = options.crop(0.0, above, width as f64, (below - first as f64).min((last - first) as f64) - above);
    resizer.resize(&wide, &mut out, &rows).map_err(error)?;
    Ok(Image { height, width, pixels: out.into_vec() })
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

    fn kernel(self) -> FilterType {
        match self {
            Self::Bilinear | Self::Random => FilterType::Bilinear,
            Self::Bicubic => FilterType::CatmullRom,
        }
    }
}

fn size(value: usize) -> Result<u32> {
    u32::try_from(value).map_err(error)
}

fn error(error: impl std::fmt::Display) -> Error {
    Error::Setting { setting: "resize", message: error.to_string() }
}
