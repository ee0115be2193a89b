//! From a file's bytes to RGB.

mod jpeg;

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader};

use crate::{Error, Image, Result};

/// Decodes a JPEG, PNG or WebP file to RGB, upright as its EXIF orientation says; [`decode_image`] does so from memory.
///
/// Grey becomes three equal channels, an alpha channel is dropped (as Pillow's `convert("RGB")` does), CMYK is
/// converted, 16 bits are reduced to 8. What counts is the content, not the extension. Of a JPEG the pixels are those
/// that Pillow gives, bit for bit (apart from the orientation, which `ImageOps.exif_transpose` applies there).
///
/// # Errors
/// [`Error::Io`] where the file cannot be read, [`Error::Decode`] where it is no such image or truncated.
pub fn read_image(path: impl AsRef<Path>) -> Result<Image> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    decode(&bytes, || path.display().to_string())
}

/// Decodes the bytes of a JPEG, PNG or WebP file, as they come by network or out of an archive. As [`read_image`].
///
/// ```
/// # let bytes = include_bytes!("../../tests/images/rotated.jpg");
/// let image = resnet_data::decode_image(bytes)?;
/// assert_eq!((image.height, image.width), (24, 16));
/// assert!(resnet_data::decode_image(&bytes[..100]).is_err());
/// # Ok::<(), resnet_data::Error>(())
/// ```
///
/// # Errors
/// [`Error::Decode`] where they are no such image or truncated; the place it names is `(memory)`.
pub fn decode_image(bytes: &[u8]) -> Result<Image> {
    decode(bytes, || "(memory)".to_string())
}

/// Decodes bytes; `origin` names them in an error.
pub(crate) fn decode(bytes: &[u8], origin: impl Fn() -> String) -> Result<Image> {
    // Decoders end some of their messages with a line feed.
    let wrong = |message: String| Error::Decode { path: origin(), message: message.trim().replace('\n', " ") };
    if bytes.is_empty() {
        return Err(wrong("it is empty".to_string()));
    }
    let decoded = if jpeg::is_jpeg(bytes) { jpeg::decode(bytes) } else { other(bytes) };
    let (mut image, orientation) = decoded.map_err(wrong)?;
    image.apply_orientation(orientation);
    let rgb = image.into_rgb8();
    let (width, height) = rgb.dimensions();
    Ok(Image { height: height as usize, width: width as usize, pixels: rgb.into_raw() })
}

/// PNG and WebP: the picture as it is stored and how it is to be turned, or what is wrong with it.
fn other(bytes: &[u8]) -> Result<(DynamicImage, Orientation), String> {
    let read = || -> Result<_, ImageError> {
        let mut decoder = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?.into_decoder()?;
        // Broken EXIF data are no reason to lose the picture.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        Ok((DynamicImage::from_decoder(decoder)?, orientation))
    };
    read().map_err(|error| error.to_string())
}
