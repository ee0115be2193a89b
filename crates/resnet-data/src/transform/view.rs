//! A picture with the crops, flips and holes that are still to be done.
//!
//! Steps that only choose pixels are kept as numbers and carried out in the one pass that writes the batch. Rows and
//! columns of the source may lie outside the picture: there it is padded.

use super::Padding;
use crate::Image;

/// A rectangle in the coordinates of the source image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rectangle {
    pub(super) top: isize,
    pub(super) left: isize,
    pub(super) height: usize,
    pub(super) width: usize,
}

/// An image seen through a frame.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(super) image: Image,
    pub(super) frame: Rectangle,
    /// True where the frame is read from right to left.
    pub(super) flipped: bool,
    /// What is seen outside the image.
    pub(super) padding: Padding,
    /// Where nothing is seen: zero in the batch.
    pub(super) holes: Vec<Rectangle>,
    /// What is added to red, green and blue, in units of 255.
    pub(super) shift: [f32; 3],
}

impl View {
    pub(crate) fn new(image: Image) -> Self {
        let frame = Rectangle { top: 0, left: 0, height: image.height, width: image.width };
        Self { image, frame, flipped: false, padding: Padding::Black, holes: Vec::new(), shift: [0.0; 3] }
    }

    /// Rows and columns that are seen.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.frame.height, self.frame.width)
    }

    /// Row and column of the image where the frame begins, and whether it is read from right to left.
    pub(crate) fn place(&self) -> (isize, isize, bool) {
        (self.frame.top, self.frame.left, self.flipped)
    }

    /// Part of what is seen, in the image's coordinates; (top, left) may be negative.
    fn within(&self, top: isize, left: isize, height: usize, width: usize) -> Rectangle {
        let left = if self.flipped { self.frame.width as isize - left - width as isize } else { left };
        Rectangle { top: self.frame.top + top, left: self.frame.left + left, height, width }
    }

    /// Looks at a part, or beyond the edges, of what is seen.
    pub(super) fn crop(&mut self, top: isize, left: isize, height: usize, width: usize) {
        self.frame = self.within(top, left, height, width);
    }

    /// Mirrors left and right.
    pub(super) fn flip(&mut self) {
        self.flipped = !self.flipped;
    }

    /// Hides a part of what is seen.
    pub(super) fn hide(&mut self, top: isize, left: isize, height: usize, width: usize) {
        let hole = self.within(top, left, height, width);
        self.holes.push(hole);
    }

    /// Carries out the flip, for steps that look at the pixels. Crops and holes come after those.
    pub(super) fn upright(&mut self) {
        debug_assert!(self.is_whole(), "whole pictures come before crops");
        if std::mem::take(&mut self.flipped) {
            for row in self.image.pixels.chunks_exact_mut(self.image.width.max(1) * 3) {
                row.reverse();
                row.chunks_exact_mut(3).for_each(<[u8]>::reverse);
            }
        }
    }

    /// True where nothing has been cropped or padded.
    pub(super) fn is_whole(&self) -> bool {
        self.frame == Rectangle { top: 0, left: 0, height: self.image.height, width: self.image.width }
    }

    /// The part of the frame that lies on the image, in the image's coordinates.
    pub(super) fn visible(&self) -> Rectangle {
        let clip = |start: isize, length: usize, limit: usize| {
            let from = start.clamp(0, limit as isize);
            let to = (start + length as isize).clamp(from, limit as isize);
            (from, (to - from) as usize)
        };
        let (top, height) = clip(self.frame.top, self.frame.height, self.image.height);
        let (left, width) = clip(self.frame.left, self.frame.width, self.image.width);
        Rectangle { top, left, height, width }
    }
}
