//! From a file's bytes to RGB.

mod bmp;
mod colour;
mod gif;
mod guard;
mod ifd;
mod jpeg;
mod orientation;
mod png;
mod pnm;
#[cfg(test)]
mod tests;
mod tiff;
mod webp;

use std::path::Path;

use crate::kind::{Format, Kind};
use crate::names::shown;
use crate::{Error, Image, Result};
use guard::guarded;
use orientation::Orientation;

/// Pictures of more pixels than this are refused, as Pillow refuses them: a few hundred bytes can promise gigabytes.
const MOST_PIXELS: usize = 178_956_970;

/// Most rows, and most columns: a row costs time however short it is.
const LONGEST_SIDE: usize = 1 << 24;

/// The largest file: the most pixels of three 16-bit channels.
const MOST_BYTES: u64 = 1_100_000_000;

/// Most bytes that decoding may take.
const MOST_MEMORY: usize = 1_400_000_000;

/// Decodes a picture's file to RGB, upright as its EXIF orientation says; [`decode_image`] does so from memory.
///
/// JPEG, PNG, WebP, BMP, GIF, TIFF and the portable maps (PBM, PGM, PPM, PAM); of several pictures the first. What
/// counts is the content, not the extension. Grey becomes three equal channels, an alpha channel is dropped, CMYK is
/// converted, 16 bits are reduced to 8: the pixels are those of Pillow's
/// `ImageOps.exif_transpose(image).convert("RGB")`, bit for bit, but for 16-bit grey, which Pillow cuts at 255 and
/// which is scaled here.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read, [`Error::Decode`] where it is no such picture, truncated, or has more
/// than 178,956,970 pixels. Other kinds of pictures and files are called what they are ([`kind_of`](crate::kind_of)).
pub fn read_image(path: impl AsRef<Path>) -> Result<Image> {
    let path = path.as_ref();
    let bytes = read_file(path).map_err(Error::io(path))?;
    let origin = || shown(path);
    if let Kind::Unreadable(kind) = Kind::of(&bytes, path) {
        return Err(Error::Decode { path: origin(), message: format!("{kind} is not decoded: {}", kind.hint) });
    }
    decode(&bytes, origin)
}

/// The bytes of a picture's file.
pub(crate) fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    resnet_files::read(path, MOST_BYTES)
}

/// Decodes the bytes of a picture's file, as they come by network or out of an archive. As [`read_image`].
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
/// [`Error::Decode`] where they are no such picture or truncated; the place it names is `(memory)`.
pub fn decode_image(bytes: &[u8]) -> Result<Image> {
    decode(bytes, || "(memory)".to_string())
}

/// Decodes bytes; `origin` names them in an error.
pub(crate) fn decode(bytes: &[u8], origin: impl Fn() -> String) -> Result<Image> {
    // Decoders end some of their messages with a line feed, and quote what they found.
    let line = |message: String| message.trim().replace(|character: char| character.is_control(), " ");
    guarded(|| read(bytes)).map_err(|message| Error::Decode { path: origin(), message: line(message) })
}

fn read(bytes: &[u8]) -> Result<Image, String> {
    let upright = |image| (image, Orientation::UPRIGHT);
    let (image, orientation) = match Kind::of_content(bytes) {
        Kind::Picture(Format::Jpeg) => jpeg::decode(bytes)?,
        Kind::Picture(Format::Png) => png::decode(bytes)?,
        Kind::Picture(Format::WebP) => webp::decode(bytes)?,
        Kind::Picture(Format::Gif) => gif::decode(bytes).map(upright)?,
        Kind::Picture(Format::Bmp) => bmp::decode(bytes).map(upright)?,
        Kind::Picture(Format::Tiff) => tiff::decode(bytes)?,
        Kind::Picture(Format::Pnm) => pnm::decode(bytes).map(upright)?,
        Kind::Unreadable(kind) => return Err(format!("{kind} is not decoded: {}", kind.hint)),
        Kind::Picture(Format::Unknown) | Kind::Other => return Err(no_picture(bytes)),
    };
    Ok(orientation.apply(image))
}

/// What a file without a picture's beginning seems to be.
fn no_picture(bytes: &[u8]) -> String {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(512)]).to_lowercase();
    let text = head.trim_start_matches('\u{feff}').trim_start();
    let starts = |beginnings: &[&str]| beginnings.iter().any(|beginning| text.starts_with(beginning));
    let what = if bytes.is_empty() {
        "it is empty"
    } else if bytes.iter().all(|&byte| byte == 0) {
        "it holds zeros only: it was not copied in full"
    } else if starts(&["version https://git-lfs"]) {
        "it is a pointer of Git LFS: run `git lfs pull`"
    } else if starts(&["<!doctype html", "<html", "<head"]) {
        "it is a page of HTML, as servers send for an error: download it again"
    } else if starts(&["<?xml", "{", "["]) {
        "it is XML or JSON, as servers send for an error: download it again"
    } else if bytes.starts_with(b"\xff\xd8") {
        "the JPEG ends before its picture does: it is truncated"
    } else {
        "its beginning is that of no picture"
    };
    what.to_string()
}

/// Refuses sizes that no picture has, before anything is allocated.
fn check_size(width: usize, height: usize) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err("it has no pixels".to_string());
    }
    if width.max(height) > LONGEST_SIDE {
        return Err(format!("{width}x{height}: no side may be longer than {LONGEST_SIDE} pixels"));
    }
    match width.checked_mul(height) {
        Some(pixels) if pixels <= MOST_PIXELS => Ok(()),
        _ => Err(format!("{width}x{height} is more than {MOST_PIXELS} pixels")),
    }
}

/// Refuses pictures whose decoding takes too much memory, of so many bytes a pixel.
fn check_memory(width: usize, height: usize, bytes: usize) -> Result<(), String> {
    let total = width.saturating_mul(height).saturating_mul(bytes);
    if total > MOST_MEMORY {
        return Err(format!(
            "{width}x{height} pixels of this kind take {} MB to decode: make it smaller",
            total / 1_000_000
        ));
    }
    Ok(())
}
