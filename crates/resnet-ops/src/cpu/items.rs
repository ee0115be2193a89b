//! How the work of a convolution is cut: items that one thread packs and computes, parts of an image within them.

use std::ops::Range;

use super::geometry::ConvShape;
use super::threads;
use super::winograd;

/// Bytes of one item's scratch: well within a second-level cache, with room for weights. Where there are many weights
/// (or sums of their gradients), an item is larger, because each item passes over all of them.
fn scratch_bytes(shape: &ConvShape) -> usize {
    (shape.o * shape.group_inputs() * shape.kh * shape.kw).clamp(256 << 10, 2 << 20)
}
/// Pixels of one long row are cut at multiples of this: two parts of whole tiles.
const PIXELS: usize = 28;

/// Output rows and columns of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub image: usize,
    pub rows: Range<usize>,
    pub cols: Range<usize>,
}

/// What a thread packs and computes at once. All parts are of one size, but for the last of a long row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item(pub Vec<Part>);

impl Item {
    /// Rows and columns of the first part, which no other exceeds.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.0.first().map_or((0, 0), |part| (part.rows.len(), part.cols.len()))
    }
}

/// Ranges that follow one another as one, with the position of the first.
pub(crate) fn merged(ranges: &[Range<usize>]) -> Vec<(usize, Range<usize>)> {
    let mut merged: Vec<(usize, Range<usize>)> = Vec::new();
    for (i, range) in ranges.iter().enumerate() {
        match merged.last_mut() {
            Some((_, last)) if last.end == range.start => last.end = range.end,
            _ => merged.push((i, range.clone())),
        }
    }
    merged
}

/// The items of a (flattened) convolution. A part's scratches take `row_units` units for each of its output rows (for
/// each of its pixels, if it is a long row). With `squares`, bands begin where Winograd's squares do, and items are twice
/// as large, because there are more weights. With `pairs`, parts come in pairs wherever there are two.
pub(crate) fn items(shape: &ConvShape, row_units: usize, squares: bool, pairs: bool) -> Vec<Item> {
    let threads = threads::count();
    let (row_bytes, least) = (4 * row_units.max(1), if pairs { 2 } else { 1 });
    let (together, more) = if squares { (winograd::OUT, 2) } else { (1, 1) };
    let scratch_bytes = more * scratch_bytes(shape);
    if shape.is_row() {
        // Every thread gets as many items as the others, and as many pixels, but for a few.
        let units = shape.ow.div_ceil(PIXELS);
        let shares = threads.min(units);
        let size = (scratch_bytes / row_bytes / PIXELS).max(2);
        let count = shares * units.div_ceil(shares).div_ceil(size);
        let part = |cols: Range<usize>| Part { image: 0, rows: 0..1, cols };
        let item = |i: usize| {
            let units = threads::part(i, count, units);
            let (start, end) = (units.start * PIXELS, (units.end * PIXELS).min(shape.ow));
            let middle = start + (end - start).div_ceil(2);
            match pairs && middle < end {
                true => Item(vec![part(start..middle), part(middle..end)]),
                false => Item(vec![part(start..end)]),
            }
        };
        return (0..count).map(item).collect();
    }
    // As many whole images as fit, or, where one is too large or the threads lack work, bands of rows.
    let fitting = scratch_bytes / (row_bytes * shape.oh);
    if fitting >= least && shape.n >= least * threads {
        let share = shape.n.div_ceil(threads);
        let count = share.div_ceil(share.div_ceil(fitting)).next_multiple_of(least);
        let part = |image| Part { image, rows: 0..shape.oh, cols: 0..shape.ow };
        let images = (0..shape.n).step_by(count).map(|first| first..(first + count).min(shape.n));
        return images.map(|images| Item(images.map(part).collect())).collect();
    }
    let sets = shape.n.div_ceil(least);
    let mut rows = (scratch_bytes / (row_bytes * least)).clamp(1, shape.oh);
    if sets < 2 * threads {
        rows = rows.min(shape.oh.div_ceil((2 * threads).div_ceil(sets))).max(1);
    }
    let units = shape.oh.div_ceil(together);
    let bands = units.div_ceil((rows / together).max(1));
    let item = |i: usize| {
        let (first, band) = (i / bands * least, i % bands);
        let Range { start, end } = threads::part(band, bands, units);
        let rows = start * together..(end * together).min(shape.oh);
        let images = first..(first + least).min(shape.n);
        Item(images.map(|image| Part { image, rows: rows.clone(), cols: 0..shape.ow }).collect())
    };
    (0..sets * bands).map(item).collect()
}
