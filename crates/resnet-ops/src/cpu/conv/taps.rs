//! Which scratch pixels an output pixel reads: taps, phases of the data gradient, segments of contiguous channels, blocks
//! of the sum.

use std::collections::BTreeMap;

use super::problem::ConvProblem;
use super::window::{LANES, Panels, Window};
use crate::ConvConfig;

/// `len` neighbouring units of the scratch, from `offset`, that meet `len` rows of packed weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KSpan {
    pub offset: usize,
    pub len: usize,
}

/// A kernel position and where its input lies, in scratch pixels from that of the output pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tap {
    pub kernel: (usize, usize),
    pub row: usize,
    pub col: usize,
}

/// One output phase: output pixels (first + i · step) in rows and columns, and the taps that reach them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phase {
    pub first: (usize, usize),
    pub taps: Vec<Tap>,
}

/// The forward convolution: one phase.
pub(crate) fn forward_taps(problem: &ConvProblem) -> Vec<Tap> {
    let (dh, dw) = problem.config.dilation;
    let mut taps = Vec::with_capacity(problem.kh * problem.kw);
    for i in 0..problem.kh {
        for j in 0..problem.kw {
            taps.push(Tap { kernel: (i, j), row: i * dh, col: j * dw });
        }
    }
    taps
}

/// How one direction of the data gradient reads the output's gradient: output index i + shift, for each kernel
/// position that reaches the input positions ≡ phase (mod stride), as (kernel position, phase, shift).
fn shifts(
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
) -> impl Iterator<Item = (usize, usize, isize)> {
    (0..kernel).map(move |k| {
        // phase + padding − k · dilation = shift · stride
        let (from, stride) = ((k * dilation) as isize - padding as isize, stride as isize);
        (k, from.rem_euclid(stride) as usize, -from.div_euclid(stride))
    })
}

/// Smallest and largest shift of one direction, both with 0 included.
pub(crate) fn reach(kernel: usize, stride: usize, padding: usize, dilation: usize) -> (isize, isize) {
    let all = shifts(kernel, stride, padding, dilation);
    all.fold((0, 0), |(low, high), (_, _, s)| (low.min(s), high.max(s)))
}

/// The data gradient as at most stride² convolutions of the output's gradient, whose scratch begins at the least
/// shifts; and whether they give every input pixel: some may be reached by no tap.
pub(crate) fn backward_phases(problem: &ConvProblem) -> (Vec<Phase>, bool) {
    let ConvConfig { stride, padding, dilation, .. } = problem.config;
    let low =
        (reach(problem.kh, stride.0, padding.0, dilation.0).0, reach(problem.kw, stride.1, padding.1, dilation.1).0);
    let by_phase = |kernel: usize, stride: usize, padding: usize, dilation: usize, size: usize| {
        let mut phases = BTreeMap::<usize, Vec<(usize, isize)>>::new();
        for (k, phase, shift) in shifts(kernel, stride, padding, dilation).filter(|(_, phase, _)| *phase < size) {
            phases.entry(phase).or_default().push((k, shift));
        }
        phases
    };
    let rows = by_phase(problem.kh, stride.0, padding.0, dilation.0, problem.h);
    let cols = by_phase(problem.kw, stride.1, padding.1, dilation.1, problem.w);
    let mut phases = Vec::with_capacity(rows.len() * cols.len());
    for (&a, rows) in &rows {
        for (&b, cols) in &cols {
            let mut taps = Vec::with_capacity(rows.len() * cols.len());
            for &(i, row) in rows {
                for &(j, col) in cols {
                    taps.push(Tap { kernel: (i, j), row: (row - low.0) as usize, col: (col - low.1) as usize });
                }
            }
            taps.sort_by_key(|tap| (tap.row, tap.col));
            phases.push(Phase { first: (a, b), taps });
        }
    }
    let whole = (rows.len(), cols.len()) == (stride.0.min(problem.h), stride.1.min(problem.w));
    (phases, whole)
}

/// What one group's output pixel reads of the scratch: all taps of the first panel, of the second, …. Taps whose few
/// channels follow one another are one run.
pub(crate) fn k_spans(taps: &[Tap], window: &Window, panels: &Panels) -> Vec<KSpan> {
    let mut spans: Vec<KSpan> = Vec::with_capacity(taps.len() * panels.of_group());
    for panel in 0..panels.of_group() {
        for tap in taps {
            let pixel = tap.row * window.cols + window.position(tap.col);
            let (offset, len) = (panel * window.panel_len() + pixel * window.pixel, panels.units(panel));
            match spans.last_mut() {
                Some(last) if window.pixel < LANES && last.offset + last.len == offset => last.len += len,
                _ => spans.push(KSpan { offset, len }),
            }
        }
    }
    spans
}

/// Cuts the spans into blocks of at most `limit` rows, so that a block's weights stay in the cache.
pub(crate) fn blocks(spans: &[KSpan], limit: usize) -> Vec<Vec<KSpan>> {
    let total: usize = spans.iter().map(|span| span.len).sum();
    let limit = total.div_ceil(total.div_ceil(limit.max(1)).max(1)).max(1);
    let mut blocks: Vec<Vec<KSpan>> = vec![Vec::new()];
    let mut filled = 0;
    for &span in spans {
        let mut span = span;
        while span.len > 0 {
            if filled == limit {
                blocks.push(Vec::new());
                filled = 0;
            }
            let len = span.len.min(limit - filled);
            if let Some(block) = blocks.last_mut() {
                block.push(KSpan { len, ..span });
            }
            filled += len;
            span = KSpan { offset: span.offset + len, len: span.len - len };
        }
    }
    blocks
}
