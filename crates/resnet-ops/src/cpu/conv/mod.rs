//! Convolution over a whole batch as an implicit matrix product, or by Winograd's algorithm.

mod backward;
mod epilogue;
mod forward;
pub(crate) mod implicit_gemm;
pub(crate) mod microkernel;
pub(crate) mod pack;
pub(crate) mod pack_weights;
pub(crate) mod problem;
pub(crate) mod taps;
mod tiling;
pub(crate) mod window;
pub(crate) mod winograd;

use candle_core::{Device, Result};

use self::implicit_gemm::ImplicitGemm;
use self::pack::{Pack, Source, pack};
use self::pack_weights::PackedWeights;
use self::problem::ConvProblem;
use self::taps::{KSpan, Tap};
use self::tiling::Tile;
use self::window::{LANES, Panels, Window};
use self::winograd::Transformed;
use super::buffer::Growing;
use super::element::Element;
use super::isa::{Arithmetic, Isa, launch_in};
use super::threads;
use crate::memory;
pub(crate) use backward::{backward, pack_backward};
pub(crate) use epilogue::{Epilogue, Target};
pub(crate) use forward::{forward, pack_forward};

/// Rows of packed weights that one pass over the pixels uses, times the vectors of a row.
pub(crate) const BLOCK_ROWS: usize = 1536;

/// Vectors of output channels that a tile is wide.
pub(crate) fn microkernel_vectors(isa: Isa, outputs: usize, cols: usize) -> usize {
    if isa != Isa::Avx512 || outputs <= 16 {
        1
    } else if cols <= 7 && outputs >= 64 {
        4
    } else {
        2
    }
}

/// A source is shared by threads that only read it.
#[derive(Clone, Copy)]
pub(crate) struct SharedSource<'a, E>(pub Source<'a, E>);
// SAFETY: read only.
unsafe impl<E> Sync for SharedSource<'_, E> {}
// SAFETY: read only.
unsafe impl<E> Send for SharedSource<'_, E> {}

impl<'a, E> SharedSource<'a, E> {
    pub(crate) fn source(&self) -> &Source<'a, E> {
        &self.0
    }
}

/// How a convolution reads its input: the window of some output rows and columns, and the step between output rows.
struct InputWindows {
    /// Scratch rows, and scratch columns, from one output row or column to the next.
    steps: (usize, usize),
    span: (usize, usize),
}

impl InputWindows {
    fn new(problem: &ConvProblem) -> Self {
        // A 1×1 kernel reads every stride-th pixel only: the others are not copied.
        let steps = if problem.single() { (1, 1) } else { problem.config.stride };
        let span = |kernel: usize, dilation: usize| (kernel - 1) * dilation + 1;
        Self { steps, span: (span(problem.kh, problem.config.dilation.0), span(problem.kw, problem.config.dilation.1)) }
    }
    fn check(&self, problem: &ConvProblem, panels: &Panels) -> Result<()> {
        let cols = if problem.is_row() { 1 } else { self.cols(problem.ow) };
        check_scratch(self.span.0, cols, panels)
    }
    /// Columns of the scratch of that many output columns.
    fn cols(&self, cols: usize) -> usize {
        ((cols - 1) * self.steps.1 + self.span.1).next_multiple_of(self.steps.1)
    }
    fn window(&self, problem: &ConvProblem, tile: &Tile, (rows, cols): (usize, usize)) -> Window {
        let (stride, padding) = (problem.config.stride, problem.config.padding);
        Window {
            row: (tile.rows.start * stride.0) as isize - padding.0 as isize,
            col: (tile.cols.start * stride.1) as isize - padding.1 as isize,
            rows: (rows - 1) * self.steps.0 + self.span.0,
            cols: self.cols(cols),
            row_step: if problem.single() { stride.0 } else { 1 },
            col_step: if problem.single() { stride.1 } else { 1 },
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
fn row_units(problem: &ConvProblem, cols: usize, steps: usize, panels: &Panels) -> usize {
    let pixels = if problem.is_row() { 1 } else { cols * steps };
    LANES * panels.count() * pixels
}

/// Parts of one size, as (first, count, rows, cols): all, or all but the last.
fn alike(tiles: &[Tile]) -> Vec<(usize, usize, usize, usize)> {
    let mut groups: Vec<(usize, usize, usize, usize)> = Vec::with_capacity(2);
    for (i, tile) in tiles.iter().enumerate() {
        let (rows, cols) = (tile.rows.len(), tile.cols.len());
        match groups.last_mut() {
            Some(group) if (group.2, group.3) == (rows, cols) => group.1 += 1,
            _ => groups.push((i, 1, rows, cols)),
        }
    }
    groups
}

/// Whether a training step computes this convolution, and its data gradient, by Winograd's algorithm: where every
/// thread has enough squares for its passes over the weights. Measured with AVX2 alone.
fn winograd_wins(isa: Isa, arithmetic: Arithmetic, problem: &ConvProblem) -> bool {
    let squares = winograd::squares(problem.n, (problem.oh, problem.ow));
    isa == Isa::Avx2 && winograd::applies(problem, arithmetic) && squares >= 32 * threads::count()
}

/// Weights of a convolution as its algorithm reads them.
pub(crate) struct AlgorithmWeights {
    packed: PackedWeights,
    transformed: Option<Transformed>,
}

impl AlgorithmWeights {
    /// Whether it is computed in squares.
    fn squares(&self) -> bool {
        self.transformed.is_some()
    }

    fn new(isa: Isa, arithmetic: Arithmetic, packed: PackedWeights, problem: &ConvProblem) -> Self {
        let transformed = winograd_wins(isa, arithmetic, problem).then(|| Transformed::new(isa, &packed));
        Self { packed, transformed }
    }
}

/// Computes what `gemm` says; its panels are `panel_len` units long.
///
/// # Safety
/// As for the kernel.
unsafe fn compute(
    isa: Isa,
    arithmetic: Arithmetic,
    gemm: ImplicitGemm,
    weights: &AlgorithmWeights,
    panel_len: usize,
    scratch: &mut winograd::Scratch,
) {
    // SAFETY: as the caller promises.
    unsafe {
        match &weights.transformed {
            Some(transformed) => {
                let squares = 0..winograd::squares(gemm.images, (gemm.rows, gemm.cols));
                winograd::convolve(isa, &gemm, panel_len, transformed, scratch, squares);
            }
            None => launch_in(isa, arithmetic, gemm),
        }
    }
}

/// Packs a window of each of some images (h, w, channels) into scratches of one size that follow one another.
fn pack_tiles<E: Element>(
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

/// The spans of a convolution in blocks, for the last window that was asked for: items differ at most at the edges.
struct Blocks<'a> {
    taps: &'a [Tap],
    panels: Panels,
    limit: usize,
    made: Option<(Window, Vec<Vec<KSpan>>)>,
}

impl<'a> Blocks<'a> {
    fn new(taps: &'a [Tap], panels: Panels, limit: usize) -> Self {
        Self { taps, panels, limit, made: None }
    }
    fn of(&mut self, window: &Window) -> &[Vec<KSpan>] {
        // Where the window lies does not matter.
        let window = Window { row: 0, col: 0, ..*window };
        if self.made.as_ref().is_none_or(|(made, _)| *made != window) {
            let spans = taps::k_spans(self.taps, &window, &self.panels);
            self.made = Some((window, taps::blocks(&spans, self.limit)));
        }
        self.made.as_ref().map_or(&[], |(_, blocks)| blocks)
    }
}
