//! The first picture of a GIF.

use ::gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use super::colour::{greys, palette};
use super::{MOST_PIXELS, check_size};
use crate::Image;

/// The first picture on its screen, or what is wrong with it. As Pillow: outside it the screen has the transparent colour
/// if there is one, else the palette's first, and it grows where the picture is larger.
pub(super) fn decode(bytes: &[u8]) -> Result<Image, String> {
    let text = |error: DecodingError| explain(error.to_string());
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Bytes(
        std::num::NonZeroU64::new(MOST_PIXELS as u64).unwrap_or(std::num::NonZeroU64::MIN),
    ));
    options.allow_unknown_blocks(true);
    let mut decoder = options.read_info(bytes).map_err(text)?;
    let frame = decoder.next_frame_info().map_err(text)?.ok_or("there is no picture in the GIF")?;
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (columns, rows) = (usize::from(frame.width), usize::from(frame.height));
    let outside = frame.transparent.unwrap_or(0);
    let local = frame.palette.clone();
    check_size(columns, rows)?;
    let (width, height) = ((left + columns).max(decoder.width().into()), (top + rows).max(decoder.height().into()));
    check_size(width, height)?;
    let colours = match local.as_deref().or(decoder.global_palette()) {
        Some(colours) => palette(colours.as_chunks::<3>().0.iter().copied()),
        None => greys(),
    };
    let mut indices = vec![0; columns * rows];
    decoder.read_into_buffer(&mut indices).map_err(text)?;
    let mut pixels = colours[usize::from(outside)].repeat(width * height);
    for (row, line) in indices.chunks_exact(columns).enumerate() {
        let start = ((top + row) * width + left) * 3;
        let (to, _) = pixels[start..start + columns * 3].as_chunks_mut::<3>();
        to.iter_mut().zip(line).for_each(|(to, &index)| *to = colours[usize::from(index)]);
    }
    Ok(Image { height, width, pixels })
}

/// What `gif` says, in words for those who have the file.
fn explain(message: String) -> String {
    let lower = message.to_lowercase();
    if ["unexpected end", "end of file", "fill whole buffer"].iter().any(|part| lower.contains(part)) {
        return "the GIF ends before its picture does: it is truncated".to_string();
    }
    message
}
