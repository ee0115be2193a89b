//! Convolution over a whole batch: shares of items, each packed into a scratch, gathered, and passed on while hot.

use std::ops::Range;

use super::buffer::Buffer;
use super::element::Element;
use super::gather::{Gather, Outer};
use super::geometry::{self, ConvShape, Phase, Window, pixel_len};
use super::isa::{Isa, launch};
use super::pack::{Pack, Source};
use super::threads;
use super::weights::{Packed, gradient_len, unpack_gradient};

/// Bytes of one item's input scratch: well within a second-level cache, with room for weights.
const SCRATCH_BYTES: usize = 256 << 10;
/// Rows of packed weights that one pass over the pixels uses, times the vectors of a row.
const BLOCK_ROWS: usize = 768;
/// Tiles read whole vectors beyond the last channel.
const SLACK: usize = 64;

/// Vectors of output channels that a tile is wide.
pub(crate) fn tile_vectors(isa: Isa, outputs: usize, cols: usize) -> usize {
    if isa != Isa::Avx512 || outputs <= 16 {
        1
    } else if cols <= 7 && outputs >= 64 {
        4
    } else {
        2
    }
}

/// What happens to a part of the result, right after it was computed.
pub(crate) trait Epilogue: Send {
    /// Pixels `range` of the flat (N · H · W) map, at `values`.
    ///
    /// # Safety
    /// `values` holds them, channel by channel.
    unsafe fn pixels(&mut self, isa: Isa, range: Range<usize>, values: *mut f32);
}

/// Where a result is computed: in place if it is stored as f32 and new, else in the item's own scratch.
pub(crate) enum Target {
    Direct(super::buffer::Shared<f32>),
    Scratch,
}

/// One piece of work: some output rows of one image, or some pixels of a pointwise convolution.
#[derive(Clone)]
enum Item {
    Rows { image: usize, rows: Range<usize> },
    Pixels(Range<usize>),
}

fn flat(shape: &ConvShape) -> bool {
    shape.is_pointwise() && shape.config.stride == (1, 1)
}

/// The items of a convolution; `bytes` counts the scratch of one output row (or pixel).
fn items(shape: &ConvShape, row_bytes: usize, least_pixels: usize) -> Vec<Item> {
    let threads = threads::count();
    if flat(shape) {
        let total = shape.n * shape.oh * shape.ow;
        let size = (SCRATCH_BYTES / row_bytes.max(1)).max(least_pixels).max(14) / 14 * 14;
        let size = size.min(total.div_ceil(threads).div_ceil(14) * 14).max(14);
        return (0..total.div_ceil(size)).map(|i| Item::Pixels(i * size..((i + 1) * size).min(total))).collect();
    }
    let mut rows = (SCRATCH_BYTES / row_bytes.max(1)).clamp(1, shape.oh);
    if shape.n < 2 * threads {
        rows = rows.min(shape.oh.div_ceil((2 * threads).div_ceil(shape.n))).max(1);
    }
    let bands = shape.oh.div_ceil(rows);
    let band = |i: usize| i * shape.oh / bands..(i + 1) * shape.oh / bands;
    (0..shape.n * bands).map(|i| Item::Rows { image: i / bands, rows: band(i % bands) }).collect()
}

/// How the forward convolution reads its input: the window of some output rows, and the step between output pixels.
struct InputReading {
    steps: (usize, usize),
    pixel: usize,
    cols: usize,
}

impl InputReading {
    fn new(shape: &ConvShape) -> Self {
        let single = (shape.kh, shape.kw) == (1, 1);
        // A 1×1 kernel reads every stride-th pixel only: the others are not copied.
        let steps = if single { (1, 1) } else { shape.config.stride };
        let span = (shape.kw - 1) * shape.config.dilation.1 + 1;
        let cols = (shape.ow - 1) * steps.1 + span;
        Self { steps, pixel: pixel_len(shape.c, steps.1, single), cols }
    }
    fn rows(&self, shape: &ConvShape, rows: usize) -> usize {
        (rows - 1) * self.steps.0 + (shape.kh - 1) * shape.config.dilation.0 + 1
    }
    fn window(&self, shape: &ConvShape, rows: &Range<usize>) -> Window {
        let (stride, padding) = (shape.config.stride, shape.config.padding);
        let single = (shape.kh, shape.kw) == (1, 1);
        Window {
            row: (rows.start * stride.0) as isize - padding.0 as isize,
            col: -(padding.1 as isize),
            rows: self.rows(shape, rows.len()),
            cols: self.cols,
            row_step: if single { stride.0 } else { 1 },
            col_step: if single { stride.1 } else { 1 },
            pixel: self.pixel,
        }
    }
}

impl<E: Element> Source<'_, E> {
    /// The same source, `offset` values further on.
    pub(crate) fn at(&self, offset: usize) -> Self {
        // SAFETY: callers stay within the map.
        unsafe {
            match *self {
                Source::Plain { x } => Source::Plain { x: x.add(offset) },
                Source::Relu { x } => Source::Relu { x: x.add(offset) },
                Source::Affine { x, scale, shift, relu } => Source::Affine { x: x.add(offset), scale, shift, relu },
                Source::Gradient { g, x, a, b, c } => Source::Gradient { g: g.add(offset), x: x.add(offset), a, b, c },
            }
        }
    }
}

/// Packs image `image` of (n, h, w, c).
unsafe fn pack<E: Element>(
    isa: Isa,
    source: &Source<E>,
    image: usize,
    size: (usize, usize, usize),
    window: Window,
    scratch: *mut f32,
) {
    let source = source.at(image * size.0 * size.1 * size.2);
    // SAFETY: the source holds the image, the scratch the window.
    unsafe { launch(isa, Pack { source, image: size, window, scratch }) }
}

/// A source is shared by threads that only read it.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a, E>(pub Source<'a, E>);
// SAFETY: read only.
unsafe impl<E> Sync for Reading<'_, E> {}
// SAFETY: read only.
unsafe impl<E> Send for Reading<'_, E> {}

impl<'a, E> Reading<'a, E> {
    pub(crate) fn source(&self) -> &Source<'a, E> {
        &self.0
    }
}

/// Packed weights for a forward convolution.
pub(crate) fn pack_forward(isa: Isa, weight: &[f32], shape: &ConvShape) -> Packed {
    let cols = if flat(shape) { usize::MAX } else { shape.ow };
    Packed::forward(weight, shape, &geometry::forward_taps(shape), tile_vectors(isa, shape.group_outputs(), cols))
}

/// The forward convolution; returns the epilogues of the shares, in order.
pub(crate) fn forward<E: Element, P: Epilogue>(
    isa: Isa,
    shape: &ConvShape,
    source: Reading<E>,
    weights: &Packed,
    bias: Option<&[f32]>,
    target: &Target,
    epilogue: impl Fn() -> P + Sync,
) -> Vec<P> {
    let reading = InputReading::new(shape);
    let groups = shape.config.groups;
    let row_bytes = if flat(shape) { 4 * reading.pixel } else { 4 * reading.cols * reading.pixel * reading.steps.0 };
    let items = items(shape, row_bytes, 56);
    let taps = geometry::forward_taps(shape);
    let row_len = reading.cols * reading.pixel;
    let runs = geometry::runs(&taps, row_len, reading.pixel, shape.group_inputs());
    let blocks = geometry::blocks(&runs, BLOCK_ROWS / weights.vectors);
    let bias = bias.map(|bias| padded(bias, weights));
    threads::shares(items.len(), |share| {
        let (source, mut epilogue) = (source.source(), epilogue());
        let (mut scratch, mut own) = (Growing::default(), Growing::default());
        for item in &items[share] {
            let (range, window, image, size) = match item {
                Item::Pixels(range) => {
                    let window = Window {
                        row: 0,
                        col: range.start as isize,
                        rows: 1,
                        cols: range.len(),
                        row_step: 1,
                        col_step: 1,
                        pixel: reading.pixel,
                    };
                    (range.clone(), window, 0, (1, shape.n * shape.h * shape.w, shape.c))
                }
                Item::Rows { image, rows } => {
                    let first = (image * shape.oh + rows.start) * shape.ow;
                    let range = first..first + rows.len() * shape.ow;
                    (range, reading.window(shape, rows), *image, (shape.h, shape.w, shape.c))
                }
            };
            let x = scratch.get(window.len() + SLACK);
            let y = match target {
                // SAFETY: the target holds the whole map.
                Target::Direct(y) => unsafe { y.get().add(range.start * shape.o) },
                Target::Scratch => own.get(range.len() * shape.o),
            };
            // Without overlap between rows, all pixels lie in one row of the scratch.
            let (rows, cols) = match item {
                Item::Pixels(range) => (1, range.len()),
                Item::Rows { rows, .. } if (shape.kh, shape.kw) == (1, 1) => (1, rows.len() * shape.ow),
                Item::Rows { rows, .. } => (rows.len(), shape.ow),
            };
            let gather = Gather {
                scratch: x,
                x_pixel: reading.steps.1 * reading.pixel,
                x_row: reading.steps.0 * row_len,
                x_group: shape.group_inputs(),
                blocks: &blocks,
                weights,
                groups,
                bias: bias.as_ref().map_or(std::ptr::null(), |bias| bias.as_ptr()),
                y,
                y_pixel: shape.o,
                y_row: shape.ow * shape.o,
                rows,
                cols,
            };
            // SAFETY: scratch and target were sized for this item; shares write disjoint ranges.
            unsafe {
                pack(isa, source, image, size, window, x);
                launch(isa, gather);
                epilogue.pixels(isa, range, y);
            }
        }
        epilogue
    })
}

/// A bias with zeros behind it, so that whole tiles can be read. Groups follow each other without padding.
fn padded(bias: &[f32], weights: &Packed) -> Vec<f32> {
    let mut padded = bias.to_vec();
    padded.resize(bias.len() + weights.width(), 0.);
    padded
}

/// A scratch that grows to the largest item.
#[derive(Default)]
struct Growing(Option<Buffer<f32>>);

impl Growing {
    fn get(&mut self, len: usize) -> *mut f32 {
        if self.0.as_ref().is_none_or(|buffer| buffer.len() < len) {
            self.0 = Some(Buffer::new(len));
        }
        self.0.as_mut().map_or(std::ptr::null_mut(), |buffer| buffer.as_mut_slice().as_mut_ptr())
    }
}

/// What a backward pass needs beside the gradients.
pub(crate) struct BackwardWeights {
    phases: Vec<(Phase, Packed)>,
}

/// Packed weights for the data gradient.
pub(crate) fn pack_backward(isa: Isa, weight: &[f32], shape: &ConvShape) -> BackwardWeights {
    let cols = if flat(shape) { usize::MAX } else { shape.w.div_ceil(shape.config.stride.1) };
    let vectors = tile_vectors(isa, shape.group_inputs(), cols);
    let phases = geometry::backward_phases(shape).into_iter();
    let phases = phases.map(|phase| (Packed::backward(weight, shape, &phase.taps, vectors), phase));
    BackwardWeights { phases: phases.map(|(packed, phase)| (phase, packed)).collect() }
}

/// Both gradients of a convolution. `dx` is computed only with `weights`; `dy` and `x` are read once, together.
/// Returns the weight gradient in candle's order and the epilogues of the shares.
#[allow(clippy::too_many_arguments)] // each is a different thing
pub(crate) fn backward<E: Element, P: Epilogue>(
    isa: Isa,
    shape: &ConvShape,
    x: Reading<E>,
    dy: Reading<E>,
    weights: Option<&BackwardWeights>,
    wants_dw: bool,
    target: &Target,
    epilogue: impl Fn() -> P + Sync,
) -> (Option<Vec<f32>>, Vec<P>) {
    let reading = InputReading::new(shape);
    let groups = shape.config.groups;
    let (stride, padding, dilation) = (shape.config.stride, shape.config.padding, shape.config.dilation);
    let (low_r, high_r) = geometry::reach(shape.kh, stride.0, padding.0, dilation.0);
    let (low_c, high_c) = geometry::reach(shape.kw, stride.1, padding.1, dilation.1);
    let single = (shape.kh, shape.kw) == (1, 1);
    let dy_pixel = pixel_len(shape.o, 1, single);
    // Columns: every phase's output columns, shifted.
    let dy_cols = shape.w.div_ceil(stride.1).max(shape.ow) + (high_c - low_c) as usize;
    let dy_row_len = dy_cols * dy_pixel;
    let x_row_len = reading.cols * reading.pixel;
    let row_bytes =
        if flat(shape) { 4 * (reading.pixel + dy_pixel) } else { 4 * (x_row_len * reading.steps.0 + dy_row_len) };
    let items = items(shape, row_bytes, 112);
    let vectors = tile_vectors(isa, shape.group_outputs(), usize::MAX);
    let dw_row = shape.group_outputs().next_multiple_of(16 * vectors);
    let x_runs = geometry::runs(&geometry::forward_taps(shape), x_row_len, reading.pixel, shape.group_inputs());
    let prepared: Vec<(&Phase, &Packed, Vec<Vec<geometry::Run>>)> = weights.map_or(Vec::new(), |weights| {
        let runs = |phase: &Phase| geometry::runs(&phase.taps, dy_row_len, dy_pixel, shape.group_outputs());
        let phases = weights.phases.iter();
        phases
            .map(|(phase, packed)| (phase, packed, geometry::blocks(&runs(phase), BLOCK_ROWS / packed.vectors)))
            .collect()
    });
    let results = threads::shares(items.len(), |share| {
        let (x, dy, mut epilogue) = (x.source(), dy.source(), epilogue());
        let (mut x_scratch, mut dy_scratch, mut own) = (Growing::default(), Growing::default(), Growing::default());
        let mut dw = wants_dw.then(|| Buffer::<f32>::zeroed(gradient_len(shape, dw_row)));
        for item in &items[share] {
            let work = BackwardItem::new(shape, &reading, item, (low_r, high_r, low_c), dy_cols, dy_pixel);
            let g = dy_scratch.get(work.dy_window.len() + SLACK);
            // SAFETY: scratches and target are sized for this item; shares write disjoint ranges.
            unsafe {
                pack(isa, dy, work.image, work.dy_size, work.dy_window, g);
                if let Some(dw) = &mut dw {
                    let input = x_scratch.get(work.x_window.len() + SLACK);
                    pack(isa, x, work.image, work.x_size, work.x_window, input);
                    let outer = Outer {
                        x: input,
                        x_pixel: reading.steps.1 * reading.pixel,
                        x_row: reading.steps.0 * x_row_len,
                        x_group: shape.group_inputs(),
                        runs: &x_runs,
                        dy: g.add(work.interior(low_r, low_c)),
                        dy_pixel,
                        dy_row: work.dy_window.row_len(),
                        groups,
                        outputs: shape.group_outputs(),
                        vectors,
                        rows: work.rows,
                        cols: work.cols,
                        dw: dw.as_mut_slice().as_mut_ptr(),
                        dw_row,
                    };
                    launch(isa, outer);
                }
                if weights.is_none() {
                    continue;
                }
                let out = match target {
                    Target::Direct(out) => out.get().add(work.range.start * shape.c),
                    Target::Scratch => own.get(work.range.len() * shape.c),
                };
                if prepared.iter().any(|(_, packed, _)| packed.rows == 0) {
                    // Some input pixels are reached by no tap.
                    std::slice::from_raw_parts_mut(out, work.range.len() * shape.c).fill(0.);
                }
                for (phase, packed, blocks) in &prepared {
                    if packed.rows == 0 {
                        continue;
                    }
                    let (rows, cols) = match work.flat {
                        true => (1, work.cols),
                        false => (
                            work.out_rows.saturating_sub(phase.first.0).div_ceil(stride.0),
                            (shape.w - phase.first.1).div_ceil(stride.1),
                        ),
                    };
                    let gather = Gather {
                        scratch: g,
                        x_pixel: dy_pixel,
                        x_row: work.dy_window.row_len(),
                        x_group: shape.group_outputs(),
                        blocks,
                        weights: packed,
                        groups,
                        bias: std::ptr::null(),
                        y: out.add((phase.first.0 * shape.w + phase.first.1) * shape.c),
                        y_pixel: stride.1 * shape.c,
                        y_row: stride.0 * shape.w * shape.c,
                        rows,
                        cols,
                    };
                    launch(isa, gather);
                }
                epilogue.pixels(isa, work.range.clone(), out);
            }
        }
        (dw, epilogue)
    });
    let (parts, epilogues): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    let parts: Vec<Buffer<f32>> = parts.into_iter().flatten().collect();
    let slices: Vec<&[f32]> = parts.iter().map(Buffer::as_slice).collect();
    (wants_dw.then(|| unpack_gradient(&slices, shape, dw_row)), epilogues)
}

/// The windows of one item of the backward pass.
struct BackwardItem {
    image: usize,
    flat: bool,
    /// Rows and columns of the output's gradient that belong to this item.
    rows: usize,
    cols: usize,
    /// Rows of the input's gradient.
    out_rows: usize,
    /// Flat pixels of the input's gradient.
    range: Range<usize>,
    dy_window: Window,
    dy_size: (usize, usize, usize),
    x_window: Window,
    x_size: (usize, usize, usize),
}

impl BackwardItem {
    fn new(
        shape: &ConvShape,
        reading: &InputReading,
        item: &Item,
        (low_r, high_r, low_c): (isize, isize, isize),
        dy_cols: usize,
        dy_pixel: usize,
    ) -> Self {
        match item {
            Item::Pixels(range) => {
                let window = |pixel| Window {
                    row: 0,
                    col: range.start as isize,
                    rows: 1,
                    cols: range.len(),
                    row_step: 1,
                    col_step: 1,
                    pixel,
                };
                let pixels = shape.n * shape.h * shape.w;
                Self {
                    image: 0,
                    flat: true,
                    rows: 1,
                    cols: range.len(),
                    out_rows: 1,
                    range: range.clone(),
                    dy_window: window(dy_pixel),
                    dy_size: (1, pixels, shape.o),
                    x_window: window(reading.pixel),
                    x_size: (1, pixels, shape.c),
                }
            }
            Item::Rows { image, rows } => {
                let stride = shape.config.stride.0;
                // The input rows of this item: from its first output row's to the next item's; the last takes all.
                let first = (rows.start * stride).min(shape.h);
                let end = if rows.end == shape.oh { shape.h } else { (rows.end * stride).min(shape.h) };
                let out_rows = end - first;
                let reached = out_rows.div_ceil(stride).max(rows.len());
                let start = image * shape.h * shape.w;
                Self {
                    image: *image,
                    flat: false,
                    rows: rows.len(),
                    cols: shape.ow,
                    out_rows,
                    range: start + first * shape.w..start + end * shape.w,
                    dy_window: Window {
                        row: rows.start as isize + low_r,
                        col: low_c,
                        rows: reached + (high_r - low_r) as usize,
                        cols: dy_cols,
                        row_step: 1,
                        col_step: 1,
                        pixel: dy_pixel,
                    },
                    dy_size: (shape.oh, shape.ow, shape.o),
                    x_window: reading.window(shape, rows),
                    x_size: (shape.h, shape.w, shape.c),
                }
            }
        }
    }

    /// Offset of the first own pixel in the scratch of the output's gradient.
    fn interior(&self, low_r: isize, low_c: isize) -> usize {
        if self.flat {
            return 0;
        }
        (-low_r) as usize * self.dy_window.row_len() + (-low_c) as usize * self.dy_window.pixel
    }
}
