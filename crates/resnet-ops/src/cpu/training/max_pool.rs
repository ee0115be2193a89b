//! Max-pooling of one image, channels-last.

use crate::PoolConfig;
use crate::cpu::element::Element;
use crate::cpu::isa::{Kernel, Simd};
use crate::graph::MapShape;

/// The maximum of each window and the position within the window that it came from.
pub(crate) struct MaxPool<E> {
    pub config: PoolConfig,
    pub input: MapShape,
    pub output: MapShape,
    /// The image, (H, W, C).
    pub x: *const f32,
    /// (H', W', C)
    pub y: *mut E,
    /// (H', W', C)
    pub positions: *mut u8,
}

/// The taps of the window at output `o` that lie inside `size` pixels: (tap, pixel).
#[inline(always)]
fn inside(o: usize, kernel: usize, stride: usize, padding: usize, size: usize) -> impl Iterator<Item = (usize, usize)> {
    let start = o * stride;
    let first = padding.saturating_sub(start);
    let last = kernel.min((size + padding).saturating_sub(start));
    (first..last).map(move |tap| (tap, start + tap - padding))
}

impl<E: Element> Kernel for MaxPool<E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.input.channels;
        let (kernel, stride, padding) = (self.config.kernel, self.config.stride, self.config.padding);
        let mut best = vec![0f32; channels];
        for oi in 0..self.output.height {
            for oj in 0..self.output.width {
                let at = (oi * self.output.width + oj) * channels;
                // SAFETY: the output holds this pixel.
                let positions = unsafe { std::slice::from_raw_parts_mut(self.positions.add(at), channels) };
                let mut fresh = true;
                for (a, i) in inside(oi, kernel.0, stride.0, padding.0, self.input.height) {
                    for (b, j) in inside(oj, kernel.1, stride.1, padding.1, self.input.width) {
                        let tap = (a * kernel.1 + b) as u8;
                        let from = (i * self.input.width + j) * channels;
                        // SAFETY: the input holds this pixel.
                        let x = unsafe { std::slice::from_raw_parts(self.x.add(from), channels) };
                        if fresh {
                            best.copy_from_slice(x);
                            positions.fill(tap);
                            fresh = false;
                            continue;
                        }
                        for c in 0..channels {
                            // Like PyTorch, NaN wins; of equal values the first stays.
                            let wins = x[c] > best[c] || x[c].is_nan();
                            best[c] = if wins { x[c] } else { best[c] };
                            positions[c] = if wins { tap } else { positions[c] };
                        }
                    }
                }
                for (c, &value) in best.iter().enumerate() {
                    // SAFETY: the output holds this pixel.
                    unsafe { *self.y.add(at + c) = E::from_f32(value) };
                }
            }
        }
    }
}

/// Adds each output's gradient to the input that it came from.
pub(crate) struct MaxPoolBackward<E> {
    pub config: PoolConfig,
    pub input: MapShape,
    pub output: MapShape,
    pub dy: *const E,
    pub positions: *const u8,
    /// (H, W, C), added to.
    pub dx: *mut f32,
}

impl<E: Element> Kernel for MaxPoolBackward<E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.input.channels;
        let (kernel, stride, padding) = (self.config.kernel, self.config.stride, self.config.padding);
        for oi in 0..self.output.height {
            for oj in 0..self.output.width {
                let at = (oi * self.output.width + oj) * channels;
                for c in 0..channels {
                    // SAFETY: positions name taps that lie inside the input.
                    unsafe {
                        let tap = *self.positions.add(at + c) as usize;
                        let i = oi * stride.0 + tap / kernel.1 - padding.0;
                        let j = oj * stride.1 + tap % kernel.1 - padding.1;
                        *self.dx.add((i * self.input.width + j) * channels + c) += (*self.dy.add(at + c)).to_f32();
                    }
                }
            }
        }
    }
}
