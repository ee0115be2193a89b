//! The first page of a TIFF or BigTIFF: strips or tiles, 1 to 16 bits, grey, colours, palettes and inks.

mod layout;
mod unpack;

use super::colour::{cmyk_to_rgb, divide_by_alpha, greys, palette, spread};
use super::ifd::Directory;
use super::orientation::{ORIENTATION, Orientation};
use super::{check_memory, check_size, jpeg};
use crate::Image;
use layout::{Chunk, Compression, Layout, Photometric};
use unpack::Unpacker;

/// The picture as it is stored and how it is to be turned, or what is wrong with it.
pub(super) fn decode(bytes: &[u8]) -> Result<(Image, Orientation), String> {
    let directory = Directory::first(bytes)?;
    let orientation = match directory.number(ORIENTATION) {
        Some(number) => Orientation::of(number),
        None => Orientation::find(None, directory.bytes(XMP)),
    };
    let layout = Layout::of(&directory, bytes)?;
    Ok((picture(&layout, bytes)?, orientation))
}

const XMP: u16 = 700;

fn picture(layout: &Layout, bytes: &[u8]) -> Result<Image, String> {
    let (width, height, kept) = (layout.width, layout.height, layout.kept());
    check_memory(width, height, if kept == 1 { 4 } else { kept })?;
    let mut canvas = vec![0; width * height * kept];
    let mut unpacker = Unpacker::new(layout);
    for chunk in layout.chunks() {
        check_size(chunk.width, chunk.rows)?;
        check_memory(chunk.width, chunk.rows, layout.samples * layout.bits.div_ceil(8) + kept)?;
        if layout.compression == Compression::Jpeg {
            let stream = layout.jpeg_stream(chunk.data(bytes)?);
            let part = jpeg::decode_part(&stream, chunk.width, chunk.height)?;
            put_jpeg(layout, &chunk, &part, &mut canvas)?;
        } else {
            unpacker.put(&chunk, bytes, &mut canvas)?;
        }
    }
    Ok(Image { height, width, pixels: finish(layout, canvas) })
}

/// Writes a decoded part into the values kept: its colours or, where each lies in a part of its own, one of them.
fn put_jpeg(layout: &Layout, chunk: &Chunk, part: &Image, canvas: &mut [u8]) -> Result<(), String> {
    if part.height < chunk.rows {
        return Err("a part has fewer rows than it should".to_string());
    }
    let kept = layout.kept();
    for row in 0..chunk.rows {
        let start = ((chunk.top + row) * layout.width + chunk.left) * kept;
        let to = &mut canvas[start..start + chunk.columns * kept];
        let from = &part.pixels[row * part.width * 3..][..chunk.columns * 3];
        if layout.planar {
            let values = from.iter().step_by(3);
            to.iter_mut().skip(chunk.plane).step_by(kept).zip(values).for_each(|(to, &value)| *to = value);
        } else {
            to.copy_from_slice(from);
        }
    }
    Ok(())
}

/// The values kept to RGB.
fn finish(layout: &Layout, mut canvas: Vec<u8>) -> Vec<u8> {
    match (&layout.photometric, layout.kept()) {
        (Photometric::Palette(colours), _) => {
            let (reds, rest) = colours.split_at(colours.len() / 3);
            let (greens, blues) = rest.split_at(rest.len() / 2);
            let high = |value: &u64| (value / 256).min(255) as u8;
            let colours = reds.iter().zip(greens).zip(blues).map(|((r, g), b)| [high(r), high(g), high(b)]);
            spread(&canvas, &palette(colours))
        }
        (Photometric::WhiteIsZero, kept) => {
            canvas.iter_mut().for_each(|value| *value = 255 - *value);
            if kept == 1 { spread(&canvas, &greys()) } else { canvas }
        }
        (_, 1) => spread(&canvas, &greys()),
        (Photometric::Inks, 4) => {
            cmyk_to_rgb(&mut canvas);
            canvas
        }
        (_, 4) => {
            divide_by_alpha(&mut canvas);
            canvas
        }
        _ => canvas,
    }
}
