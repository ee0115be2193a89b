//! JPEG by libjpeg-turbo's decoder (in its Mozilla form), whose pixels are Pillow's and so torchvision's and timm's.

use std::any::Any;
use std::panic::catch_unwind;

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use mozjpeg::{Decompress, Format, Marker};

/// The first bytes of every JPEG.
const START_OF_IMAGE: [u8; 2] = [0xff, 0xd8];

/// Pictures of more pixels than this are refused, as Pillow refuses them: a few hundred bytes can promise gigabytes.
const MOST_PIXELS: usize = 178_956_970;

/// True where the bytes begin as a JPEG does.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&START_OF_IMAGE)
}

/// The picture as it is stored and how it is to be turned, or what is wrong with it.
pub(super) fn decode(bytes: &[u8]) -> Result<(DynamicImage, Orientation), String> {
    if is_cut(bytes) {
        return Err("the JPEG ends before its picture does: it is truncated".to_string());
    }
    // libjpeg leaves by unwinding when it cannot go on; that is its way to return an error, and prints nothing.
    catch_unwind(|| read(bytes)).unwrap_or_else(|cause| Err(reason(&*cause)))
}

fn read(bytes: &[u8]) -> Result<(DynamicImage, Orientation), String> {
    let text = |error: std::io::Error| error.to_string();
    let decoder = Decompress::builder().with_markers(&[Marker::APP(1)]).from_mem(bytes).map_err(text)?;
    let (width, height) = decoder.size();
    if width.saturating_mul(height) > MOST_PIXELS {
        return Err(format!("{width}x{height} is more than {MOST_PIXELS} pixels"));
    }
    // Broken EXIF data are no reason to lose the picture.
    let orientation = decoder
        .markers()
        .find_map(|marker| marker.data.strip_prefix(b"Exif\0\0"))
        .map_or(Orientation::NoTransforms, |exif| {
            Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms)
        });
    let pixels = match decoder.image().map_err(text)? {
        Format::CMYK(mut lines) => from_cmyk(&lines.read_scanlines::<u8>().map_err(text)?),
        Format::RGB(mut lines) => lines.read_scanlines::<u8>().map_err(text)?,
        Format::Gray(mut lines) => {
            lines.read_scanlines::<u8>().map_err(text)?.into_iter().flat_map(|grey| [grey; 3]).collect()
        }
    };
    let picture = RgbImage::from_raw(width as u32, height as u32, pixels).ok_or("rows are missing")?;
    Ok((picture.into(), orientation))
}

/// Ink to light. Values are inverted in the file, as Adobe writes them and Pillow takes all such files to be.
fn from_cmyk(inks: &[u8]) -> Vec<u8> {
    let light = |ink: u8, black: u8| {
        let product = u32::from(255 - ink) * u32::from(black) + 128;
        black - (((product >> 8) + product) >> 8) as u8
    };
    inks.as_chunks::<4>().0.iter().flat_map(|&[c, m, y, k]| [light(c, k), light(m, k), light(y, k)]).collect()
}

/// True for a JPEG without its end marker, of which the decoder would make a picture that ends in grey.
///
/// Neither marker can occur within a scan's data, so the last of them tells: a thumbnail's end comes before the
/// picture's last scan.
fn is_cut(bytes: &[u8]) -> bool {
    const START_OF_SCAN: [u8; 2] = [0xff, 0xda];
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    let last = bytes.windows(2).rev().find(|&pair| pair == START_OF_SCAN || pair == END_OF_IMAGE);
    last != Some(&END_OF_IMAGE)
}

/// What an unwinding says of itself.
fn reason(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    text.unwrap_or("the JPEG decoder failed").trim_start_matches("libjpeg fatal error: ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ink_becomes_light_as_in_pillow() {
        // Of Pillow 13: Image.new("CMYK", ...).convert("RGB") on the inverses of these.
        assert_eq!(from_cmyk(&[255, 255, 255, 255]), [255, 255, 255]);
        assert_eq!(from_cmyk(&[0, 128, 255, 200]), [0, 100, 200]);
        assert_eq!(from_cmyk(&[10, 20, 30, 0]), [0, 0, 0]);
    }

    #[test]
    fn what_is_broken_is_an_error_and_not_a_panic() {
        for bytes in
            [&b"\xff\xd8\xff\xd9"[..], b"\xff\xd8\xff\xda\x00\x02\xff\xd9", b"\xff\xd8\xff\xdb\x00\x01\xff\xd9"]
        {
            let message = decode(bytes).unwrap_err();
            assert!(!message.is_empty() && !message.contains("fatal"), "{message}");
        }
        assert!(decode(b"\xff\xd8\xff\xda").unwrap_err().contains("truncated"));
    }
}
