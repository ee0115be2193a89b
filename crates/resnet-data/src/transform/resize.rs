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

impl Filter {
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
