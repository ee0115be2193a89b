//! A picture with the crops, flips and holes that are still to be done.
//!
//! Steps that only choose pixels are kept as numbers and carried out in the one pass that writes the batch. Rows and
//! columns of the source may lie outside the picture: there it is padded.

use super::Padding;
use super::resize::{Filter, resize_part};
use crate::{Error, Image, Result};

/// Most pixels of a resized picture: what is larger is not made whole.
const MOST_RESIZED: usize = 1 << 25;

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
    /// What the image is still to be resized to (rows, columns), where that would be too large to do for the whole: frame
    /// and holes are in the resized image's coordinates.
    resized: Option<((usize, usize), Filter)>,
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
        Self {
            image,
            resized: None,
            frame,
            flipped: false,
            padding: Padding::Black,
            holes: Vec::new(),
            shift: [0.0; 3],
        }
    }

    /// Puts off resizing the whole image to `target`, where that would be too large; false where it is not.
    pub(super) fn resize_later(&mut self, target: (usize, usize), filter: Filter) -> bool {
        debug_assert!(self.is_whole() && self.resized.is_none(), "resizing comes before cropping and padding");
        let large = target.0.saturating_mul(target.1) > MOST_RESIZED;
        if large {
            self.resized = Some((target, filter));
            self.frame = Rectangle { top: 0, left: 0, height: target.0, width: target.1 };
        }
        large
    }

    /// Makes the resized picture, as far as it is seen.
    pub(super) fn settle(&mut self, origin: &dyn Fn() -> String) -> Result<()> {
        if self.resized.is_some() {
            *self = self.settled(origin)?;
        }
        Ok(())
    }

    /// A square of what is seen, resized where that was put off.
    pub(super) fn square(&mut self, top: usize, left: usize, size: usize, origin: &dyn Fn() -> String) -> Result<Self> {
        let frame = self.within(top as isize, left as isize, size, size);
        let whole = std::mem::replace(&mut self.frame, frame);
        let square = self.settled(origin);
        self.frame = whole;
        square
    }

    fn settled(&self, origin: &dyn Fn() -> String) -> Result<Self> {
        let Some((target, filter)) = self.resized else { return Ok(self.clone()) };
        let seen = self.visible();
        if seen.height * seen.width > MOST_RESIZED {
            let ((rows, columns), (height, width)) = (target, (self.image.height, self.image.width));
            let message = format!("its {height}x{width} pixels would have to be resized to {rows}x{columns}");
            return Err(Error::Decode { path: origin(), message });
        }
        let part = (seen.top as usize, seen.left as usize, seen.height, seen.width);
        let image = if seen.height * seen.width == 0 {
            Image::filled(0, 0, [0; 3])
        } else {
            resize_part(&self.image, target, part, filter)?
        };
        let moved = |place: Rectangle| Rectangle { top: place.top - seen.top, left: place.left - seen.left, ..place };
        let holes = self.holes.iter().copied().map(moved).collect();
        let (flipped, padding, shift) = (self.flipped, self.padding, self.shift);
        Ok(Self { image, resized: None, frame: moved(self.frame), flipped, padding, holes, shift })
    }

    /// Rows and columns of the image, resized.
    fn extent(&self) -> (usize, usize) {
        self.resized.map_or((self.image.height, self.image.width), |(target, _)| target)
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
        let (height, width) = self.extent();
        self.frame == Rectangle { top: 0, left: 0, height, width }
    }

    /// The part of the frame that lies on the image, in the image's coordinates.
    pub(super) fn visible(&self) -> Rectangle {
        let clip = |start: isize, length: usize, limit: usize| {
            let from = start.clamp(0, limit as isize);
            let to = (start + length as isize).clamp(from, limit as isize);
            (from, (to - from) as usize)
        };
        let (rows, columns) = self.extent();
        let (top, height) = clip(self.frame.top, self.frame.height, rows);
        let (left, width) = clip(self.frame.left, self.frame.width, columns);
        Rectangle { top, left, height, width }
    }
}
