//! How work is cut into blocks. Every block has [`THREADS`] threads (`THREADS` in common.cuh).

use super::runtime::Element;

pub(crate) const THREADS: usize = 256;

/// Blocks of a launch that strides over its values: enough to fill any device several times, few enough to begin fast.
const MOST_BLOCKS: usize = 4096;

/// Blocks that share a sum over pixels: eight for each of the 132 processors of a large device.
const BLOCKS_OF_A_SUM: usize = 1056;

/// Pixels that a thread should at least sum over before partial sums are merged.
const LEAST_PIXELS: usize = 4;

/// Channels of a block that merges partial sums (`FINISH_CHANNELS` in norm.cu).
const FINISH_CHANNELS: usize = 2;

/// Blocks in two directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    pub x: usize,
    pub y: usize,
}

impl Grid {
    /// For kernels that stride over `count` values.
    pub(crate) fn over(count: usize) -> Self {
        Self { x: count.div_ceil(THREADS).clamp(1, MOST_BLOCKS), y: 1 }
    }

    /// For kernels that merge the partial sums of `channels`.
    pub(crate) fn finish(channels: usize) -> Self {
        Self { x: channels.div_ceil(FINISH_CHANNELS), y: 1 }
    }
}

/// Bytes that a thread reads at once, from a multiple of them.
pub(crate) const PACK_BYTES: u64 = 16;

/// Channels that a thread reads at once: 16 bytes, where the channels divide into that.
pub(crate) fn pack(channels: usize, element: Element) -> usize {
    let widest = PACK_BYTES as usize / element.size();
    if channels.is_multiple_of(widest) { widest } else { 1 }
}

/// A sum over pixels of channels-last values: see norm.cu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reduction {
    /// Neighbouring threads that read neighbouring channels; a power of two.
    pub group: usize,
    /// Blocks over channels and over pixels; `grid.y` is the number of partial results.
    pub grid: Grid,
}

impl Reduction {
    pub(crate) fn new(pixels: usize, channels: usize, pack: usize) -> Self {
        let threads = channels.div_ceil(pack);
        let group = threads.min(32).next_power_of_two();
        let x = threads.div_ceil(group);
        let lanes = THREADS / group;
        let y = (pixels / (lanes * LEAST_PIXELS)).clamp(1, (BLOCKS_OF_A_SUM / x).max(1));
        Self { group, grid: Grid { x, y } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_has_a_thread_and_groups_are_powers_of_two() {
        for channels in 1..200 {
            for element in [Element::F32, Element::Bf16] {
                let pack = pack(channels, element);
                assert_eq!(channels % pack, 0);
                for pixels in [1, 7, 49, 4096, 128 * 1024] {
                    let Reduction { group, grid } = Reduction::new(pixels, channels, pack);
                    assert!(group.is_power_of_two() && group <= 32);
                    assert!(grid.x * group * pack >= channels && (grid.x - 1) * group * pack < channels);
                    assert!(grid.y >= 1 && grid.x * grid.y <= BLOCKS_OF_A_SUM.max(grid.x));
                }
            }
        }
    }

    #[test]
    fn packs_are_16_bytes_where_channels_allow_it() {
        assert_eq!((pack(64, Element::F32), pack(64, Element::Bf16)), (4, 8));
        assert_eq!((pack(3, Element::F32), pack(12, Element::F16)), (1, 1));
    }

    #[test]
    fn strides_over_the_most_values_do_not_wrap() {
        // FOR_EACH_INDEX adds the grid's threads to an index below the count, in 32 bits.
        let Grid { x, y } = Grid::over(i32::MAX as usize);
        assert!(y == 1 && (i32::MAX as usize).checked_add(x * THREADS).is_some_and(|last| last <= u32::MAX as usize));
    }

    #[test]
    fn no_launch_is_empty() {
        assert_eq!(Grid::over(0), Grid { x: 1, y: 1 });
        assert_eq!(Grid::over(257), Grid { x: 2, y: 1 });
        assert_eq!(Grid::over(1 << 30).x, MOST_BLOCKS);
        assert_eq!(Grid::finish(17), Grid { x: 9, y: 1 });
    }
}
