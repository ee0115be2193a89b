//! The operations that RandAugment chooses from, with the arithmetic of Pillow's `ImageOps`, `ImageEnhance` and
//! `Image.transform`, so that networks trained elsewhere saw the same pictures.

mod affine;
mod enhance;
mod lookup;
#[cfg(test)]
mod tests;

use super::resize::Filter;
use crate::Image;

/// One operation with its strength.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operation {
    /// Stretches each channel to 0 to 255.
    AutoContrast,
    /// Makes each channel's histogram even.
    Equalize,
    /// The negative.
    Invert,
    /// Turns counter-clockwise by so many degrees.
    Rotate(f64),
    /// Keeps so many of the highest bits.
    Posterize(u32),
    /// Inverts values from this on.
    Solarize(u32),
    /// Adds to values below 128.
    SolarizeAdd(u8),
    /// Saturation: 0 is grey, 1 the picture itself.
    Color(f32),
    /// Contrast: 0 is even grey, 1 the picture itself.
    Contrast(f32),
    /// Brightness: 0 is black, 1 the picture itself.
    Brightness(f32),
    /// Sharpness: 0 is smoothed, 1 the picture itself.
    Sharpness(f32),
    /// Moves each row by this share of its distance from the top.
    ShearX(f64),
    /// Moves each column by this share of its distance from the left.
    ShearY(f64),
    /// Moves to the left by this share of the width.
    TranslateX(f64),
    /// Moves up by this share of the height.
    TranslateY(f64),
}

impl Operation {
    /// The picture after the operation; geometric ones read between the pixels with `filter` and put `fill` where
    /// there is nothing.
    pub(super) fn apply(self, image: &Image, filter: Filter, fill: [u8; 3]) -> Image {
        let affine = |matrix| affine::transform(image, matrix, filter, fill);
        match self {
            Self::AutoContrast => lookup::by_channel(image, lookup::auto_contrast),
            Self::Equalize => lookup::by_channel(image, lookup::equalize),
            Self::Invert => lookup::all(image, |value| 255 - value),
            Self::Posterize(bits) => lookup::all(image, |value| value & !(0xff_u32 >> bits) as u8),
            Self::Solarize(from) => lookup::all(image, |v| if u32::from(v) < from { v } else { 255 - v }),
            Self::SolarizeAdd(add) => lookup::all(image, |v| if v < 128 { v.saturating_add(add) } else { v }),
            Self::Color(factor) => enhance::color(image, factor),
            Self::Contrast(factor) => enhance::contrast(image, factor),
            Self::Brightness(factor) => enhance::brightness(image, factor),
            Self::Sharpness(factor) => enhance::sharpness(image, factor),
            Self::Rotate(0.0) => image.clone(),
            Self::Rotate(degrees) => affine(affine::rotation(degrees, image.width, image.height)),
            Self::ShearX(share) => affine([1.0, share, 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY(share) => affine([1.0, 0.0, 0.0, share, 1.0, 0.0]),
            Self::TranslateX(share) => affine([1.0, 0.0, share * image.width as f64, 0.0, 1.0, 0.0]),
            Self::TranslateY(share) => affine([1.0, 0.0, 0.0, 0.0, 1.0, share * image.height as f64]),
        }
    }
}
