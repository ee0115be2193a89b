//! A gather convolution over one scratch: output pixels from packed weights, tile by tile.

use super::geometry::{Run, parts};
use super::isa::{Kernel, Simd};
use super::tile::{GatherTile, OuterTile, gather_tile, outer_tile, width_index};
use super::weights::Packed;

/// `rows × cols` output pixels of one phase.
pub(crate) struct Gather<'a> {
    pub scratch: *const f32,
    /// Scratch values from one output pixel, and one output row, to the next.
    pub x_pixel: usize,
    pub x_row: usize,
    /// Scratch values from one group's channels to the next.
    pub x_group: usize,
    pub blocks: &'a [Vec<Run>],
    pub weights: &'a Packed,
    pub groups: usize,
    /// Initial values of the output channels of all groups, padded to whole blocks; or null.
    pub bias: *const f32,
    pub y: *mut f32,
    pub y_pixel: usize,
    pub y_row: usize,
    pub rows: usize,
    pub cols: usize,
}

impl Kernel for Gather<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let nv = self.weights.vectors;
        let most = S::ROWS[width_index(nv)];
        let (width, outputs) = (self.weights.width(), self.weights.outputs);
        for group in 0..self.groups {
            for block in 0..self.weights.blocks() {
                let channels = width.min(outputs - block * width);
                let mut row = 0;
                for (k, runs) in self.blocks.iter().enumerate() {
                    let first = group * self.weights.group_len() + (block * self.weights.rows + row) * width;
                    for r in 0..self.rows {
                        for (start, p) in parts(self.cols, most) {
                            // SAFETY: the caller's scratch, weights and output hold all these pixels.
                            unsafe {
                                let y = self.y.add(r * self.y_row + start * self.y_pixel);
                                let bias = if k == 0 && !self.bias.is_null() {
                                    self.bias.add(group * outputs + block * width)
                                } else {
                                    std::ptr::null()
                                };
                                let tile = GatherTile {
                                    x: self.scratch.add(r * self.x_row + start * self.x_pixel + group * self.x_group),
                                    x_pixel: self.x_pixel,
                                    runs,
                                    weights: self.weights.data.as_ptr().add(first),
                                    y: y.add(group * outputs + block * width),
                                    y_pixel: self.y_pixel,
                                    channels,
                                    accumulate: k > 0,
                                    bias,
                                };
                                gather_tile::<S>(p, nv, &tile);
                            }
                        }
                    }
                    row += runs.iter().map(|run| run.len).sum::<usize>();
                }
            }
        }
    }
}

/// The weight gradient of one scratch pair, added to `dw`: (group, run rows, padded output channel).
pub(crate) struct Outer<'a> {
    pub x: *const f32,
    pub x_pixel: usize,
    pub x_row: usize,
    pub x_group: usize,
    pub runs: &'a [Run],
    pub dy: *const f32,
    pub dy_pixel: usize,
    pub dy_row: usize,
    pub groups: usize,
    /// Output channels of a group.
    pub outputs: usize,
    pub vectors: usize,
    pub rows: usize,
    pub cols: usize,
    pub dw: *mut f32,
    /// Values of one row of `dw`: the group's outputs, rounded up to whole tiles.
    pub dw_row: usize,
}

impl Kernel for Outer<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (nv, width) = (self.vectors, 16 * self.vectors);
        let most = S::ROWS[width_index(nv)];
        let group_rows: usize = self.runs.iter().map(|run| run.len).sum();
        for group in 0..self.groups {
            for first in (0..self.outputs).step_by(width) {
                let mut row = group * group_rows;
                for run in self.runs {
                    for (start, p) in parts(run.len, most) {
                        // SAFETY: the caller's scratches hold all pixels and a tile's width beyond the last.
                        unsafe {
                            let tile = OuterTile {
                                x: self.x.add(run.offset + start + group * self.x_group),
                                x_pixel: self.x_pixel,
                                x_row: self.x_row,
                                dy: self.dy.add(group * self.outputs + first),
                                dy_pixel: self.dy_pixel,
                                dy_row: self.dy_row,
                                rows: self.rows,
                                cols: self.cols,
                                dw: self.dw.add((row + start) * self.dw_row + first),
                                dw_row: self.dw_row,
                            };
                            outer_tile::<S>(p, nv, &tile);
                        }
                    }
                    row += run.len;
                }
            }
        }
    }
}
