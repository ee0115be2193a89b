//! Which scratch pixels a convolution reads: shapes, taps, runs of contiguous channels, blocks of the sum.

use crate::ConvConfig;

/// The sizes of one convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConvShape {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub o: usize,
    pub kh: usize,
    pub kw: usize,
    pub oh: usize,
    pub ow: usize,
    pub config: ConvConfig,
}

impl ConvShape {
    pub(crate) fn group_inputs(&self) -> usize {
        self.c / self.config.groups
    }
    pub(crate) fn group_outputs(&self) -> usize {
        self.o / self.config.groups
    }
    pub(crate) fn is_pointwise(&self) -> bool {
        (self.kh, self.kw) == (1, 1) && self.config.padding == (0, 0)
    }
    /// Whether the kernels apply: the data gradient needs a padding that the kernel covers.
    pub(crate) fn supported(kh: usize, kw: usize, config: &ConvConfig) -> bool {
        config.padding.0 <= config.dilation.0 * (kh - 1) && config.padding.1 <= config.dilation.1 * (kw - 1)
    }
}

/// `len` neighbouring values of the scratch, from `offset`, that meet `len` rows of packed weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
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

/// The part of a map that is copied into a scratch: scratch pixel (r, c) is map pixel
/// (row + r · row_step, col + c · col_step), or zero outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub row: isize,
    pub col: isize,
    pub rows: usize,
    pub cols: usize,
    pub row_step: usize,
    pub col_step: usize,
    /// Values from one scratch pixel to the next.
    pub pixel: usize,
}

impl Window {
    pub(crate) fn row_len(&self) -> usize {
        self.cols * self.pixel
    }
    pub(crate) fn len(&self) -> usize {
        self.rows * self.row_len()
    }
}

/// Values from one scratch pixel to the next: more than the channels where many pixels would fall into one cache set.
pub(crate) fn pixel_len(channels: usize, step: usize, single_column: bool) -> usize {
    if single_column && channels * step >= 256 && (channels * step).is_multiple_of(128) {
        channels + 16
    } else {
        channels
    }
}

/// One output phase: output pixels (first + i · step) in rows and columns, and the taps that reach them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phase {
    pub first: (usize, usize),
    pub taps: Vec<Tap>,
}

/// The forward convolution: one phase.
pub(crate) fn forward_taps(shape: &ConvShape) -> Vec<Tap> {
    let (dh, dw) = shape.config.dilation;
    let mut taps = Vec::with_capacity(shape.kh * shape.kw);
    for i in 0..shape.kh {
        for j in 0..shape.kw {
            taps.push(Tap { kernel: (i, j), row: i * dh, col: j * dw });
        }
    }
    taps
}

/// How one direction of the data gradient reads the output's gradient: output index i + shift, for each kernel
/// position that reaches the input positions ≡ phase (mod stride).
fn shifts(kernel: usize, stride: usize, padding: usize, dilation: usize, phase: usize) -> Vec<(usize, isize)> {
    let shifted = (0..kernel).map(|k| (k, (phase + padding) as isize - (k * dilation) as isize));
    shifted.filter(|(_, s)| s.rem_euclid(stride as isize) == 0).map(|(k, s)| (k, s / stride as isize)).collect()
}

/// Smallest and largest shift of one direction, both with 0 included.
pub(crate) fn reach(kernel: usize, stride: usize, padding: usize, dilation: usize) -> (isize, isize) {
    let all = (0..stride).flat_map(|phase| shifts(kernel, stride, padding, dilation, phase));
    all.fold((0, 0), |(low, high), (_, s)| (low.min(s), high.max(s)))
}

/// The data gradient as stride² gather convolutions of the output's gradient, whose scratch begins at the least
/// shifts.
pub(crate) fn backward_phases(shape: &ConvShape) -> Vec<Phase> {
    let ConvConfig { stride, padding, dilation, .. } = shape.config;
    let low = (reach(shape.kh, stride.0, padding.0, dilation.0).0, reach(shape.kw, stride.1, padding.1, dilation.1).0);
    let mut phases = Vec::with_capacity(stride.0 * stride.1);
    for a in 0..stride.0.min(shape.h) {
        for b in 0..stride.1.min(shape.w) {
            let mut taps = Vec::new();
            for &(i, row) in &shifts(shape.kh, stride.0, padding.0, dilation.0, a) {
                for &(j, col) in &shifts(shape.kw, stride.1, padding.1, dilation.1, b) {
                    taps.push(Tap { kernel: (i, j), row: (row - low.0) as usize, col: (col - low.1) as usize });
                }
            }
            taps.sort_by_key(|tap| (tap.row, tap.col));
            phases.push(Phase { first: (a, b), taps });
        }
    }
    phases
}

/// The taps (in the order of their offsets) as runs of the scratch; neighbours are merged.
pub(crate) fn runs(taps: &[Tap], row_len: usize, pixel: usize, channels: usize) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::with_capacity(taps.len());
    for tap in taps {
        let offset = tap.row * row_len + tap.col * pixel;
        match runs.last_mut() {
            Some(last) if last.offset + last.len == offset => last.len += channels,
            _ => runs.push(Run { offset, len: channels }),
        }
    }
    runs
}

/// Cuts the runs into blocks of at most `limit` rows, so that a block's weights stay in the cache.
pub(crate) fn blocks(runs: &[Run], limit: usize) -> Vec<Vec<Run>> {
    let total: usize = runs.iter().map(|run| run.len).sum();
    let limit = total.div_ceil(total.div_ceil(limit.max(1)).max(1)).max(1);
    let mut blocks: Vec<Vec<Run>> = vec![Vec::new()];
    let mut filled = 0;
    for &run in runs {
        let mut run = run;
        while run.len > 0 {
            if filled == limit {
                blocks.push(Vec::new());
                filled = 0;
            }
            let len = run.len.min(limit - filled);
            if let Some(block) = blocks.last_mut() {
                block.push(Run { len, ..run });
            }
            filled += len;
            run = Run { offset: run.offset + len, len: run.len - len };
        }
    }
    blocks
}

/// Cuts `count` into equal parts of at most `most`: (start, length) of each.
#[inline(always)]
pub(crate) fn parts(count: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let n = count.div_ceil(most);
    (0..n).map(move |i| (i * count / n, (i + 1) * count / n - i * count / n))
}
