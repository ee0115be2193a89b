//! Which scratch pixels a convolution reads: shapes, taps, runs of contiguous channels, blocks of the sum.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Tensor;

use crate::ConvConfig;

/// Positions of the largest kernel whose weights are packed.
pub(crate) const MOST_POSITIONS: usize = 1 << 14;

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
    /// Whether the kernel has one position.
    pub(crate) fn single(&self) -> bool {
        (self.kh, self.kw) == (1, 1)
    }
    /// Whether every output pixel depends on one input pixel, in their order.
    fn pointwise(&self) -> bool {
        self.single() && self.config.stride == (1, 1) && self.config.padding == (0, 0)
    }
    /// Whether it is one long row of pixels, which can be cut anywhere.
    pub(crate) fn is_row(&self) -> bool {
        self.pointwise() && (self.n, self.h) == (1, 1)
    }
    /// A convolution of pixels alone as one long row, every other as it is.
    pub(crate) fn flattened(&self) -> Self {
        if !self.pointwise() {
            return *self;
        }
        let pixels = self.n * self.h * self.w;
        Self { n: 1, h: 1, oh: 1, w: pixels, ow: pixels, ..*self }
    }
    /// Flat pixels of the output map; of several rows, all columns.
    pub(crate) fn pixels(&self, image: usize, rows: &Range<usize>, cols: &Range<usize>) -> Range<usize> {
        flat_pixels((self.oh, self.ow), image, rows, cols)
    }
    /// Flat pixels of the input map, as [`Self::pixels`]; all columns stand for all columns.
    pub(crate) fn input_pixels(&self, image: usize, rows: &Range<usize>, cols: &Range<usize>) -> Range<usize> {
        let cols = if cols.len() == self.ow { 0..self.w } else { cols.clone() };
        flat_pixels((self.h, self.w), image, rows, &cols)
    }
    /// Whether the kernels apply: the data gradient needs a padding that the kernel covers, and weights are packed all
    /// positions at once.
    pub(crate) fn supported(weight: &Tensor, config: &ConvConfig) -> bool {
        let &[_, _, kh, kw] = weight.dims() else { return false };
        let covers = |kernel: usize, dilation: usize, padding: usize| padding <= dilation.saturating_mul(kernel - 1);
        kh.saturating_mul(kw) <= MOST_POSITIONS
            && covers(kh, config.dilation.0, config.padding.0)
            && covers(kw, config.dilation.1, config.padding.1)
    }
    /// The same convolution without a stride that is longer than the way from the first window to the end of the map: it is
    /// never taken, but scratches would be as long.
    pub(crate) fn with_short_strides(mut self) -> Self {
        let ConvConfig { stride, padding, dilation, .. } = self.config;
        let way = |size: usize, kernel: usize, padding: usize, dilation: usize| {
            (size + 2 * padding).saturating_sub(dilation * (kernel - 1)).max(1)
        };
        let rows = way(self.h, self.kh, padding.0, dilation.0);
        self.config.stride = (stride.0.min(rows), stride.1.min(way(self.w, self.kw, padding.1, dilation.1)));
        self
    }
}

fn flat_pixels(
    (height, width): (usize, usize),
    image: usize,
    rows: &Range<usize>,
    cols: &Range<usize>,
) -> Range<usize> {
    let first = (image * height + rows.start) * width;
    // A band may have no rows: behind the last input row that a stride reaches.
    let end = if rows.is_empty() { cols.start } else { (rows.len() - 1) * width + cols.end };
    first + cols.start..first + end
}

/// `len` neighbouring units of the scratch, from `offset`, that meet `len` rows of packed weights.
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

/// Units of a panel's pixel: one vector.
pub(crate) const LANES: usize = 16;

/// Channels of a picture, whose pixels may lie one after the other.
pub(crate) const PICTURE: usize = 3;

/// The part of a map that is copied into a scratch: scratch pixel (r, c) is map pixel
/// (row + r · row_step, col + c · col_step), or zero outside.
///
/// A scratch holds 32-bit units, one f32 or two bf16 of neighbouring channels. Sixteen units of channels make a panel:
/// (panel, row, column, 16). Each group has its own panels; units beyond the last channel are zero. Columns that are
/// `split` apart in the map lie side by side, so that a convolution of that stride reads neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub row: isize,
    pub col: isize,
    pub rows: usize,
    /// A multiple of `split`.
    pub cols: usize,
    pub row_step: usize,
    pub col_step: usize,
    pub split: usize,
    /// Units of one pixel: a panel's, or fewer where there is one panel of fewer channels.
    pub pixel: usize,
}

impl Window {
    /// Units of one row of a panel.
    pub(crate) fn row_len(&self) -> usize {
        self.cols * self.pixel
    }
    /// Units of one panel: never a multiple of 4 KiB, which would put all panels into one set of the cache.
    pub(crate) fn panel_len(&self) -> usize {
        let len = self.rows * self.row_len();
        if len.is_multiple_of(1024) { len + LANES } else { len }
    }
    /// Where column `c` lies in its row, in pixels.
    #[inline(always)]
    pub(crate) fn position(&self, c: usize) -> usize {
        c % self.split * (self.cols / self.split) + c / self.split
    }
}

/// The channels of a map as panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panels {
    pub groups: usize,
    /// Channels of one group.
    pub channels: usize,
    /// Channels of one unit.
    pub values: usize,
}

impl Panels {
    /// Channels of one panel.
    pub(crate) fn width(&self) -> usize {
        LANES * self.values
    }
    /// Panels of one group.
    pub(crate) fn of_group(&self) -> usize {
        self.channels.div_ceil(self.width())
    }
    /// Panels of a map.
    pub(crate) fn count(&self) -> usize {
        self.groups * self.of_group()
    }
    /// Units of panel `i` of a group that hold channels.
    pub(crate) fn units(&self, i: usize) -> usize {
        (self.channels - i * self.width()).min(self.width()).div_ceil(self.values)
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

/// The data gradient as at most stride² gather convolutions of the output's gradient, whose scratch begins at the least
/// shifts; and whether they give every input pixel: some may be reached by no tap.
pub(crate) fn backward_phases(shape: &ConvShape) -> (Vec<Phase>, bool) {
    let ConvConfig { stride, padding, dilation, .. } = shape.config;
    let low = (reach(shape.kh, stride.0, padding.0, dilation.0).0, reach(shape.kw, stride.1, padding.1, dilation.1).0);
    let by_phase = |kernel: usize, stride: usize, padding: usize, dilation: usize, size: usize| {
        let mut phases = BTreeMap::<usize, Vec<(usize, isize)>>::new();
        for (k, phase, shift) in shifts(kernel, stride, padding, dilation).filter(|(_, phase, _)| *phase < size) {
            phases.entry(phase).or_default().push((k, shift));
        }
        phases
    };
    let rows = by_phase(shape.kh, stride.0, padding.0, dilation.0, shape.h);
    let cols = by_phase(shape.kw, stride.1, padding.1, dilation.1, shape.w);
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
    let whole = (rows.len(), cols.len()) == (stride.0.min(shape.h), stride.1.min(shape.w));
    (phases, whole)
}

/// What one group's output pixel reads of the scratch: all taps of the first panel, of the second, …. Taps whose few
/// channels follow one another are one run.
pub(crate) fn runs(taps: &[Tap], window: &Window, panels: &Panels) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::with_capacity(taps.len() * panels.of_group());
    for panel in 0..panels.of_group() {
        for tap in taps {
            let pixel = tap.row * window.cols + window.position(tap.col);
            let (offset, len) = (panel * window.panel_len() + pixel * window.pixel, panels.units(panel));
            match runs.last_mut() {
                Some(last) if window.pixel < LANES && last.offset + last.len == offset => last.len += len,
                _ => runs.push(Run { offset, len }),
            }
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
