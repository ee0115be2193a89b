//! The sizes of one convolution.

use std::ops::Range;

use candle_core::Tensor;

use crate::ConvConfig;

/// Positions of the largest kernel whose weights are packed.
pub(crate) const MOST_POSITIONS: usize = 1 << 14;

/// The sizes of one convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConvProblem {
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

impl ConvProblem {
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
