//! Activations as inference keeps them: panels of 16 channels, of 32 in bf16, with a border of zeros that convolutions
//! read.

use crate::cpu::buffer::{Buffer, Shared};
use crate::cpu::conv::window::{IMAGE_CHANNELS, LANES, Panels, Window};
use crate::cpu::element::{Bf16, Element};
use crate::cpu::isa::Arithmetic;
use crate::graph::MapShape;

/// What a map holds: f32, or bf16 that is multiplied in pairs.
pub(super) trait Stored: Element {
    const ARITHMETIC: Arithmetic;
    /// Vectors of 16 channels in one panel, and values in one 32-bit unit.
    const VALUES: usize = Self::ARITHMETIC.values();
    /// Whether convolutions store bf16.
    const NARROW: bool = Self::VALUES > 1;
}

impl Stored for f32 {
    const ARITHMETIC: Arithmetic = Arithmetic::F32;
}

impl Stored for Bf16 {
    const ARITHMETIC: Arithmetic = Arithmetic::Bf16Dot;
}

/// The layout of a batch: (image, panel, row, column, channel of the panel), each image's panels with a border around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub n: usize,
    pub shape: MapShape,
    pub border: usize,
    /// Values in one 32-bit unit (see [`Stored`]).
    pub values: usize,
    /// Whether a pixel holds its channels alone, not a panel: a image's three.
    pub unpadded: bool,
}

impl Layout {
    /// One image's rows and columns in units, the border included.
    pub(super) fn window(&self) -> Window {
        let (rows, cols) = (self.shape.height + 2 * self.border, self.shape.width + 2 * self.border);
        let pixel = self.pixel() / self.values;
        Window { row: 0, col: 0, rows, cols, row_step: 1, col_step: 1, split: 1, pixel }
    }
    /// Values from one row to the next.
    pub(super) fn row(&self) -> usize {
        self.window().row_len() * self.values
    }
    /// Values of one pixel of a panel, which are its channels.
    pub(super) fn pixel(&self) -> usize {
        if self.unpadded { IMAGE_CHANNELS } else { LANES * self.values }
    }
    /// The channels, those of each group in panels of their own.
    pub(super) fn channels(&self, groups: usize) -> Panels {
        Panels { groups, channels: self.shape.channels / groups, values: self.values }
    }
    pub(super) fn panels(&self) -> usize {
        self.channels(1).count()
    }
    /// Values of one panel.
    pub(super) fn panel(&self) -> usize {
        self.window().panel_len() * self.values
    }
    /// Offset of 16 channels, counted in vectors.
    pub(super) fn vector(&self, vector: usize) -> usize {
        vector / self.values * self.panel() + vector % self.values * LANES
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
        (row + border) as usize * self.row() + (col + border) as usize * self.pixel()
    }
}

/// A batch of activations.
pub(super) struct Map<E> {
    pub layout: Layout,
    pub values: Buffer<E>,
}

impl<E: Stored> Map<E> {
    /// Unspecified inside, zero in the border. Nothing depends on channels beyond the last.
    pub(super) fn new(layout: Layout) -> Self {
        let mut map = Self { layout, values: Buffer::new(layout.len()) };
        let (border, row, panel) = (layout.border, layout.row(), layout.panel());
        let edge = border * layout.pixel();
        if border > 0 {
            let height = layout.shape.height + 2 * border;
            for image in map.values.as_mut_slice().chunks_exact_mut(panel) {
                for (r, values) in image.chunks_exact_mut(row).take(height).enumerate() {
                    if r < border || r + border >= height {
                        values.fill(E::default());
                    } else {
                        values[..edge].fill(E::default());
                        values[row - edge..].fill(E::default());
                    }
                }
            }
        }
        map
    }

    pub(super) fn shared(&mut self) -> Shared<E> {
        self.values.shared()
    }

    /// Pointer to a pixel of the first panel of an image.
    pub(super) fn at(&self, image: usize, row: isize, col: isize) -> *const E {
        self.values.as_ptr().wrapping_add(image * self.layout.image() + self.layout.at(row, col))
    }
}
