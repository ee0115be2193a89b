//! Convolution over one scratch as an implicit matrix product: output pixels from packed weights, tile by tile.

use super::microkernel::{
    MicroTile, OuterMicroTile, SCATTERED, Scattered, UNROLLED, gemm_microkernel, outer_microkernel,
    scattered_gemm_microkernel, scattered_outer_microkernel, width_index,
};
use super::pack_weights::PackedWeights;
use super::taps::KSpan;
use super::window::{IMAGE_CHANNELS, LANES};
use crate::cpu::isa::{Kernel, Simd};

const TWO_PIXELS: usize = 2 * LANES;
const TWO_OF_IMAGE: usize = 2 * IMAGE_CHANNELS;

/// `rows × cols` output pixels of one phase of some images.
#[derive(Clone, Copy)]
pub(crate) struct ImplicitGemm<'a> {
    pub scratch: *const f32,
    pub images: usize,
    /// Scratch units from one output pixel to the next: those of one or two pixels of a panel, or of an image.
    pub x_step: usize,
    /// Scratch units from one image, and from one output row, to the next.
    pub x_image: usize,
    pub x_row: usize,
    /// Scratch units from one group's panels to the next.
    pub x_group: usize,
    /// The spans, cut where a block of weights ends.
    pub blocks: &'a [Vec<KSpan>],
    pub weights: &'a PackedWeights,
    pub groups: usize,
    /// Blocks of output channels to compute.
    pub outputs: (usize, usize),
    /// Initial values of the output channels of all groups, padded to whole blocks; or null.
    pub bias: *const f32,
    pub y: *mut f32,
    /// Values of `y` from one pixel, row, image, vector of channels and group to the next.
    pub y_pixel: usize,
    pub y_row: usize,
    pub y_image: usize,
    pub y_vector: usize,
    pub y_group: usize,
    pub rows: usize,
    pub cols: usize,
    /// A map that is added at the end, or null; its pixels are as far apart as those of `y`.
    pub residual: *const f32,
    /// Values of the residual from one image, one row and one vector of channels to the next.
    pub residual_image: usize,
    pub residual_row: usize,
    pub residual_vector: usize,
    /// Whether negative results become zero.
    pub relu: bool,
    /// Whether `y` and the residual are bf16, in pairs of vectors (see [`MicroTile::narrow`]).
    pub narrow: bool,
}

impl Kernel for ImplicitGemm<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: as the caller promises.
        unsafe {
            match self.x_step {
                LANES => self.tiles::<S, LANES>(),
                TWO_PIXELS => self.tiles::<S, TWO_PIXELS>(),
                IMAGE_CHANNELS => self.tiles::<S, IMAGE_CHANNELS>(),
                _ => self.tiles::<S, TWO_OF_IMAGE>(),
            }
        }
    }
}

impl<'a> ImplicitGemm<'a> {
    /// The first pixel only, of all output channels of a convolution without groups: nothing is added or rectified.
    pub fn pixel(scratch: *const f32, blocks: &'a [Vec<KSpan>], weights: &'a PackedWeights, y: *mut f32) -> Self {
        Self {
            scratch,
            images: 1,
            x_step: LANES,
            x_image: 0,
            x_row: 0,
            x_group: 0,
            blocks,
            weights,
            groups: 1,
            outputs: (0, weights.blocks()),
            bias: std::ptr::null(),
            y,
            y_pixel: LANES,
            y_row: 0,
            y_image: 0,
            y_vector: LANES,
            y_group: 0,
            rows: 1,
            cols: 1,
            residual: std::ptr::null(),
            residual_image: 0,
            residual_row: 0,
            residual_vector: 0,
            relu: false,
            narrow: false,
        }
    }
}

impl ImplicitGemm<'_> {
    #[inline(always)]
    unsafe fn tiles<S: Simd, const STEP: usize>(self) {
        let nv = self.weights.vectors;
        let most = S::ROWS[width_index(nv)];
        let (width, outputs) = (self.weights.width(), self.weights.outputs);
        let bytes = if self.narrow { 2 } else { 4 };
        // Values from the first vector of channels to another.
        let vector = |v: usize, len: usize| if self.narrow { v / 2 * len + v % 2 * LANES } else { v * len };
        // Offsets of a pixel: units of the scratch, values of the output and of the residual.
        let pixel = |(image, r, c): (usize, usize, usize)| {
            (
                image * self.x_image + r * self.x_row + c * STEP,
                image * self.y_image + r * self.y_row + c * self.y_pixel,
                image * self.residual_image + r * self.residual_row + c * self.y_pixel,
            )
        };
        let several = self.images * self.rows > 1 && !self.cols.is_multiple_of(most);
        let across = S::FEW_REGISTERS && nv == 1 && !self.narrow && several;
        for group in 0..self.groups {
            for block in self.outputs.0..self.outputs.1 {
                let first_channel = group * self.y_group + vector(block * nv, self.y_vector);
                // Groups have whole panels where there is a residual.
                let residual_channel = vector(group * outputs.div_ceil(LANES) + block * nv, self.residual_vector);
                let mut row = 0;
                for (k, spans) in self.blocks.iter().enumerate() {
                    let first = group * self.weights.group_len() + (block * self.weights.rows + row) * width;
                    let last = k + 1 == self.blocks.len();
                    let rows: usize = spans.iter().map(|span| span.len).sum();
                    // The next block's weights come while this one's are multiplied: memory is slower than the tiles.
                    // Beyond them nothing is asked for.
                    // SAFETY: the block's weights.
                    let weights = unsafe { self.weights.data.as_ptr().add(first) };
                    let (mut ahead, end) = (weights.wrapping_add(rows * width), weights.wrapping_add(2 * rows * width));
                    // What all tiles of the block have in common; the first pixel's places.
                    // SAFETY: the caller's scratch, weights, output and residual hold the first pixel.
                    let common = unsafe {
                        MicroTile {
                            x: self.scratch.add(group * self.x_group),
                            spans,
                            weights,
                            ahead: weights,
                            y: self.y.wrapping_byte_add(bytes * first_channel),
                            y_pixel: self.y_pixel,
                            y_vector: self.y_vector,
                            channels: width.min(outputs - block * width),
                            accumulate: k > 0,
                            bias: if k == 0 && !self.bias.is_null() {
                                self.bias.add(group * outputs + block * width)
                            } else {
                                std::ptr::null()
                            },
                            residual: if last && !self.residual.is_null() {
                                self.residual.byte_add(bytes * residual_channel)
                            } else {
                                std::ptr::null()
                            },
                            residual_vector: self.residual_vector,
                            relu: last && self.relu,
                            narrow: self.narrow,
                        }
                    };
                    let mut next = common;
                    // SAFETY: the caller's scratch, output and residual hold all these pixels.
                    let mut tile = |at: (usize, usize, usize)| unsafe {
                        let (x, y, residual) = pixel(at);
                        next.x = common.x.add(x);
                        next.y = common.y.wrapping_byte_add(bytes * y);
                        if !common.residual.is_null() {
                            next.residual = common.residual.byte_add(bytes * residual);
                        }
                        next.ahead = if ahead < end { ahead } else { weights };
                        ahead = ahead.wrapping_add(if S::FEW_REGISTERS { rows / UNROLLED } else { rows } * LANES);
                        next
                    };
                    if across {
                        // SAFETY: as above.
                        unsafe { self.tiles_across_rows::<S, STEP>(most.min(SCATTERED), pixel, tile) };
                    } else {
                        for (image, r) in (0..self.images).flat_map(|image| (0..self.rows).map(move |r| (image, r))) {
                            for (start, p) in parts(self.cols, most) {
                                // SAFETY: as above.
                                unsafe { gemm_microkernel::<S, STEP>(p, nv, &tile((image, r, start))) };
                            }
                        }
                    }
                    row += rows;
                }
            }
        }
    }

    /// Cuts all pixels into tiles of `most`, whose pixels may lie in several rows.
    #[inline(always)]
    unsafe fn tiles_across_rows<'a, S: Simd, const STEP: usize>(
        &self,
        most: usize,
        pixel: impl Fn((usize, usize, usize)) -> (usize, usize, usize),
        mut tile: impl FnMut((usize, usize, usize)) -> MicroTile<'a>,
    ) {
        let in_row = |at: (usize, usize, usize)| match at {
            (image, r, c) if c < self.cols => (image, r, c),
            (image, r, _) if r + 1 < self.rows => (image, r + 1, 0),
            (image, ..) => (image + 1, 0, 0),
        };
        let mut at = (0, 0, 0);
        let mut left = self.images * self.rows * self.cols;
        while left > 0 {
            at = in_row(at);
            let (p, tile, start) = (most.min(left), tile(at), pixel(at));
            left -= p;
            if at.2 + p <= self.cols {
                // SAFETY: as the caller promises.
                unsafe { gemm_microkernel::<S, STEP>(p, 1, &tile) };
                at.2 += p;
                continue;
            }
            let mut pixels = Scattered::default();
            for i in 0..p {
                at = in_row(at);
                let (x, y, residual) = pixel(at);
                (pixels.x[i], pixels.y[i]) = (x - start.0, y - start.1);
                // Where there is none, its places go back with every row.
                pixels.residual[i] = residual.wrapping_sub(start.2);
                at.2 += 1;
            }
            // SAFETY: as the caller promises.
            unsafe { scattered_gemm_microkernel::<S>(p, &tile, &pixels) };
        }
    }
}

/// The weight gradient of one pair of scratches, into `dw`: (group, unit of the spans, padded output channel).
#[derive(Clone, Copy)]
pub(crate) struct OuterProduct<'a> {
    pub x: *const f32,
    pub x_row: usize,
    pub x_image: usize,
    pub x_group: usize,
    pub spans: &'a [KSpan],
    pub dy: *const f32,
    pub dy_row: usize,
    pub dy_image: usize,
    /// Units of one panel of `dy`, and of the panels of one group.
    pub dy_panel: usize,
    pub dy_group: usize,
    pub groups: usize,
    /// Output channels of a group.
    pub outputs: usize,
    pub vectors: usize,
    pub images: usize,
    pub rows: usize,
    pub cols: usize,
    pub dw: *mut f32,
    /// Values of one row of `dw`: the group's outputs, rounded up to whole tiles.
    pub dw_row: usize,
    /// Whether to add to what is in `dw`.
    pub accumulate: bool,
}

impl Kernel for OuterProduct<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let panels = self.outputs.div_ceil(LANES);
        let most = S::ROWS[width_index(self.vectors)].min(8);
        let group_rows: usize = self.spans.iter().map(|span| span.len).sum();
        let units = self.spans.iter().flat_map(|span| span.offset..span.offset + span.len);
        let units: Vec<usize> = if S::FEW_REGISTERS { units.collect() } else { Vec::new() };
        for group in 0..self.groups {
            for panel in (0..panels).step_by(self.vectors) {
                // The last panel may stand alone.
                let nv = self.vectors.min(panels - panel);
                let most = if nv == self.vectors { most } else { S::ROWS[0].min(8) };
                // The tile of the units from `unit` on, whose first row of the gradient is `row`.
                // SAFETY: the caller's scratches hold all pixels.
                let tile = |unit: usize, row: usize| unsafe {
                    OuterMicroTile {
                        x: self.x.add(unit + group * self.x_group),
                        x_row: self.x_row,
                        x_image: self.x_image,
                        dy: self.dy.add(group * self.dy_group + panel * self.dy_panel),
                        dy_row: self.dy_row,
                        dy_image: self.dy_image,
                        dy_vector: self.dy_panel,
                        images: self.images,
                        rows: self.rows,
                        cols: self.cols,
                        dw: self.dw.add((group * group_rows + row) * self.dw_row + panel * LANES),
                        dw_row: self.dw_row,
                        accumulate: self.accumulate,
                    }
                };
                if S::FEW_REGISTERS {
                    // Tiles may lie in several spans: those of 16 units would be cut into tiles of 6, 5 and 5.
                    for (i, units) in units.chunks(most.min(SCATTERED)).enumerate() {
                        let (first, row) = (units[0], i * most.min(SCATTERED));
                        let tile = tile(first, row);
                        // SAFETY: as above.
                        unsafe {
                            if units[units.len() - 1] == first + units.len() - 1 {
                                outer_microkernel::<S>(units.len(), 1, &tile);
                            } else {
                                let mut offsets = [0isize; SCATTERED];
                                for (offset, &unit) in offsets.iter_mut().zip(units) {
                                    *offset = unit as isize - first as isize;
                                }
                                scattered_outer_microkernel::<S>(units.len(), &tile, &offsets);
                            }
                        }
                    }
                    continue;
                }
                let mut row = 0;
                for span in self.spans {
                    for (start, p) in parts(span.len, most) {
                        // SAFETY: as above.
                        unsafe { outer_microkernel::<S>(p, nv, &tile(span.offset + start, row + start)) };
                    }
                    row += span.len;
                }
            }
        }
    }
}

/// Cuts `count` into equal parts of at most `most`: (start, length) of each.
#[inline(always)]
fn parts(count: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let n = count.div_ceil(most);
    (0..n).map(move |i| (i * count / n, (i + 1) * count / n - i * count / n))
}
