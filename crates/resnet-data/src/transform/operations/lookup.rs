//! Operations that replace each value by another, whatever stands around it.

use crate::Image;

/// The same table for all three channels.
pub(super) fn all(image: &Image, value: impl Fn(u8) -> u8) -> Image {
    let pixels = image.pixels.iter().map(|&old| value(old)).collect();
    Image { pixels, ..*image }
}

/// A table for each channel, from its histogram.
pub(super) fn by_channel(image: &Image, table: impl Fn(&[u64; 256]) -> [u8; 256]) -> Image {
    let mut histograms = [[0_u64; 256]; 3];
    for pixel in image.pixels.chunks_exact(3) {
        for (histogram, &value) in histograms.iter_mut().zip(pixel) {
            histogram[value as usize] += 1;
        }
    }
    let tables = histograms.map(|histogram| table(&histogram));
    let mut pixels = image.pixels.clone();
    for pixel in pixels.chunks_exact_mut(3) {
        for (table, value) in tables.iter().zip(pixel) {
            *value = table[*value as usize];
        }
    }
    Image { pixels, ..*image }
}

fn identity() -> [u8; 256] {
    std::array::from_fn(|value| value as u8)
}

/// From the least and the greatest value that occur to 0 and 255: `ImageOps.autocontrast`.
pub(super) fn auto_contrast(histogram: &[u64; 256]) -> [u8; 256] {
    let low = histogram.iter().position(|&count| count > 0);
    let high = histogram.iter().rposition(|&count| count > 0);
    let (Some(low), Some(high)) = (low, high) else { return identity() };
    if high <= low {
        return identity();
    }
    let scale = 255.0 / (high - low) as f64;
    let offset = -(low as f64) * scale;
    std::array::from_fn(|value| (value as f64 * scale + offset) as u8)
}

/// As many pixels in one part of the range as in any other: `ImageOps.equalize`.
pub(super) fn equalize(histogram: &[u64; 256]) -> [u8; 256] {
    let last = histogram.iter().rev().find(|&&count| count > 0).copied().unwrap_or(0);
    let step = (histogram.iter().sum::<u64>() - last) / 255;
    if step == 0 {
        return identity();
    }
    let mut below = step / 2;
    std::array::from_fn(|value| {
        let new = (below / step).min(255) as u8;
        below += histogram[value];
        new
    })
}
