//! From a file's bytes to RGB.

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader};

use crate::{Error, Image, Result};

/// Decodes a JPEG, PNG or WebP file to RGB, upright as its EXIF orientation says.
///
/// Grey becomes three equal channels, an alpha channel is dropped (as Pillow's `convert("RGB")` does), CMYK is
/// converted, 16 bits are reduced to 8. What counts is the content, not the extension.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read, [`Error::Decode`] where it is no such image or truncated.
pub fn read_image(path: impl AsRef<Path>) -> Result<Image> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    decode(&bytes, || path.display().to_string())
}

/// Decodes bytes; `origin` names them in an error.
pub(crate) fn decode(bytes: &[u8], origin: impl Fn() -> String) -> Result<Image> {
    // Decoders end some of their messages with a line feed.
    let wrong = |message: String| Error::Decode { path: origin(), message: message.trim().replace('\n', " ") };
    if bytes.is_empty() {
        return Err(wrong("the file is empty".to_string()));
    }
    if is_cut_jpeg(bytes) {
        return Err(wrong("the JPEG ends before its picture does: it is truncated".to_string()));
    }
    let upright = || -> Result<DynamicImage, ImageError> {
        let mut decoder = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?.into_decoder()?;
        // Broken EXIF data are no reason to lose the picture.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        Ok(image)
    };
    let rgb = upright().map_err(|error| wrong(error.to_string()))?.into_rgb8();
    let (width, height) = rgb.dimensions();
    Ok(Image { height: height as usize, width: width as usize, pixels: rgb.into_raw() })
}

/// True for a JPEG without its end marker, of which the decoder would make a picture that ends in grey.
///
/// Neither marker can occur within a scan's data, so the last of them tells: a thumbnail's end comes before the
/// picture's last scan.
fn is_cut_jpeg(bytes: &[u8]) -> bool {
    const START_OF_IMAGE: [u8; 2] = [0xff, 0xd8];
    const START_OF_SCAN: [u8; 2] = [0xff, 0xda];
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    let last = || bytes.windows(2).rev().find(|&pair| pair == START_OF_SCAN || pair == END_OF_IMAGE);
    bytes.starts_with(&START_OF_IMAGE) && last() != Some(&END_OF_IMAGE)
}
