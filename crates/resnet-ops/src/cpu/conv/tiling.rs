//! How the work of a convolution is cut: items that one thread packs and computes, tiles of an image within them.

use std::ops::Range;

use super::problem::ConvProblem;
use super::winograd;
use crate::cpu::threads;

/// Bytes of one item's scratch: well within a second-level cache, with room for weights. Where there are many weights
/// (or sums of their gradients), an item is larger, because each item passes over all of them.
fn scratch_bytes(problem: &ConvProblem) -> usize {
    (problem.o * problem.group_inputs() * problem.kh * problem.kw).clamp(256 << 10, 2 << 20)
}
/// Pixels of one long row are cut at multiples of this: two tiles of whole microkernel tiles.
const PIXELS: usize = 28;

/// Output rows and columns of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tile {
    pub image: usize,
    pub rows: Range<usize>,
    pub cols: Range<usize>,
}

/// What a thread packs and computes at once. All tiles are of one size, but for the last of a long row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkItem(pub Vec<Tile>);

impl WorkItem {
    /// Rows and columns of the first tile, which no other exceeds.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.0.first().map_or((0, 0), |tile| (tile.rows.len(), tile.cols.len()))
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

/// The items of a (flattened) convolution. A tile's scratches take `row_units` units for each of its output rows (for
/// each of its pixels, if it is a long row). With `squares`, bands begin where Winograd's squares do, and items are twice
/// as large, because there are more weights. With `pairs`, tiles come in pairs wherever there are two.
pub(crate) fn items(problem: &ConvProblem, row_units: usize, squares: bool, pairs: bool) -> Vec<WorkItem> {
    let threads = threads::count();
    let (row_bytes, least) = (4 * row_units.max(1), if pairs { 2 } else { 1 });
    let (at_once, more) = if squares { (winograd::OUT, 2) } else { (1, 1) };
    let scratch_bytes = more * scratch_bytes(problem);
    if problem.is_row() {
        // Every thread gets as many items as the others, and as many pixels, but for a few.
        let units = problem.ow.div_ceil(PIXELS);
        let chunks = threads.min(units);
        let size = (scratch_bytes / row_bytes / PIXELS).max(2);
        let count = chunks * units.div_ceil(chunks).div_ceil(size);
        let tile = |cols: Range<usize>| Tile { image: 0, rows: 0..1, cols };
        let item = |i: usize| {
            let units = threads::chunk(i, count, units);
            let (start, end) = (units.start * PIXELS, (units.end * PIXELS).min(problem.ow));
            let middle = start + (end - start).div_ceil(2);
            match pairs && middle < end {
                true => WorkItem(vec![tile(start..middle), tile(middle..end)]),
                false => WorkItem(vec![tile(start..end)]),
            }
        };
        return (0..count).map(item).collect();
    }
    // As many whole images as fit, or, where one is too large or the threads lack work, bands of rows.
    let fitting = scratch_bytes / (row_bytes * problem.oh);
    if fitting >= least && problem.n >= least * threads {
        let chunk = problem.n.div_ceil(threads);
        let count = chunk.div_ceil(chunk.div_ceil(fitting)).next_multiple_of(least);
        let tile = |image| Tile { image, rows: 0..problem.oh, cols: 0..problem.ow };
        let images = (0..problem.n).step_by(count).map(|first| first..(first + count).min(problem.n));
        return images.map(|images| WorkItem(images.map(tile).collect())).collect();
    }
    let sets = problem.n.div_ceil(least);
    let mut rows = (scratch_bytes / (row_bytes * least)).clamp(1, problem.oh);
    if sets < 2 * threads {
        rows = rows.min(problem.oh.div_ceil((2 * threads).div_ceil(sets))).max(1);
    }
    let units = problem.oh.div_ceil(at_once);
    let bands = units.div_ceil((rows / at_once).max(1));
    let item = |i: usize| {
        let (first, band) = (i / bands * least, i % bands);
        let Range { start, end } = threads::chunk(band, bands, units);
        let rows = start * at_once..(end * at_once).min(problem.oh);
        let images = first..(first + least).min(problem.n);
        WorkItem(images.map(|image| Tile { image, rows: rows.clone(), cols: 0..problem.ow }).collect())
    };
    (0..sets * bands).map(item).collect()
}
