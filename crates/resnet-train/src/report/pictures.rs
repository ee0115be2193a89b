//! The grid of worst errors, each as an inline picture.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ReportError, escape, push};

/// One wrongly classified image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorstError {
    /// The image's index in its data set.
    pub index: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// `height * width * 3` bytes, (H, W, RGB).
    pub pixels: Vec<u8>,
    /// The true class's name.
    pub truth: String,
    /// The predicted class's name.
    pub predicted: String,
    /// The probability given to the true class, in 0..=1.
    pub truth_probability: f64,
    /// The probability given to the predicted class, in 0..=1.
    pub predicted_probability: f64,
}

/// Larger pictures are made smaller by a whole factor: they are shown at about this size.
const SIDE: usize = 128;

/// The section with all of them, in the order given.
pub(super) fn render(errors: &[WorstError]) -> Result<String, ReportError> {
    let mut out = String::from(
        "<section>\n<h2>Worst errors</h2>\n<p class=\"note\">Wrong answers, the least probable truth first: the predicted \
         class, and under it the true one, each with its probability.</p>\n<div class=\"errors\">\n",
    );
    for error in errors {
        push(
            &mut out,
            format_args!(
                "<figure><img src=\"{}\" alt=\"image {index}: {truth}\" title=\"image {index}\">\
                 <figcaption><span class=\"wrong\"><b>{}</b> {}</span>\
                 <span class=\"right\"><b>{truth}</b> {}</span></figcaption></figure>\n",
                error.data_url()?,
                escape(&error.predicted),
                percent(error.predicted_probability),
                percent(error.truth_probability),
                index = error.index,
                truth = escape(&error.truth),
            ),
        );
    }
    out.push_str("</div>\n</section>\n");
    Ok(out)
}

/// A picture of RGB bytes, (H, W, RGB), as the address of an inline PNG.
pub(super) fn data_url(index: usize, height: usize, width: usize, pixels: &[u8]) -> Result<String, ReportError> {
    WorstError { index, height, width, pixels: pixels.to_vec(), ..WorstError::default() }.data_url()
}

fn percent(probability: f64) -> String {
    let percent = 100.0 * probability;
    if percent < 0.1 { "&lt; 0.1 %".into() } else { format!("{percent:.1} %") }
}

impl WorstError {
    fn data_url(&self) -> Result<String, ReportError> {
        Ok(format!("data:image/png;base64,{}", STANDARD.encode(self.png()?)))
    }

    fn png(&self) -> Result<Vec<u8>, ReportError> {
        if self.pixels.len() != self.height * self.width * 3 || self.pixels.is_empty() {
            return Err(ReportError::PictureSize {
                index: self.index,
                height: self.height,
                width: self.width,
                bytes: self.pixels.len(),
            });
        }
        let (height, width, pixels) = self.thumbnail();
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .and_then(|mut writer| {
                writer.write_image_data(&pixels)?;
                writer.finish()
            })
            .map_err(|source| ReportError::Encode { index: self.index, source })?;
        Ok(bytes)
    }

    /// The picture averaged over squares of a whole number of pixels, so that its shorter side is near [`SIDE`].
    fn thumbnail(&self) -> (usize, usize, Vec<u8>) {
        let factor = (self.height.min(self.width) / SIDE).max(1);
        let (height, width) = (self.height / factor, self.width / factor);
        let mut pixels = Vec::with_capacity(height * width * 3);
        for y in 0..height {
            for x in 0..width {
                for channel in 0..3 {
                    let mut sum = 0;
                    for dy in 0..factor {
                        for dx in 0..factor {
                            let at = (y * factor + dy) * self.width + x * factor + dx;
                            sum += usize::from(self.pixels[at * 3 + channel]);
                        }
                    }
                    // A mean of bytes fits a byte.
                    pixels.push((sum / (factor * factor)) as u8);
                }
            }
        }
        (height, width, pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_picture_is_averaged_down() {
        let pixels = (0..256 * 512).flat_map(|i| if i % 2 == 0 { [10, 20, 30] } else { [20, 40, 50] }).collect();
        let error = WorstError { height: 256, width: 512, pixels, ..WorstError::default() };
        let (height, width, small) = error.thumbnail();
        assert_eq!((height, width), (128, 256));
        assert_eq!(&small[..3], &[15, 30, 40]);
        assert_eq!(small.len(), 128 * 256 * 3);
    }

    #[test]
    fn the_png_holds_the_pixels() {
        let pixels: Vec<u8> = (0..4 * 5 * 3).map(|i| i as u8).collect();
        let error = WorstError { height: 4, width: 5, pixels: pixels.clone(), ..WorstError::default() };
        let png = error.png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut decoded = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut decoded).unwrap();
        assert_eq!((frame.width, frame.height), (5, 4));
        assert_eq!(&decoded[..frame.buffer_size()], &pixels[..]);
    }
}
