//! Copies a window of a map into a scratch, padded with zeros, through what stands before the convolution.

use super::window::{LANES, Panels, Window};
use crate::cpu::element::Element;
use crate::cpu::isa::{Arithmetic, Bf16Kernel, Isa, Kernel, Simd, SimdBf16, launch, launch_bf16};

/// What is copied.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a, E> {
    /// The values as they are.
    Plain { x: *const E },
    /// `x · scale + shift`, by channel, and if asked for its ReLU: a batch norm on the way.
    Affine { x: *const E, scale: &'a [f32], shift: &'a [f32], relu: bool },
    /// The ReLU of the values.
    Relu { x: *const E },
    /// `a · g + b · x + c`, by channel: the gradient that comes out of a batch norm.
    Gradient { g: *const E, x: *const E, a: &'a [f32], b: &'a [f32], c: &'a [f32] },
}

impl<E: Element> Source<'_, E> {
    /// The same from value `offset` on.
    ///
    /// # Safety
    /// The maps must hold that many values.
    pub(crate) unsafe fn at(&self, offset: usize) -> Self {
        // SAFETY: as the caller promises.
        unsafe {
            match *self {
                Source::Plain { x } => Source::Plain { x: x.add(offset) },
                Source::Relu { x } => Source::Relu { x: x.add(offset) },
                Source::Affine { x, scale, shift, relu } => Source::Affine { x: x.add(offset), scale, shift, relu },
                Source::Gradient { g, x, a, b, c } => Source::Gradient { g: g.add(offset), x: x.add(offset), a, b, c },
            }
        }
    }
}

/// One image (h, w, channels) into a scratch.
pub(crate) struct Pack<'a, E> {
    pub source: Source<'a, E>,
    pub image: (usize, usize, usize),
    pub window: Window,
    pub panels: Panels,
    pub scratch: *mut f32,
}

/// Packs in the given arithmetic's units.
///
/// # Safety
/// The source must hold the image, the scratch the window.
pub(crate) unsafe fn pack<E: Element>(isa: Isa, arithmetic: Arithmetic, pack: Pack<E>) {
    // SAFETY: as the caller promises.
    unsafe {
        match arithmetic {
            Arithmetic::F32 => launch(isa, pack),
            Arithmetic::Bf16Dot => launch_bf16(pack),
        }
    }
}

/// Bytes that are asked for ahead of reading. Channels are read panel by panel, which the processor does not foresee.
const AHEAD: usize = 4096;

/// Pixels that are packed panel by panel: few, so that the source is read in its order.
fn block_pixels(channels: usize) -> usize {
    (128 / channels.max(1)).max(1)
}

/// Some neighbouring pixels of one row, of one panel.
struct Block {
    /// Source offset of the first pixel and channel, and from one pixel to the next.
    from: usize,
    step: usize,
    /// Target offset of the first pixel; the others follow.
    to: usize,
    pixels: usize,
    /// First channel, and how many.
    channel: usize,
    count: usize,
}

impl<E: Element> Pack<'_, E> {
    /// Calls `each` for every block inside the map; zeros are written around them.
    #[inline(always)]
    unsafe fn blocks(&self, mut each: impl FnMut(&Block)) {
        let (h, w, channels) = self.image;
        let (window, panels) = (&self.window, self.panels.count());
        // The columns whose pixels lie inside.
        let inside = |c: usize| {
            let col = window.col + (c * window.col_step) as isize;
            (0..w as isize).contains(&col)
        };
        let first = (0..window.cols).find(|&c| inside(c)).unwrap_or(window.cols);
        let last = (first..window.cols).rev().find(|&c| inside(c)).map_or(first, |c| c + 1);
        for r in 0..window.rows {
            let row = window.row + (r * window.row_step) as isize;
            let empty = !(0..h as isize).contains(&row) || first == last;
            for panel in 0..panels {
                let start = panel * window.panel_len() + r * window.row_len();
                // SAFETY: the scratch holds the window.
                let out = unsafe { std::slice::from_raw_parts_mut(self.scratch.add(start), window.row_len()) };
                if empty {
                    out.fill(0.);
                } else {
                    for c in (0..first).chain(last..window.cols) {
                        out[window.position(c) * LANES..][..LANES].fill(0.);
                    }
                }
            }
            if empty {
                continue;
            }
            let most = block_pixels(channels);
            for phase in 0..window.split {
                // The columns that lie side by side in the scratch.
                let start = first + (phase + window.split - first % window.split) % window.split;
                let count = last.saturating_sub(start).div_ceil(window.split);
                for done in (0..count).step_by(most) {
                    let column = start + done * window.split;
                    let col = (window.col + (column * window.col_step) as isize) as usize;
                    let from = (row as usize * w + col) * channels;
                    let to = r * window.row_len() + window.position(column) * LANES;
                    for group in 0..self.panels.groups {
                        for i in 0..self.panels.of_group() {
                            let first = i * self.panels.width();
                            let channel = group * self.panels.channels + first;
                            each(&Block {
                                from: from + channel,
                                step: window.split * window.col_step * channels,
                                to: to + (group * self.panels.of_group() + i) * window.panel_len(),
                                pixels: most.min(count - done),
                                channel,
                                count: self.panels.width().min(self.panels.channels - first),
                            });
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn target(&self, block: &Block, pixel: usize) -> *mut f32 {
        // SAFETY: the scratch holds the window.
        unsafe { self.scratch.add(block.to + pixel * LANES) }
    }
}

/// What a kernel does with every block, for one kind of source.
trait BlockKernel<S: Simd, E: Element> {
    unsafe fn block<const KIND: u8>(&self, pack: &Pack<E>, block: &Block);
}

impl<E: Element> Pack<'_, E> {
    #[inline(always)]
    unsafe fn each<S: Simd>(&self, kernel: impl BlockKernel<S, E>) {
        // SAFETY: blocks lie inside the source and the scratch.
        unsafe {
            match self.source {
                Source::Plain { .. } => self.blocks(|block| kernel.block::<PLAIN>(self, block)),
                Source::Relu { .. } => self.blocks(|block| kernel.block::<RELU>(self, block)),
                Source::Affine { relu: false, .. } => self.blocks(|block| kernel.block::<AFFINE>(self, block)),
                Source::Affine { relu: true, .. } => self.blocks(|block| kernel.block::<AFFINE_RELU>(self, block)),
                Source::Gradient { .. } => self.blocks(|block| kernel.block::<GRADIENT>(self, block)),
            }
        }
    }
}

const PLAIN: u8 = 0;
const RELU: u8 = 1;
const AFFINE: u8 = 2;
const AFFINE_RELU: u8 = 3;
const GRADIENT: u8 = 4;

/// Up to 16 channels of a source, with their coefficients, to be read at any pixel.
#[derive(Clone, Copy)]
struct Reader<S: Simd, E, const KIND: u8> {
    x: *const E,
    g: *const E,
    a: S::V,
    b: S::V,
    c: S::V,
    channels: usize,
}

impl<S: Simd, E: Element, const KIND: u8> Reader<S, E, KIND> {
    #[inline(always)]
    unsafe fn new(source: &Source<E>, channel: usize, channels: usize) -> Self {
        // SAFETY: the coefficients hold the channels from `channel` on, as the caller promises.
        unsafe {
            let zero = S::splat(0.);
            let load = |values: &[f32]| f32::load::<S>(values.as_ptr().add(channel), channels);
            let (x, g, a, b, c) = match *source {
                Source::Plain { x } | Source::Relu { x } => (x, x, zero, zero, zero),
                Source::Affine { x, scale, shift, .. } => (x, x, load(scale), load(shift), zero),
                Source::Gradient { g, x, a, b, c } => (x, g, load(a), load(b), load(c)),
            };
            Self { x, g, a, b, c, channels }
        }
    }

    /// The channels of the pixel whose first channel is at `offset`; zeros behind them.
    #[inline(always)]
    unsafe fn value(&self, offset: usize) -> S::V {
        // SAFETY: the maps hold the pixel's channels, as the caller promises; what is asked for ahead need not be there.
        unsafe {
            S::prefetch(self.x.wrapping_add(offset).cast::<u8>().wrapping_add(AHEAD));
            let x = E::load::<S>(self.x.add(offset), self.channels);
            match KIND {
                RELU => S::max(S::splat(0.), x),
                AFFINE => S::fma(x, self.a, self.b),
                AFFINE_RELU => S::max(S::splat(0.), S::fma(x, self.a, self.b)),
                GRADIENT => {
                    S::prefetch(self.g.wrapping_add(offset).cast::<u8>().wrapping_add(AHEAD));
                    let g = E::load::<S>(self.g.add(offset), self.channels);
                    S::fma(g, self.a, S::fma(x, self.b, self.c))
                }
                _ => x,
            }
        }
    }
}

/// Every value is a unit.
struct Singles;

impl<S: Simd, E: Element> BlockKernel<S, E> for Singles {
    #[inline(always)]
    unsafe fn block<const KIND: u8>(&self, pack: &Pack<E>, block: &Block) {
        // SAFETY: as the caller promises.
        unsafe {
            if block.count == LANES {
                singles::<S, E, KIND>(pack, block, LANES);
            } else {
                singles::<S, E, KIND>(pack, block, block.count);
            }
        }
    }
}

#[inline(always)]
unsafe fn singles<S: Simd, E: Element, const KIND: u8>(pack: &Pack<E>, block: &Block, count: usize) {
    // SAFETY: source and scratch hold the block.
    unsafe {
        let reader = Reader::<S, E, KIND>::new(&pack.source, block.channel, count);
        for i in 0..block.pixels {
            S::store(pack.target(block, i), reader.value(block.from + i * block.step));
        }
    }
}

/// Two neighbouring values are a unit.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // other processors have no such instructions
struct Neighbours;

impl<S: SimdBf16, E: Element> BlockKernel<S, E> for Neighbours {
    #[inline(always)]
    unsafe fn block<const KIND: u8>(&self, pack: &Pack<E>, block: &Block) {
        // SAFETY: as the caller promises.
        unsafe {
            if block.count == 2 * LANES {
                neighbours::<S, E, KIND>(pack, block, LANES, LANES);
            } else if block.count > LANES {
                neighbours::<S, E, KIND>(pack, block, LANES, block.count - LANES);
            } else {
                let low = Reader::<S, E, KIND>::new(&pack.source, block.channel, block.count);
                for i in 0..block.pixels {
                    let low = low.value(block.from + i * block.step);
                    S::store(pack.target(block, i), S::neighbours(low, S::splat(0.)));
                }
            }
        }
    }
}

#[inline(always)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // other processors have no such instructions
unsafe fn neighbours<S: SimdBf16, E: Element, const KIND: u8>(pack: &Pack<E>, block: &Block, low: usize, high: usize) {
    // SAFETY: source and scratch hold the block.
    unsafe {
        let low = Reader::<S, E, KIND>::new(&pack.source, block.channel, low);
        let high = Reader::<S, E, KIND>::new(&pack.source, block.channel + LANES, high);
        for i in 0..block.pixels {
            let at = block.from + i * block.step;
            S::store(pack.target(block, i), S::neighbours(low.value(at), high.value(at + LANES)));
        }
    }
}

impl<E: Element> Kernel for Pack<'_, E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: as the caller promises.
        unsafe { self.each::<S>(Singles) }
    }
}

impl<E: Element> Bf16Kernel for Pack<'_, E> {
    #[inline(always)]
    unsafe fn run_bf16<S: SimdBf16>(self) {
        // SAFETY: as the caller promises.
        unsafe { self.each::<S>(Neighbours) }
    }
}

/// Two images of neighbour pairs as one scratch whose units hold one channel of both: the sum over pixels then takes two
/// at a time. `panels` panels of the images become twice as many.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // other processors have no such instructions
pub(crate) struct Interleave {
    pub a: *const f32,
    /// Null: zeros.
    pub b: *const f32,
    pub out: *mut f32,
    pub panels: usize,
    pub panel_len: usize,
}

impl Bf16Kernel for Interleave {
    #[inline(always)]
    unsafe fn run_bf16<S: SimdBf16>(self) {
        // SAFETY: no memory is touched.
        let zero = unsafe { S::splat(0.) };
        for panel in 0..self.panels {
            for i in (0..self.panel_len).step_by(LANES) {
                // SAFETY: inside the scratches.
                unsafe {
                    let at = panel * self.panel_len + i;
                    let b = if self.b.is_null() { zero } else { S::load(self.b.add(at)) };
                    let (low, high) = S::interleave(S::load(self.a.add(at)), b);
                    let out = self.out.add(2 * panel * self.panel_len + i);
                    S::store(out, low);
                    S::store(out.add(self.panel_len), high);
                }
            }
        }
    }
}

/// Pixels as f32 values, without panels.
pub(crate) struct ReadPixels<'a, E> {
    /// From the first pixel on.
    pub source: Source<'a, E>,
    pub pixels: usize,
    pub channels: usize,
    /// Values from one pixel to the next, in the source and in `out`.
    pub from_step: usize,
    pub to_step: usize,
    pub out: *mut f32,
}

impl<E: Element> Kernel for ReadPixels<'_, E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: source and target hold these pixels.
        unsafe {
            match self.source {
                Source::Plain { .. } => self.read::<S, PLAIN>(),
                Source::Relu { .. } => self.read::<S, RELU>(),
                Source::Affine { relu: false, .. } => self.read::<S, AFFINE>(),
                Source::Affine { relu: true, .. } => self.read::<S, AFFINE_RELU>(),
                Source::Gradient { .. } => self.read::<S, GRADIENT>(),
            }
        }
    }
}

impl<E: Element> ReadPixels<'_, E> {
    #[inline(always)]
    unsafe fn read<S: Simd, const KIND: u8>(&self) {
        // SAFETY: source and target hold these pixels; each reads its own channels only.
        unsafe {
            let most = block_pixels(self.channels);
            for first in (0..self.pixels).step_by(most) {
                let pixels = first..(first + most).min(self.pixels);
                let mut c = 0;
                while c + LANES <= self.channels {
                    let reader = Reader::<S, E, KIND>::new(&self.source, c, LANES);
                    for p in pixels.clone() {
                        S::store(self.out.add(p * self.to_step + c), reader.value(p * self.from_step + c));
                    }
                    c += LANES;
                }
                if c < self.channels {
                    let n = self.channels - c;
                    let reader = Reader::<S, E, KIND>::new(&self.source, c, n);
                    for p in pixels {
                        S::store_part(self.out.add(p * self.to_step + c), reader.value(p * self.from_step + c), n);
                    }
                }
            }
        }
    }
}
