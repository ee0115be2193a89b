//! Pictures for networks of one channel.

use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;
use resnet_data::{Dataset, Image, Result};

/// A set whose pictures become grey as Pillow's `convert("L")` makes them, three channels alike.
pub struct Grey(pub Arc<dyn Dataset>);

impl Dataset for Grey {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn classes(&self) -> &[String] {
        self.0.classes()
    }

    fn label(&self, index: usize) -> u32 {
        self.0.label(index)
    }

    fn image(&self, index: usize) -> Result<Image> {
        let mut image = self.0.image(index)?;
        for pixel in image.pixels.chunks_exact_mut(3) {
            pixel.fill(luma(pixel[0], pixel[1], pixel[2]));
        }
        Ok(image)
    }

    fn origin(&self, index: usize) -> String {
        self.0.origin(index)
    }

    fn runs(&self) -> Option<Vec<Range<usize>>> {
        self.0.runs()
    }
}

/// Pillow's weights (ITU-R 601) in sixteenths of a bit, rounded.
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    let sum = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue) + 0x8000;
    (sum >> 16) as u8
}

/// The first of three channels alike: (N, 3, H, W) to (N, 1, H, W).
///
/// # Errors
/// If the tensor has no channels.
pub fn one_channel(images: &Tensor) -> candle_core::Result<Tensor> {
    images.narrow(1, 0, 1)?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_is_that_of_pillow() {
        // Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0)), Pillow 12.
        for (colour, grey) in
            [([255, 0, 0], 76), ([0, 255, 0], 150), ([0, 0, 255], 29), ([10, 200, 77], 129), ([7; 3], 7)]
        {
            assert_eq!(luma(colour[0], colour[1], colour[2]), grey);
        }
    }
}
