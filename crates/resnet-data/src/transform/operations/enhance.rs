//! Pictures blended with, or pushed away from, a duller version of themselves: Pillow's `ImageEnhance`.

use crate::Image;

/// Away from its own grey.
pub(super) fn color(image: &Image, factor: f32) -> Image {
    let dull = image.pixels.chunks_exact(3).flat_map(|pixel| [luma(pixel); 3]).collect();
    blend(dull, image, factor)
}

/// Away from the even grey of its mean.
pub(super) fn contrast(image: &Image, factor: f32) -> Image {
    let sum: u64 = image.pixels.chunks_exact(3).map(|pixel| u64::from(luma(pixel))).sum();
    let mean = (sum as f64 / (image.height * image.width).max(1) as f64 + 0.5) as u8;
    blend(vec![mean; image.pixels.len()], image, factor)
}

/// Away from black.
pub(super) fn brightness(image: &Image, factor: f32) -> Image {
    blend(vec![0; image.pixels.len()], image, factor)
}

/// Away from a smoothed picture.
pub(super) fn sharpness(image: &Image, factor: f32) -> Image {
    blend(smooth(image), image, factor)
}

/// ITU-R 601-2 luma in 16-bit fixed point.
fn luma(pixel: &[u8]) -> u8 {
    let [r, g, b] = [0, 1, 2].map(|channel| u32::from(pixel[channel]));
    ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
}

/// `dull + factor * (image - dull)`, cut at 0 and 255; fractions are dropped, as `Image.blend` drops them.
fn blend(mut dull: Vec<u8>, image: &Image, factor: f32) -> Image {
    for (dull, &value) in dull.iter_mut().zip(&image.pixels) {
        let (from, to) = (f32::from(*dull), f32::from(value));
        *dull = (from + factor * (to - from)) as u8;
    }
    Image { pixels: dull, ..*image }
}

/// The mean of the 3x3 pixels around each, itself counted five times (`ImageFilter.SMOOTH`); the outermost stay.
fn smooth(image: &Image) -> Vec<u8> {
    let (height, width, pixels) = (image.height, image.width, &image.pixels);
    let mut out = pixels.clone();
    for row in 1..height.saturating_sub(1) {
        for place in row * width * 3 + 3..((row + 1) * width * 3).saturating_sub(3) {
            let line =
                |start: usize| -> u32 { [start - 3, start, start + 3].map(|i| u32::from(pixels[i])).iter().sum() };
            let sum = line(place - width * 3) + line(place) + line(place + width * 3) + 4 * u32::from(pixels[place]);
            out[place] = (f64::from(sum) / 13.0 + 0.5) as u8;
        }
    }
    out
}
