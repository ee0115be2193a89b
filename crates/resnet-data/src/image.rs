//! A decoded picture.

/// A picture in memory: 8-bit RGB, rows from top to bottom, the three channels of a pixel side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `height * width * 3` values in the order (row, column, channel).
    pub pixels: Vec<u8>,
}

impl Image {
    /// An image of one colour.
    pub fn filled(height: usize, width: usize, colour: [u8; 3]) -> Self {
        Self { height, width, pixels: colour.repeat(height * width) }
    }

    /// An image from planes, the order of CIFAR's files: (channel, row, column).
    ///
    /// `planes` must hold `3 * height * width` values.
    pub fn from_planes(height: usize, width: usize, planes: &[u8]) -> Self {
        let mut pixels = vec![0; planes.len()];
        interleave(planes, &mut pixels);
        Self { height, width, pixels }
    }

    /// The colour at a row and a column, or `None` outside.
    pub fn get(&self, row: usize, column: usize) -> Option<[u8; 3]> {
        if row >= self.height || column >= self.width {
            return None;
        }
        let start = (row * self.width + column) * 3;
        self.pixels.get(start..start + 3).and_then(|p| p.try_into().ok())
    }
}

/// (channel, position) to (position, channel).
pub(crate) fn interleave(planes: &[u8], pixels: &mut [u8]) {
    let (red, rest) = planes.split_at(planes.len() / 3);
    let (green, blue) = rest.split_at(rest.len() / 2);
    for (((pixel, &r), &g), &b) in pixels.chunks_exact_mut(3).zip(red).zip(green).zip(blue) {
        pixel.copy_from_slice(&[r, g, b]);
    }
}
