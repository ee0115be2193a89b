//! Both gradients of a convolution, from one packed copy of the output's gradient.

use std::ops::Range;

use candle_core::Result;

use super::epilogue::{Epilogue, Placement, Target};
use super::implicit_gemm::{ImplicitGemm, OuterProduct};
use super::pack::Interleave;
use super::pack_weights::{Direction, GradientLayout, PackedWeights};
use super::problem::ConvProblem;
use super::taps::{self, Phase};
use super::tiling::{Tile, WorkItem, items};
use super::window::{LANES, Panels, Window};
use super::{AlgorithmWeights, BLOCK_ROWS, Blocks, InputWindows, SharedSource};
use super::{alike, check_scratch, compute, microkernel_vectors, pack_tiles, row_units, winograd};
use crate::cpu::buffer::{Buffer, Growing};
use crate::cpu::element::Element;
use crate::cpu::isa::{Arithmetic, Isa, launch_bf16, launch_in};
use crate::cpu::threads::{self, work_stealing::WorkStealing};

/// What a backward pass needs beside the gradients.
pub(crate) struct BackwardWeights {
    phases: Vec<(Phase, AlgorithmWeights)>,
    /// Whether they give the gradient of every input pixel.
    whole: bool,
}

impl BackwardWeights {
    /// Whether the data gradient is computed in squares.
    fn squares(&self) -> bool {
        self.phases.iter().any(|(_, weights)| weights.squares())
    }
}

/// PackedWeights weights for the data gradient.
pub(crate) fn pack_backward(
    isa: Isa,
    arithmetic: Arithmetic,
    weight: &[f32],
    problem: &ConvProblem,
) -> BackwardWeights {
    let cols = problem.flattened().w.div_ceil(problem.config.stride.1);
    let vectors = microkernel_vectors(isa, problem.group_inputs(), cols);
    let (phases, whole) = taps::backward_phases(problem);
    let pack = |phase: Phase| {
        let packed = PackedWeights::new((isa, arithmetic), weight, problem, &phase.taps, vectors, Direction::Backward);
        (phase, AlgorithmWeights::new(isa, arithmetic, packed, problem))
    };
    BackwardWeights { phases: phases.into_iter().map(pack).collect(), whole }
}

/// How the data gradient reads the output's gradient.
struct GradientWindows {
    /// Least and largest shift of rows and columns.
    rows: (isize, isize),
    cols: (isize, isize),
}

impl GradientWindows {
    fn new(problem: &ConvProblem) -> Self {
        let crate::ConvConfig { stride, padding, dilation, .. } = problem.config;
        Self {
            rows: taps::reach(problem.kh, stride.0, padding.0, dilation.0),
            cols: taps::reach(problem.kw, stride.1, padding.1, dilation.1),
        }
    }
    fn check(&self, problem: &ConvProblem, panels: &Panels) -> Result<()> {
        let cols = if problem.is_row() { 1 } else { self.columns(problem, problem.ow) };
        check_scratch(1 + (self.rows.1 - self.rows.0) as usize, cols, panels)
    }
    /// Columns of the scratch of a tile of that many output columns.
    fn columns(&self, problem: &ConvProblem, cols: usize) -> usize {
        // Every phase's output columns, shifted.
        cols.max(if cols == problem.ow { problem.w.div_ceil(problem.config.stride.1) } else { 0 })
            + (self.cols.1 - self.cols.0) as usize
    }
    fn window(&self, problem: &ConvProblem, tile: &Tile, (rows, cols): (usize, usize)) -> Window {
        // The last band may have further input rows behind the last output row.
        let rows = rows.max(input_rows(problem, tile).len().div_ceil(problem.config.stride.0));
        Window {
            row: tile.rows.start as isize + self.rows.0,
            col: tile.cols.start as isize + self.cols.0,
            rows: rows + (self.rows.1 - self.rows.0) as usize,
            cols: self.columns(problem, cols),
            row_step: 1,
            col_step: 1,
            split: 1,
            pixel: LANES,
        }
    }
    /// Offset of a tile's first own pixel in its scratch.
    fn interior(&self, window: &Window) -> usize {
        (-self.rows.0) as usize * window.row_len() + (-self.cols.0) as usize * LANES
    }
}

/// The input rows whose gradient a tile computes: from its first output row's to the next tile's; the last takes all.
fn input_rows(problem: &ConvProblem, tile: &Tile) -> Range<usize> {
    let stride = problem.config.stride.0;
    let end = if tile.rows.end == problem.oh { problem.h } else { (tile.rows.end * stride).min(problem.h) };
    (tile.rows.start * stride).min(problem.h)..end
}

/// Both gradients of a convolution. `dx` is computed only with `weights`; `dy` and `x` are read once, together.
/// Returns the weight gradient in candle's order and the epilogues of the items.
#[allow(clippy::too_many_arguments)] // each is a different thing
pub(crate) fn backward<E: Element, P: Epilogue>(
    isa: Isa,
    arithmetic: Arithmetic,
    problem: &ConvProblem,
    x: SharedSource<E>,
    dy: SharedSource<E>,
    weights: Option<&BackwardWeights>,
    wants_dw: bool,
    target: &Target,
    epilogue: impl Fn() -> P + Sync,
) -> Result<(Option<Vec<f32>>, Vec<P>)> {
    let problem = &problem.flattened();
    let (reading, gradients) = (InputWindows::new(problem), GradientWindows::new(problem));
    let (groups, values) = (problem.config.groups, arithmetic.values());
    let x_panels = Panels { groups, channels: problem.group_inputs(), values };
    let dy_panels = Panels { groups, channels: problem.group_outputs(), values };
    reading.check(problem, &x_panels)?;
    gradients.check(problem, &dy_panels)?;
    let units = row_units(problem, reading.cols(problem.ow), reading.steps.0, &x_panels)
        + row_units(problem, gradients.columns(problem, problem.ow), 1, &dy_panels);
    // Pairs of pixels take a second scratch for both maps.
    let items = items(problem, values * units, weights.is_some_and(BackwardWeights::squares), values == 2);
    let layout = GradientLayout::new(problem);
    let taps = taps::forward_taps(problem);
    let work = WorkStealing::new(items.len());
    let results = threads::static_partition(items.len(), |chunk| {
        let (x, dy) = (x.source(), dy.source());
        let mut own = Growing::default();
        let mut scratches = Scratches::default();
        let mut dw = wants_dw.then(|| Buffer::<f32>::new(layout.len()));
        let mut accumulate = false;
        // All spans in one block, over panels of single channels: pairs hold one channel of two pixels.
        let mut x_spans = Blocks::new(&taps, Panels { values: 1, ..x_panels }, usize::MAX);
        let mut phases: Vec<_> = weights.map_or(Vec::new(), |weights| {
            let phases = weights.phases.iter();
            phases.map(|(p, w)| (p, w, Blocks::new(&p.taps, dy_panels, BLOCK_ROWS / w.packed.vectors))).collect()
        });
        // The sums of weight gradients are the chunk's; data gradients may be another's.
        let mut run = |i: usize, own_dw: bool, wants_dx: bool| {
            let item = &items[i];
            let WorkItem(tiles) = item;
            let dy_window = gradients.window(problem, tiles.last().unwrap_or(&tiles[0]), item.size());
            let dy_image = dy_panels.count() * dy_window.panel_len();
            let windows = tiles.iter().map(|tile| {
                (tile.image, Window { rows: dy_window.rows, ..gradients.window(problem, tile, item.size()) })
            });
            let image = (problem.oh, problem.ow, problem.o);
            let g = pack_tiles((isa, arithmetic), dy, image, windows, dy_panels, &mut scratches.dy);
            if let Some(dw) = dw.as_mut().filter(|_| own_dw) {
                let x_window = reading.window(problem, &tiles[0], item.size());
                let x_image = x_panels.count() * x_window.panel_len();
                let windows = tiles.iter().map(|tile| (tile.image, reading.window(problem, tile, item.size())));
                let image = (problem.h, problem.w, problem.c);
                let input = pack_tiles((isa, arithmetic), x, image, windows, x_panels, &mut scratches.x);
                let (rows, cols) = item.size();
                // SAFETY: the scratches hold all tiles; zeros stand where the last is smaller.
                unsafe {
                    let (input, g, images) = match arithmetic {
                        Arithmetic::F32 => (input.cast_const(), g.cast_const(), tiles.len()),
                        Arithmetic::Bf16Dot => {
                            let a = interleave(
                                input,
                                tiles.len(),
                                x_panels.count(),
                                x_window.panel_len(),
                                &mut scratches.x_pairs,
                            );
                            let b = interleave(
                                g,
                                tiles.len(),
                                dy_panels.count(),
                                dy_window.panel_len(),
                                &mut scratches.dy_pairs,
                            );
                            (a, b, tiles.len().div_ceil(2))
                        }
                    };
                    let outer = OuterProduct {
                        x: input,
                        x_row: reading.steps.0 * x_window.row_len(),
                        x_image: values * x_image,
                        x_group: values * x_panels.of_group() * x_window.panel_len(),
                        spans: x_spans.of(&x_window).first().map_or(&[], Vec::as_slice),
                        dy: g.add(gradients.interior(&dy_window)),
                        dy_row: dy_window.row_len(),
                        dy_image: values * dy_image,
                        dy_panel: dy_window.panel_len(),
                        dy_group: values * dy_panels.of_group() * dy_window.panel_len(),
                        groups,
                        outputs: problem.group_outputs(),
                        vectors: microkernel_vectors(isa, problem.group_outputs(), usize::MAX),
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
            let ranges =
                tiles.iter().map(|tile| problem.input_pixels(tile.image, &input_rows(problem, tile), &tile.cols));
            let place = Placement::new(target, &mut own, ranges.collect(), problem.c);
            if weights.is_some_and(|weights| !weights.whole) {
                // Some input pixels are reached by no tap: their gradient is zero.
                for (i, range) in place.ranges.iter().enumerate() {
                    // SAFETY: the results of the tile.
                    unsafe { std::slice::from_raw_parts_mut(place.y.add(i * place.step), range.len() * problem.c) }
                        .fill(0.);
                }
            }
            for (phase, weights, blocks) in &mut phases {
                let (packed, blocks) = (&weights.packed, blocks.of(&dy_window));
                for (first, images, _, cols) in alike(tiles) {
                    let stride = problem.config.stride;
                    let rows = input_rows(problem, &tiles[first]).len();
                    let cols = if cols == problem.ow { problem.w } else { cols };
                    // SAFETY: scratch and target were sized for this item; chunks write disjoint ranges.
                    unsafe {
                        let y =
                            place.y.add(first * place.step + (phase.first.0 * problem.w + phase.first.1) * problem.c);
                        let gemm = ImplicitGemm {
                            images,
                            x_image: dy_image,
                            x_row: dy_window.row_len(),
                            x_group: dy_panels.of_group() * dy_window.panel_len(),
                            groups,
                            y_pixel: stride.1 * problem.c,
                            y_row: stride.0 * problem.w * problem.c,
                            y_image: place.step,
                            y_group: problem.group_inputs(),
                            rows: rows.saturating_sub(phase.first.0).div_ceil(stride.0),
                            cols: (cols - phase.first.1).div_ceil(stride.1),
                            ..ImplicitGemm::pixel(g.add(first * dy_image), blocks, packed, y)
                        };
                        let panel_len = dy_window.panel_len();
                        compute(isa, arithmetic, gemm, weights, panel_len, &mut scratches.squares);
                    }
                }
            }
            // SAFETY: the results are there.
            unsafe { place.pass_on(isa, &mut epilogue) };
            work.put(i, epilogue);
        };
        work.begin(&chunk);
        for i in chunk {
            run(i, true, weights.is_some() && work.take(i));
        }
        if weights.is_some() {
            std::iter::from_fn(|| work.steal()).for_each(|i| run(i, false, true));
        }
        dw
    });
    let parts: Vec<Buffer<f32>> = results.into_iter().flatten().collect();
    let slices: Vec<&[f32]> = parts.iter().map(Buffer::as_slice).collect();
    Ok((wants_dw.then(|| layout.unpack(isa, &slices)), work.results()))
}

/// The scratches of a chunk of the backward pass.
#[derive(Default)]
struct Scratches {
    x: Growing,
    dy: Growing,
    x_pairs: Growing,
    dy_pairs: Growing,
    squares: winograd::Scratch,
}

/// Pairs of tiles as one scratch each, twice as long.
///
/// # Safety
/// `scratch` must hold `tiles` scratches of `panels` panels.
unsafe fn interleave(
    scratch: *const f32,
    tiles: usize,
    panels: usize,
    panel_len: usize,
    out: &mut Growing,
) -> *const f32 {
    let image = panels * panel_len;
    let pairs = out.get(tiles.div_ceil(2) * 2 * image);
    for i in (0..tiles).step_by(2) {
        // SAFETY: as the caller promises.
        unsafe {
            let b = if i + 1 < tiles { scratch.add((i + 1) * image) } else { std::ptr::null() };
            launch_bf16(Interleave { a: scratch.add(i * image), b, out: pairs.add(i * image), panels, panel_len });
        }
    }
    pairs
}
