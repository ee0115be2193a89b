//! JPEG by libjpeg-turbo's decoder (in its Mozilla form), whose pixels are Pillow's and so torchvision's and timm's.

use std::io::{self, BufRead, Read};

use jpeg_decoder::PixelFormat;
use mozjpeg::{Decompress, Format, Marker};

use super::colour::{cmyk_to_rgb, greys, spread};
use super::guard::guarded;
use super::orientation::Orientation;
use super::{check_memory, check_size};
use crate::Image;

/// Most pixels of all scans together: fourteen scans of the largest picture.
const MOST_SCANNED: usize = 2_500_000_000;

/// Bytes of JPEG data. libjpeg asks for more only where it cannot go on without: the picture is cut there.
///
/// What stands behind the picture (a motion photo's video, a panorama's other parts, a maker's records) is never asked
/// for, nor is the end marker of a picture whose rows are complete. That is how Pillow tells cut pictures from whole ones.
struct Source<'a>(&'a [u8]);

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // No error of kind `UnexpectedEof`: of that one libjpeg is told an end marker.
        if self.0.is_empty() { Err(io::Error::other("cut")) } else { Ok(self.0) }
    }

    fn consume(&mut self, count: usize) {
        self.0 = &self.0[count..];
    }
}

/// The picture as it is stored and how it is to be turned, or what is wrong with it.
pub(super) fn decode(bytes: &[u8]) -> Result<(Image, Orientation), String> {
    guarded(|| whole(bytes)).map_err(explain)
}

fn whole(bytes: &[u8]) -> Result<(Image, Orientation), String> {
    let process = process(bytes);
    if process == Process::Lossless {
        return lossless(bytes);
    }
    let decoder = open(bytes)?;
    let (exif, xmp) = metadata(&decoder);
    let image = read(decoder, Inks::Adobe, process)?;
    Ok((image, Orientation::find(exif.as_deref(), xmp.as_deref())))
}

/// How the values of four inks are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Inks {
    /// Inverted, as Adobe writes them and Pillow takes all such JPEG files to be.
    Adobe,
    /// As they are, in TIFF files.
    Plain,
}

/// A picture of JPEG data that are part of a file of another format, of this size at most.
pub(super) fn decode_part(bytes: &[u8], width: usize, height: usize) -> Result<Image, String> {
    let part = || {
        let decoder = open(bytes)?;
        if decoder.width() != width || decoder.height() > height {
            let (w, h) = decoder.size();
            return Err(format!("a part of {w}x{h} pixels stands where {width}x{height} are due"));
        }
        read(decoder, Inks::Plain, process(bytes))
    };
    guarded(part).map_err(explain)
}

fn open(bytes: &[u8]) -> Result<Decompress<Source<'_>>, String> {
    let markers = [Marker::APP(1)];
    let decoder = Decompress::builder().with_markers(&markers).from_reader(Source(bytes));
    let decoder = decoder.map_err(|_| "there is no picture in the JPEG".to_string())?;
    check_size(decoder.width(), decoder.height())?;
    Ok(decoder)
}

/// EXIF data, joined where they fill several segments, and the last XMP data.
fn metadata(decoder: &Decompress<Source<'_>>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let (mut exif, mut xmp) = (None::<Vec<u8>>, None);
    for marker in decoder.markers() {
        if let Some(data) = marker.data.strip_prefix(b"Exif\0\0") {
            exif.get_or_insert_default().extend(data);
        } else if let Some(data) = marker.data.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
            xmp = Some(data.to_vec());
        }
    }
    (exif, xmp)
}

fn read(decoder: Decompress<Source<'_>>, inks: Inks, process: Process) -> Result<Image, String> {
    let text = |error: io::Error| error.to_string();
    let (width, height) = decoder.size();
    let components = decoder.components().len();
    let kept = match process {
        Process::Scans(count) if count.saturating_mul(width * height) > MOST_SCANNED => {
            return Err(format!("{count} scans of {width}x{height} pixels would take minutes to decode"));
        }
        Process::Scans(_) => 2 * components,
        _ => 0,
    };
    check_memory(width, height, kept + components.max(3))?;
    let pixels = match decoder.image().map_err(text)? {
        Format::CMYK(mut lines) => {
            let mut pixels = lines.read_scanlines::<u8>().map_err(text)?;
            if inks == Inks::Adobe {
                pixels.iter_mut().for_each(|ink| *ink = 255 - *ink);
            }
            cmyk_to_rgb(&mut pixels);
            pixels
        }
        Format::RGB(mut lines) => lines.read_scanlines::<u8>().map_err(text)?,
        Format::Gray(mut lines) => spread(&lines.read_scanlines::<u8>().map_err(text)?, &greys()),
    };
    if pixels.len() != width * height * 3 {
        return Err("rows are missing".to_string());
    }
    Ok(Image { height, width, pixels })
}

/// How a picture is coded, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Process {
    /// Row after row.
    Rows,
    /// In so many scans (progressive, or a scan a colour): the decoder keeps all coefficients, two bytes each, until the
    /// last of them is read, and each scan goes over the whole picture, however little it holds.
    Scans(usize),
    /// As differences between pixels, with Huffman codes.
    Lossless,
}

fn process(bytes: &[u8]) -> Process {
    let (mut at, mut components, mut scans) = (2, 0, 0);
    let mut several = false;
    while let Some(skipped) = bytes.get(at..).and_then(|rest| rest.windows(2).position(is_marker)) {
        at += skipped;
        let byte = |offset: usize| bytes.get(at + offset).copied().unwrap_or(0);
        match byte(1) {
            0xc3 => return Process::Lossless,
            0xc2 | 0xc6 | 0xca | 0xce => several = true,
            0xc0 | 0xc1 | 0xc9 => components = byte(9),
            0xda => {
                several |= byte(4) < components;
                scans += 1;
                if !several {
                    return Process::Rows;
                }
            }
            0xd9 => break,
            _ => {}
        }
        at += 2 + usize::from(u16::from_be_bytes([byte(2), byte(3)]));
    }
    Process::Scans(scans)
}

/// Two bytes that begin a segment, within which there are none such but in texts.
fn is_marker(pair: &[u8]) -> bool {
    pair[0] == 0xff && !matches!(pair[1], 0 | 0x01 | 0xd0..=0xd8 | 0xff)
}

/// Lossless JPEG, which libjpeg here does not know.
fn lossless(bytes: &[u8]) -> Result<(Image, Orientation), String> {
    let text = |error: jpeg_decoder::Error| match error {
        jpeg_decoder::Error::Io(_) => "the JPEG ends before its picture does: it is truncated".to_string(),
        error => error.to_string(),
    };
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.read_info().map_err(text)?;
    let info = decoder.info().ok_or("the JPEG has no header")?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    check_size(width, height)?;
    // Each pixel takes a bit at least.
    if width * height / 8 > bytes.len() {
        return Err("the JPEG ends before its picture does: it is truncated".to_string());
    }
    // The decoder keeps two bytes a sample beside the picture that it makes.
    check_memory(width, height, 12)?;
    let pixels = decoder.decode().map_err(text)?;
    let pixels: Vec<u8> = match info.pixel_format {
        PixelFormat::RGB24 => pixels,
        PixelFormat::L8 => spread(&pixels, &greys()),
        format => return Err(format!("lossless JPEG of {format:?} is not decoded: save it as PNG")),
    };
    if pixels.len() != width * height * 3 {
        return Err("rows are missing".to_string());
    }
    let orientation = Orientation::find(decoder.exif_data(), decoder.xmp_data());
    Ok((Image { height, width, pixels }, orientation))
}

/// What libjpeg says, in words for those who have the file.
fn explain(message: String) -> String {
    let process = |number: &str| message.contains(&format!("SOF type 0x{number}"));
    if message == "Input file read error" {
        "the JPEG ends before its picture does: it is truncated".to_string()
    } else if process("c3") || process("cb") {
        "lossless JPEG is not decoded: save it as PNG, e.g. `magick in.jpg out.png`".to_string()
    } else if let Some(bits) = message.strip_prefix("Unsupported JPEG data precision ") {
        format!("JPEG of {bits} bits is not decoded: save it with 8, e.g. by `djpeg in.jpg | cjpeg > out.jpg`")
    } else {
        message
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode_image;

    #[test]
    fn what_is_broken_is_an_error_and_not_a_panic() {
        for bytes in
            [&b"\xff\xd8\xff\xd9"[..], b"\xff\xd8\xff\xda\x00\x02\xff\xd9", b"\xff\xd8\xff\xdb\x00\x01\xff\xd9"]
        {
            let message = decode_image(bytes).unwrap_err().to_string();
            assert!(!message.contains("fatal"), "{message}");
        }
        let message = decode_image(b"\xff\xd8\xff\xe0").unwrap_err().to_string();
        assert!(message.contains("truncated"), "{message}");
    }
}
