//! Where a convolution's results are computed, and what follows on them while they are hot.

use std::ops::Range;

use super::tiling::merged;
use crate::cpu::buffer::{Growing, Shared};
use crate::cpu::isa::Isa;

/// What happens to a tile of the result, right after it was computed.
pub(crate) trait Epilogue: Send {
    /// Pixels `range` of the flat (N · H · W) map, at `values`.
    ///
    /// # Safety
    /// `values` holds them, channel by channel.
    unsafe fn pixels(&mut self, isa: Isa, range: Range<usize>, values: *mut f32);
}

/// Where a result is computed: in place if it is stored as f32 and new, else in the item's own scratch.
pub(crate) enum Target {
    Direct(Shared<f32>),
    Scratch,
}

/// Where an item's results are computed.
pub(super) struct Placement {
    /// Flat pixels of each tile, in the map.
    pub ranges: Vec<Range<usize>>,
    pub y: *mut f32,
    /// Values from one tile's results to the next's.
    pub step: usize,
}

impl Placement {
    pub fn new(target: &Target, own: &mut Growing, ranges: Vec<Range<usize>>, channels: usize) -> Self {
        let first = ranges.first().cloned().unwrap_or_default();
        let (y, pixels) = match target {
            Target::Direct(map) => (
                map.get().wrapping_add(first.start * channels),
                ranges.get(1).map_or(0, |second| second.start - first.start),
            ),
            Target::Scratch => (own.get(ranges.iter().map(Range::len).sum::<usize>() * channels), first.len()),
        };
        Self { ranges, y, step: pixels * channels }
    }

    /// Hands the results on.
    ///
    /// # Safety
    /// They must have been computed.
    pub unsafe fn pass_on(self, isa: Isa, epilogue: &mut impl Epilogue) {
        for (first, range) in merged(&self.ranges) {
            // SAFETY: tiles that follow one another in the map do so in the results.
            unsafe { epilogue.pixels(isa, range, self.y.add(first * self.step)) };
        }
    }
}
