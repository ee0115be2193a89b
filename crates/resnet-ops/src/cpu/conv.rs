//! Convolution over a whole batch: shares of items, each packed into a scratch, gathered, and passed on while hot.

use std::ops::Range;

use candle_core::{Device, Result};

use super::buffer::{Buffer, Growing, Shared};
use super::claims::Claims;
use super::element::Element;
use super::gather::{Gather, Outer};
use super::geometry::{self, ConvShape, LANES, Panels, Phase, Run, Tap, Window};
use super::isa::{Arithmetic, Isa, launch_in, launch_pairs};
use super::items::{Item, Part, items, merged};
use super::pack::{Interleave, Pack, Source, pack};
use super::threads;
use super::weights::{Direction, GradientLayout, Packed};
use super::winograd::{self, Transformed};
use crate::memory;

/// Rows of packed weights that one pass over the pixels uses, times the vectors of a row.
pub(crate) const BLOCK_ROWS: usize = 1536;

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
    Direct(Shared<f32>),
    Scratch,
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

/// How a convolution reads its input: the window of some output rows and columns, and the step between output rows.
struct InputReading {
    /// Scratch rows, and scratch columns, from one output row or column to the next.
    steps: (usize, usize),
    span: (usize, usize),
}

impl InputReading {
    fn new(shape: &ConvShape) -> Self {
        // A 1×1 kernel reads every stride-th pixel only: the others are not copied.
        let steps = if shape.single() { (1, 1) } else { shape.config.stride };
        let span = |kernel: usize, dilation: usize| (kernel - 1) * dilation + 1;
        Self { steps, span: (span(shape.kh, shape.config.dilation.0), span(shape.kw, shape.config.dilation.1)) }
    }
    fn check(&self, shape: &ConvShape, panels: &Panels) -> Result<()> {
        let cols = if shape.is_row() { 1 } else { self.cols(shape.ow) };
        check_scratch(self.span.0, cols, panels)
    }
    /// Columns of the scratch of that many output columns.
    fn cols(&self, cols: usize) -> usize {
        ((cols - 1) * self.steps.1 + self.span.1).next_multiple_of(self.steps.1)
    }
    fn window(&self, shape: &ConvShape, part: &Part, (rows, cols): (usize, usize)) -> Window {
        let (stride, padding) = (shape.config.stride, shape.config.padding);
        Window {
            row: (part.rows.start * stride.0) as isize - padding.0 as isize,
            col: (part.cols.start * stride.1) as isize - padding.1 as isize,
            rows: (rows - 1) * self.steps.0 + self.span.0,
            cols: self.cols(cols),
            row_step: if shape.single() { stride.0 } else { 1 },
            col_step: if shape.single() { stride.1 } else { 1 },
            split: self.steps.1,
            pixel: LANES,
        }
    }
}

/// Refuses a convolution whose windows of one output row do not fit into the scratches of all threads.
fn check_scratch(rows: usize, cols: usize, panels: &Panels) -> Result<()> {
    let sizes = [4 * LANES, panels.count(), rows, cols, threads::count()];
    let bytes = sizes.into_iter().map(|size| size as u128).product();
    memory::check(format_args!("conv2d: a window of {rows} rows and {cols} columns"), bytes, &Device::Cpu)
}

/// Units of scratch that one output row (or pixel of a long row) takes.
fn row_units(shape: &ConvShape, cols: usize, steps: usize, panels: &Panels) -> usize {
    let pixels = if shape.is_row() { 1 } else { cols * steps };
    LANES * panels.count() * pixels
}

/// Where an item's results are computed.
struct Placement {
    /// Flat pixels of each part, in the map.
    ranges: Vec<Range<usize>>,
    y: *mut f32,
    /// Values from one part's results to the next's.
    step: usize,
}

impl Placement {
    fn new(target: &Target, own: &mut Growing, ranges: Vec<Range<usize>>, channels: usize) -> Self {
        let first = ranges.first().cloned().unwrap_or_default();
        let (y, pixels) = match target {
            // SAFETY: the target holds the whole map.
            Target::Direct(map) => (
                // SAFETY: the target holds the whole map, the item's pixels among it.
                unsafe { map.get().add(first.start * channels) },
                ranges.get(1).map_or(0, |second| second.start - first.start),
            ),
            Target::Scratch => (own.get(ranges.iter().map(Range::len).sum::<usize>() * channels), first.len()),
        };
        Self { ranges, y, step: pixels * channels }
    }

    /// Hands the results on.
    ///
    /// # Safety
    /// They must have been computed.
    unsafe fn pass_on(self, isa: Isa, epilogue: &mut impl Epilogue) {
        for (first, range) in merged(&self.ranges) {
            // SAFETY: parts that follow one another in the map do so in the results.
            unsafe { epilogue.pixels(isa, range, self.y.add(first * self.step)) };
        }
    }
}

/// Parts of one size, as (first, count, rows, cols): all, or all but the last.
fn alike(parts: &[Part]) -> Vec<(usize, usize, usize, usize)> {
    let mut groups: Vec<(usize, usize, usize, usize)> = Vec::with_capacity(2);
    for (i, part) in parts.iter().enumerate() {
        let (rows, cols) = (part.rows.len(), part.cols.len());
        match groups.last_mut() {
            Some(group) if (group.2, group.3) == (rows, cols) => group.1 += 1,
            _ => groups.push((i, 1, rows, cols)),
        }
    }
    groups
}

/// Whether a training step computes this convolution, and its data gradient, by Winograd's algorithm: where every
/// thread has enough squares for its passes over the weights. Measured with AVX2 alone.
fn winograd_wins(isa: Isa, arithmetic: Arithmetic, shape: &ConvShape) -> bool {
    let squares = winograd::squares(shape.n, (shape.oh, shape.ow));
    isa == Isa::Avx2 && winograd::applies(shape, arithmetic) && squares >= 32 * threads::count()
}

/// Weights of a convolution that gathers, as its algorithm reads them.
pub(crate) struct GatherWeights {
    packed: Packed,
    transformed: Option<Transformed>,
}

impl GatherWeights {
    /// Whether it is computed in squares.
    fn squares(&self) -> bool {
        self.transformed.is_some()
    }

    fn new(isa: Isa, arithmetic: Arithmetic, packed: Packed, shape: &ConvShape) -> Self {
        let transformed = winograd_wins(isa, arithmetic, shape).then(|| Transformed::new(isa, &packed));
        Self { packed, transformed }
    }
}

/// Packed weights for a forward convolution.
pub(crate) fn pack_forward(isa: Isa, arithmetic: Arithmetic, weight: &[f32], shape: &ConvShape) -> GatherWeights {
    let vectors = tile_vectors(isa, shape.group_outputs(), shape.flattened().ow);
    let taps = geometry::forward_taps(shape);
    let packed = Packed::new((isa, arithmetic), weight, shape, &taps, vectors, Direction::Forward);
    GatherWeights::new(isa, arithmetic, packed, shape)
}

/// Computes what `gather` says; its panels are `panel_len` units long.
///
/// # Safety
/// As for the kernel.
unsafe fn compute(
    isa: Isa,
    arithmetic: Arithmetic,
    gather: Gather,
    weights: &GatherWeights,
    panel_len: usize,
    scratch: &mut winograd::Scratch,
) {
    // SAFETY: as the caller promises.
    unsafe {
        match &weights.transformed {
            Some(transformed) => {
                let squares = 0..winograd::squares(gather.images, (gather.rows, gather.cols));
                winograd::convolve(isa, &gather, panel_len, transformed, scratch, squares);
            }
            None => launch_in(isa, arithmetic, gather),
        }
    }
}

/// The forward convolution; returns the epilogues of the items, in order.
#[allow(clippy::too_many_arguments)] // each is a different thing
pub(crate) fn forward<E: Element, P: Epilogue>(
    isa: Isa,
    arithmetic: Arithmetic,
    shape: &ConvShape,
    source: Reading<E>,
    weights: &GatherWeights,
    bias: Option<&[f32]>,
    target: &Target,
    epilogue: impl Fn() -> P + Sync,
) -> Result<Vec<P>> {
    let shape = &shape.flattened();
    let reading = InputReading::new(shape);
    let groups = shape.config.groups;
    let panels = Panels { groups, channels: shape.group_inputs(), values: arithmetic.values() };
    reading.check(shape, &panels)?;
    let units = row_units(shape, reading.cols(shape.ow), reading.steps.0, &panels);
    let items = items(shape, units, weights.squares(), false);
    let taps = geometry::forward_taps(shape);
    let packed = &weights.packed;
    let bias = bias.map(|bias| padded(bias, packed));
    let image = (shape.h, shape.w, shape.c);
    let claims = Claims::new(items.len());
    threads::shares(items.len(), |share| {
        let source = source.source();
        let (mut scratch, mut own) = (Growing::default(), Growing::default());
        let mut squares = winograd::Scratch::default();
        let mut blocks = Blocks::new(&taps, panels, BLOCK_ROWS / packed.vectors);
        let mut run = |i: usize| {
            let (item, mut epilogue) = (&items[i], epilogue());
            let Item(parts) = item;
            let window = reading.window(shape, &parts[0], item.size());
            let x_image = panels.count() * window.panel_len();
            let windows = parts.iter().map(|part| (part.image, reading.window(shape, part, item.size())));
            let x = pack_parts((isa, arithmetic), source, image, windows, panels, &mut scratch);
            let ranges = parts.iter().map(|part| shape.pixels(part.image, &part.rows, &part.cols)).collect();
            let place = Placement::new(target, &mut own, ranges, shape.o);
            for (first, images, rows, cols) in alike(parts) {
                // Without overlap between rows, all pixels of a part lie in one row of the scratch.
                let (rows, cols) = if shape.single() { (1, rows * cols) } else { (rows, cols) };
                // SAFETY: scratch and target were sized for this item; shares write disjoint ranges.
                unsafe {
                    let y = place.y.add(first * place.step);
                    let gather = Gather {
                        images,
                        x_image,
                        x_row: reading.steps.0 * window.row_len(),
                        x_group: panels.of_group() * window.panel_len(),
                        groups,
                        bias: bias.as_ref().map_or(std::ptr::null(), |bias| bias.as_ptr()),
                        y_pixel: shape.o,
                        y_row: shape.ow * shape.o,
                        y_image: place.step,
                        y_group: shape.group_outputs(),
                        rows,
                        cols,
                        ..Gather::pixel(x.add(first * x_image), blocks.of(&window), packed, y)
                    };
                    compute(isa, arithmetic, gather, weights, window.panel_len(), &mut squares);
                }
            }
            // SAFETY: the results are there.
            unsafe { place.pass_on(isa, &mut epilogue) };
            claims.put(i, epilogue);
        };
        claims.begin(&share);
        share.filter(|&i| claims.take(i)).for_each(&mut run);
        std::iter::from_fn(|| claims.left()).for_each(run);
    });
    Ok(claims.results())
}

/// Packs a window of each of some images (h, w, channels) into scratches of one size that follow one another.
fn pack_parts<E: Element>(
    (isa, arithmetic): (Isa, Arithmetic),
    source: &Source<E>,
    image: (usize, usize, usize),
    windows: impl ExactSizeIterator<Item = (usize, Window)> + Clone,
    panels: Panels,
    scratch: &mut Growing,
) -> *mut f32 {
    let step = windows.clone().next().map_or(0, |(_, window)| panels.count() * window.panel_len());
    let start = scratch.get(windows.len() * step);
    for (i, (n, window)) in windows.enumerate() {
        // SAFETY: the source holds every image, the scratch all windows.
        unsafe {
            let (source, scratch) = (source.at(n * image.0 * image.1 * image.2), start.add(i * step));
            pack(isa, arithmetic, Pack { source, image, window, panels, scratch });
        }
    }
    start
}

/// A bias with zeros behind it, so that whole tiles can be read. Groups follow each other without padding.
fn padded(bias: &[f32], weights: &Packed) -> Vec<f32> {
    let mut padded = bias.to_vec();
    padded.resize(bias.len() + weights.width(), 0.);
    padded
}

/// The runs of a convolution in blocks, for the last window that was asked for: items differ at most at the edges.
struct Blocks<'a> {
    taps: &'a [Tap],
    panels: Panels,
    limit: usize,
    made: Option<(Window, Vec<Vec<Run>>)>,
}

impl<'a> Blocks<'a> {
    fn new(taps: &'a [Tap], panels: Panels, limit: usize) -> Self {
        Self { taps, panels, limit, made: None }
    }
    fn of(&mut self, window: &Window) -> &[Vec<Run>] {
        // Where the window lies does not matter.
        let window = Window { row: 0, col: 0, ..*window };
        if self.made.as_ref().is_none_or(|(made, _)| *made != window) {
            let runs = geometry::runs(self.taps, &window, &self.panels);
            self.made = Some((window, geometry::blocks(&runs, self.limit)));
        }
        self.made.as_ref().map_or(&[], |(_, blocks)| blocks)
    }
}

/// What a backward pass needs beside the gradients.
pub(crate) struct BackwardWeights {
    phases: Vec<(Phase, GatherWeights)>,
    /// Whether they give the gradient of every input pixel.
    whole: bool,
}

impl BackwardWeights {
    /// Whether the data gradient is computed in squares.
    fn squares(&self) -> bool {
        self.phases.iter().any(|(_, weights)| weights.squares())
    }
}

/// Packed weights for the data gradient.
pub(crate) fn pack_backward(isa: Isa, arithmetic: Arithmetic, weight: &[f32], shape: &ConvShape) -> BackwardWeights {
    let cols = shape.flattened().w.div_ceil(shape.config.stride.1);
    let vectors = tile_vectors(isa, shape.group_inputs(), cols);
    let (phases, whole) = geometry::backward_phases(shape);
    let pack = |phase: Phase| {
        let packed = Packed::new((isa, arithmetic), weight, shape, &phase.taps, vectors, Direction::Backward);
        (phase, GatherWeights::new(isa, arithmetic, packed, shape))
    };
    BackwardWeights { phases: phases.into_iter().map(pack).collect(), whole }
}

/// How the data gradient reads the output's gradient.
struct GradientReading {
    /// Least and largest shift of rows and columns.
    rows: (isize, isize),
    cols: (isize, isize),
}

impl GradientReading {
    fn new(shape: &ConvShape) -> Self {
        let crate::ConvConfig { stride, padding, dilation, .. } = shape.config;
        Self {
            rows: geometry::reach(shape.kh, stride.0, padding.0, dilation.0),
            cols: geometry::reach(shape.kw, stride.1, padding.1, dilation.1),
        }
    }
    fn check(&self, shape: &ConvShape, panels: &Panels) -> Result<()> {
        let cols = if shape.is_row() { 1 } else { self.columns(shape, shape.ow) };
        check_scratch(1 + (self.rows.1 - self.rows.0) as usize, cols, panels)
    }
    /// Columns of the scratch of a part of that many output columns.
    fn columns(&self, shape: &ConvShape, cols: usize) -> usize {
        // Every phase's output columns, shifted.
        cols.max(if cols == shape.ow { shape.w.div_ceil(shape.config.stride.1) } else { 0 })
            + (self.cols.1 - self.cols.0) as usize
    }
    fn window(&self, shape: &ConvShape, part: &Part, (rows, cols): (usize, usize)) -> Window {
        // The last band may have further input rows behind the last output row.
        let rows = rows.max(input_rows(shape, part).len().div_ceil(shape.config.stride.0));
        Window {
            row: part.rows.start as isize + self.rows.0,
            col: part.cols.start as isize + self.cols.0,
            rows: rows + (self.rows.1 - self.rows.0) as usize,
            cols: self.columns(shape, cols),
            row_step: 1,
            col_step: 1,
            split: 1,
            pixel: LANES,
        }
    }
    /// Offset of a part's first own pixel in its scratch.
    fn interior(&self, window: &Window) -> usize {
        (-self.rows.0) as usize * window.row_len() + (-self.cols.0) as usize * LANES
    }
}

/// The input rows whose gradient a part computes: from its first output row's to the next part's; the last takes all.
fn input_rows(shape: &ConvShape, part: &Part) -> Range<usize> {
    let stride = shape.config.stride.0;
    let end = if part.rows.end == shape.oh { shape.h } else { (part.rows.end * stride).min(shape.h) };
    (part.rows.start * stride).min(shape.h)..end
}

/// Both gradients of a convolution. `dx` is computed only with `weights`; `dy` and `x` are read once, together.
/// Returns the weight gradient in candle's order and the epilogues of the items.
#[allow(clippy::too_many_arguments)] // each is a different thing
pub(crate) fn backward<E: Element, P: Epilogue>(
    isa: Isa,
    arithmetic: Arithmetic,
    shape: &ConvShape,
    x: Reading<E>,
    dy: Reading<E>,
    weights: Option<&BackwardWeights>,
    wants_dw: bool,
    target: &Target,
    epilogue: impl Fn() -> P + Sync,
) -> Result<(Option<Vec<f32>>, Vec<P>)> {
    let shape = &shape.flattened();
    let (reading, gradients) = (InputReading::new(shape), GradientReading::new(shape));
    let (groups, values) = (shape.config.groups, arithmetic.values());
    let x_panels = Panels { groups, channels: shape.group_inputs(), values };
    let dy_panels = Panels { groups, channels: shape.group_outputs(), values };
    reading.check(shape, &x_panels)?;
    gradients.check(shape, &dy_panels)?;
    let units = row_units(shape, reading.cols(shape.ow), reading.steps.0, &x_panels)
        + row_units(shape, gradients.columns(shape, shape.ow), 1, &dy_panels);
    // Pairs of pixels take a second scratch for both maps.
    let items = items(shape, values * units, weights.is_some_and(BackwardWeights::squares), values == 2);
    let layout = GradientLayout::new(shape);
    let taps = geometry::forward_taps(shape);
    let claims = Claims::new(items.len());
    let results = threads::shares(items.len(), |share| {
        let (x, dy) = (x.source(), dy.source());
        let mut own = Growing::default();
        let mut scratches = Scratches::default();
        let mut dw = wants_dw.then(|| Buffer::<f32>::new(layout.len()));
        let mut accumulate = false;
        // All runs in one block, over panels of single channels: pairs hold one channel of two pixels.
        let mut x_runs = Blocks::new(&taps, Panels { values: 1, ..x_panels }, usize::MAX);
        let mut phases: Vec<_> = weights.map_or(Vec::new(), |weights| {
            let phases = weights.phases.iter();
            phases.map(|(p, w)| (p, w, Blocks::new(&p.taps, dy_panels, BLOCK_ROWS / w.packed.vectors))).collect()
        });
        // The sums of weight gradients are the share's; data gradients may be another's.
        let mut run = |i: usize, own_dw: bool, wants_dx: bool| {
            let item = &items[i];
            let Item(parts) = item;
            let dy_window = gradients.window(shape, parts.last().unwrap_or(&parts[0]), item.size());
            let dy_image = dy_panels.count() * dy_window.panel_len();
            let windows = parts.iter().map(|part| {
                (part.image, Window { rows: dy_window.rows, ..gradients.window(shape, part, item.size()) })
            });
            let image = (shape.oh, shape.ow, shape.o);
            let g = pack_parts((isa, arithmetic), dy, image, windows, dy_panels, &mut scratches.dy);
            if let Some(dw) = dw.as_mut().filter(|_| own_dw) {
                let x_window = reading.window(shape, &parts[0], item.size());
                let x_image = x_panels.count() * x_window.panel_len();
                let windows = parts.iter().map(|part| (part.image, reading.window(shape, part, item.size())));
                let image = (shape.h, shape.w, shape.c);
                let input = pack_parts((isa, arithmetic), x, image, windows, x_panels, &mut scratches.x);
                let (rows, cols) = item.size();
                // SAFETY: the scratches hold all parts; zeros stand where the last is smaller.
                unsafe {
                    let (input, g, images) = match arithmetic {
                        Arithmetic::Single => (input.cast_const(), g.cast_const(), parts.len()),
                        Arithmetic::Pairs => {
                            let a = interleave(
                                input,
                                parts.len(),
                                x_panels.count(),
                                x_window.panel_len(),
                                &mut scratches.x_pairs,
                            );
                            let b = interleave(
                                g,
                                parts.len(),
                                dy_panels.count(),
                                dy_window.panel_len(),
                                &mut scratches.dy_pairs,
                            );
                            (a, b, parts.len().div_ceil(2))
                        }
                    };
                    let outer = Outer {
                        x: input,
                        x_row: reading.steps.0 * x_window.row_len(),
                        x_image: values * x_image,
                        x_group: values * x_panels.of_group() * x_window.panel_len(),
                        runs: x_runs.of(&x_window).first().map_or(&[], Vec::as_slice),
                        dy: g.add(gradients.interior(&dy_window)),
                        dy_row: dy_window.row_len(),
                        dy_image: values * dy_image,
                        dy_panel: dy_window.panel_len(),
                        dy_group: values * dy_panels.of_group() * dy_window.panel_len(),
                        groups,
                        outputs: shape.group_outputs(),
                        vectors: tile_vectors(isa, shape.group_outputs(), usize::MAX),
                        images,
                        rows,
                        cols,
                        dw: dw.as_mut_slice().as_mut_ptr(),
                        dw_row: layout.row(),
                        accumulate,
                    };
                    launch_in(isa, arithmetic, outer);
                }
                accumulate = true;
            }
            if !wants_dx {
                return;
            }
            let mut epilogue = epilogue();
            let ranges = parts.iter().map(|part| shape.input_pixels(part.image, &input_rows(shape, part), &part.cols));
            let place = Placement::new(target, &mut own, ranges.collect(), shape.c);
            if weights.is_some_and(|weights| !weights.whole) {
                // Some input pixels are reached by no tap: their gradient is zero.
                for (i, range) in place.ranges.iter().enumerate() {
                    // SAFETY: the results of the part.
                    unsafe { std::slice::from_raw_parts_mut(place.y.add(i * place.step), range.len() * shape.c) }
                        .fill(0.);
                }
            }
            for (phase, weights, blocks) in &mut phases {
                let (packed, blocks) = (&weights.packed, blocks.of(&dy_window));
                for (first, images, _, cols) in alike(parts) {
                    let stride = shape.config.stride;
                    let rows = input_rows(shape, &parts[first]).len();
                    let cols = if cols == shape.ow { shape.w } else { cols };
                    // SAFETY: scratch and target were sized for this item; shares write disjoint ranges.
                    unsafe {
                        let y = place.y.add(first * place.step + (phase.first.0 * shape.w + phase.first.1) * shape.c);
                        let gather = Gather {
                            images,
                            x_image: dy_image,
                            x_row: dy_window.row_len(),
                            x_group: dy_panels.of_group() * dy_window.panel_len(),
                            groups,
                            y_pixel: stride.1 * shape.c,
                            y_row: stride.0 * shape.w * shape.c,
                            y_image: place.step,
                            y_group: shape.group_inputs(),
                            rows: rows.saturating_sub(phase.first.0).div_ceil(stride.0),
                            cols: (cols - phase.first.1).div_ceil(stride.1),
                            ..Gather::pixel(g.add(first * dy_image), blocks, packed, y)
                        };
                        let panel_len = dy_window.panel_len();
                        compute(isa, arithmetic, gather, weights, panel_len, &mut scratches.squares);
                    }
                }
            }
            // SAFETY: the results are there.
            unsafe { place.pass_on(isa, &mut epilogue) };
            claims.put(i, epilogue);
        };
        claims.begin(&share);
        for i in share {
            run(i, true, weights.is_some() && claims.take(i));
        }
        if weights.is_some() {
            std::iter::from_fn(|| claims.left()).for_each(|i| run(i, false, true));
        }
        dw
    });
    let parts: Vec<Buffer<f32>> = results.into_iter().flatten().collect();
    let slices: Vec<&[f32]> = parts.iter().map(Buffer::as_slice).collect();
    Ok((wants_dw.then(|| layout.unpack(isa, &slices)), claims.results()))
}

/// The scratches of a share of the backward pass.
#[derive(Default)]
struct Scratches {
    x: Growing,
    dy: Growing,
    x_pairs: Growing,
    dy_pairs: Growing,
    squares: winograd::Scratch,
}

/// Pairs of parts as one scratch each, twice as long.
///
/// # Safety
/// `scratch` must hold `parts` parts of `panels` panels.
unsafe fn interleave(
    scratch: *const f32,
    parts: usize,
    panels: usize,
    panel_len: usize,
    out: &mut Growing,
) -> *const f32 {
    let image = panels * panel_len;
    let pairs = out.get(parts.div_ceil(2) * 2 * image);
    for i in (0..parts).step_by(2) {
        // SAFETY: as the caller promises.
        unsafe {
            let b = if i + 1 < parts { scratch.add((i + 1) * image) } else { std::ptr::null() };
            launch_pairs(Interleave { a: scratch.add(i * image), b, out: pairs.add(i * image), panels, panel_len });
        }
    }
    pairs
}
