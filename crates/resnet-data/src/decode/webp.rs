//! WebP: the chunks are read here, the picture's data go to `image-webp`.
//!
//! `image-webp` composes animations on a canvas of the size that the file claims, and can loop for ever doing it; of
//! an animation the first frame is all that counts, and alpha does not.

use std::io::Cursor;

use image_webp::WebPDecoder;

use super::colour::narrow;
use super::orientation::Orientation;
use super::{check_memory, check_size};
use crate::Image;

/// A frame's place on the canvas, and its data.
struct Frame<'a> {
    left: usize,
    top: usize,
    size: Option<(usize, usize)>,
    kind: [u8; 4],
    data: &'a [u8],
}

/// The picture, or an animation's first frame, as it is stored and how it is to be turned; or what is wrong with it.
pub(super) fn decode(bytes: &[u8]) -> Result<(Image, Orientation), String> {
    let length = bytes.get(4..8).and_then(|length| length.try_into().ok()).map_or(0, u32::from_le_bytes) as usize;
    let end = length.saturating_add(8);
    if end > bytes.len() {
        return Err("the WebP ends before its picture does: it is truncated".to_string());
    }
    let (mut canvas, mut frame, mut exif, mut xmp) = (None, None, None, None);
    for (kind, data) in chunks(&bytes[12.min(end)..end]) {
        match &kind {
            b"VP8X" if canvas.is_none() => canvas = Some(canvas_of(data)?),
            b"VP8 " | b"VP8L" if frame.is_none() => frame = Some(Frame { left: 0, top: 0, size: None, kind, data }),
            b"ANMF" if frame.is_none() => frame = Some(first_frame(data)?),
            b"EXIF" => exif = Some(data),
            b"XMP " => xmp = Some(data),
            _ => {}
        }
    }
    let frame = frame.ok_or("there is no picture in the WebP")?;
    let image = frame.decode()?;
    Ok((place(image, &frame, canvas)?, Orientation::find(exif, xmp)))
}

/// The chunks of RIFF data, the last of them cut where they end.
fn chunks(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (&[a, b, c, d, length @ ..], behind) = rest.split_first_chunk::<8>()?;
        let length = u32::from_le_bytes(length) as usize;
        let data = &behind[..length.min(behind.len())];
        rest = behind.get(length + length % 2..).unwrap_or_default();
        Some(([a, b, c, d], data))
    })
}

fn u24(bytes: &[u8]) -> usize {
    bytes.iter().take(3).rev().fold(0, |value, &byte| value << 8 | usize::from(byte))
}

/// Width and height of the whole.
fn canvas_of(data: &[u8]) -> Result<(usize, usize), String> {
    let size = data.get(4..10).ok_or("the WebP's header is cut")?;
    let (width, height) = (u24(size) + 1, u24(&size[3..]) + 1);
    check_size(width, height)?;
    Ok((width, height))
}

fn first_frame(data: &[u8]) -> Result<Frame<'_>, String> {
    let cut = "the animation's first frame is cut";
    let (head, rest) = data.split_first_chunk::<16>().ok_or(cut)?;
    let place = (u24(head) * 2, u24(&head[3..]) * 2);
    let size = (u24(&head[6..]) + 1, u24(&head[9..]) + 1);
    let (kind, data) = chunks(rest).find(|(kind, _)| matches!(kind, b"VP8 " | b"VP8L")).ok_or(cut)?;
    Ok(Frame { left: place.0, top: place.1, size: Some(size), kind, data })
}

impl Frame<'_> {
    fn decode(&self) -> Result<Image, String> {
        let padded = self.data.len() as u32 + self.data.len() as u32 % 2;
        let mut stream = b"RIFF".to_vec();
        stream.extend((padded + 12).to_le_bytes());
        stream.extend(b"WEBP");
        stream.extend(self.kind);
        stream.extend((self.data.len() as u32).to_le_bytes());
        stream.extend(self.data);
        stream.resize(20 + padded as usize, 0);
        let text = |error: image_webp::DecodingError| match error {
            image_webp::DecodingError::IoError(_) => {
                "the WebP ends before its picture does: it is truncated".to_string()
            }
            error => error.to_string(),
        };
        let mut decoder = WebPDecoder::new(Cursor::new(stream)).map_err(text)?;
        let (width, height) = decoder.dimensions();
        let (width, height) = (width as usize, height as usize);
        check_size(width, height)?;
        if self.size.is_some_and(|size| size != (width, height)) {
            return Err("the animation's first frame has another size than it says".to_string());
        }
        let channels = if decoder.has_alpha() { 4 } else { 3 };
        // A lossless picture is decoded with alpha first.
        check_memory(width, height, channels + if &self.kind == b"VP8L" && channels == 3 { 4 } else { 2 })?;
        let mut pixels = vec![0; width * height * channels];
        decoder.read_image(&mut pixels).map_err(text)?;
        if channels == 4 {
            narrow(&mut pixels, |[r, g, b, _]| [r, g, b]);
        }
        Ok(Image { height, width, pixels })
    }
}

/// The frame on the canvas, which is black elsewhere.
fn place(image: Image, frame: &Frame, canvas: Option<(usize, usize)>) -> Result<Image, String> {
    let fills = |canvas| canvas == (image.width, image.height) && (frame.left, frame.top) == (0, 0);
    let Some((width, height)) = canvas.filter(|&canvas| !fills(canvas)) else { return Ok(image) };
    let inside = frame.left + image.width <= width && frame.top + image.height <= height;
    if !inside || frame.size.is_none() {
        return Err(format!("a picture of {}x{} pixels does not fit {width}x{height}", image.width, image.height));
    }
    check_memory(width, height, 3)?;
    let mut pixels = vec![0; width * height * 3];
    for (row, line) in image.pixels.chunks_exact(image.width * 3).enumerate() {
        let start = ((frame.top + row) * width + frame.left) * 3;
        pixels[start..start + line.len()].copy_from_slice(line);
    }
    Ok(Image { height, width, pixels })
}
