//! Which part of a map is copied into a scratch, and how it lies there.

/// Units of a panel's pixel: one vector.
pub(crate) const LANES: usize = 16;

/// Channels of an image, whose pixels may lie one after the other.
pub(crate) const IMAGE_CHANNELS: usize = 3;

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
