//! Activations as inference keeps them: panels of 16 channels, with a border of zeros that convolutions read.

use crate::cpu::buffer::{Buffer, Shared};
use crate::cpu::geometry::{LANES, Window};
use crate::graph::MapShape;

/// The layout of a batch: (image, panel, row, column, 16), each image's panels with a border around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub n: usize,
    pub shape: MapShape,
    pub border: usize,
}

impl Layout {
    /// One image's rows and columns, the border included.
    pub(super) fn window(&self) -> Window {
        let (rows, cols) = (self.shape.height + 2 * self.border, self.shape.width + 2 * self.border);
        Window { row: 0, col: 0, rows, cols, row_step: 1, col_step: 1, split: 1 }
    }
    /// Values from one row to the next.
    pub(super) fn row(&self) -> usize {
        self.window().row_len()
    }
    pub(super) fn panels(&self) -> usize {
        self.shape.channels.div_ceil(LANES)
    }
    /// Values of one panel.
    pub(super) fn panel(&self) -> usize {
        self.window().panel_len()
    }
    pub(super) fn image(&self) -> usize {
        self.panels() * self.panel()
    }
    pub(super) fn len(&self) -> usize {
        self.n * self.image()
    }
    /// Offset of a pixel of the first panel of the first image; the border has negative rows and columns.
    pub(super) fn at(&self, row: isize, col: isize) -> usize {
        let border = self.border as isize;
        (row + border) as usize * self.row() + (col + border) as usize * LANES
    }
}

/// A batch of activations.
pub(super) struct Map {
    pub layout: Layout,
    pub values: Buffer<f32>,
}

impl Map {
    /// Unspecified inside, zero in the border. Nothing depends on channels beyond the last.
    pub(super) fn new(layout: Layout) -> Self {
        let mut map = Self { layout, values: Buffer::new(layout.len()) };
        let (border, row, panel) = (layout.border, layout.row(), layout.panel());
        if border > 0 {
            let height = layout.shape.height + 2 * border;
            for image in map.values.as_mut_slice().chunks_exact_mut(panel) {
                for (r, values) in image.chunks_exact_mut(row).take(height).enumerate() {
                    if r < border || r + border >= height {
                        values.fill(0.);
                    } else {
                        values[..border * LANES].fill(0.);
                        values[row - border * LANES..].fill(0.);
                    }
                }
            }
        }
        map
    }

    pub(super) fn shared(&mut self) -> Shared<f32> {
        self.values.shared()
    }

    /// Pointer to a pixel of the first panel of an image.
    pub(super) fn at(&self, image: usize, row: isize, col: isize) -> *const f32 {
        // SAFETY: inside the map, as callers stay within its border.
        unsafe { self.values.as_ptr().add(image * self.layout.image() + self.layout.at(row, col)) }
    }
}
