//! Copies a window of a map into an f32 scratch, padded with zeros, through what stands before the convolution.

use super::element::Element;
use super::geometry::Window;
use super::isa::{Kernel, Simd};

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

/// One image (h, w, channels) into a scratch.
pub(crate) struct Pack<'a, E> {
    pub source: Source<'a, E>,
    pub image: (usize, usize, usize),
    pub window: Window,
    pub scratch: *mut f32,
}

impl<E: Element> Kernel for Pack<'_, E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (h, w, channels) = self.image;
        let window = self.window;
        // The columns whose pixels lie inside.
        let inside = |c: usize| {
            let col = window.col + (c * window.col_step) as isize;
            (0..w as isize).contains(&col)
        };
        let first = (0..window.cols).find(|&c| inside(c)).unwrap_or(window.cols);
        let last = (first..window.cols).rev().find(|&c| inside(c)).map_or(first, |c| c + 1);
        for r in 0..window.rows {
            let row = window.row + (r * window.row_step) as isize;
            // SAFETY: the scratch holds the window; source pixels are inside the image.
            unsafe {
                let out = self.scratch.add(r * window.row_len());
                if !(0..h as isize).contains(&row) || first == last {
                    std::slice::from_raw_parts_mut(out, window.row_len()).fill(0.);
                    continue;
                }
                std::slice::from_raw_parts_mut(out, first * window.pixel).fill(0.);
                let tail = out.add(last * window.pixel);
                std::slice::from_raw_parts_mut(tail, (window.cols - last) * window.pixel).fill(0.);
                let col = (window.col + (first * window.col_step) as isize) as usize;
                let from = (row as usize * w + col) * channels;
                let pixels = Pixels {
                    count: last - first,
                    channels,
                    from_step: window.col_step * channels,
                    to_step: window.pixel,
                };
                copy::<S, E>(&self.source, from, out.add(first * window.pixel), &pixels);
            }
        }
    }
}

struct Pixels {
    count: usize,
    channels: usize,
    from_step: usize,
    to_step: usize,
}

#[inline(always)]
unsafe fn copy<S: Simd, E: Element>(source: &Source<E>, from: usize, to: *mut f32, pixels: &Pixels) {
    unsafe {
        let zero = S::splat(0.);
        match *source {
            Source::Plain { x } => each::<S>(pixels, to, |i, _, n| E::load::<S>(x.add(from + i), n)),
            Source::Relu { x } => each::<S>(pixels, to, |i, _, n| S::max(zero, E::load::<S>(x.add(from + i), n))),
            Source::Affine { x, scale, shift, relu: true } => each::<S>(pixels, to, |i, c, n| {
                let x = E::load::<S>(x.add(from + i), n);
                let (scale, shift) =
                    (f32::load::<S>(scale.as_ptr().add(c), n), f32::load::<S>(shift.as_ptr().add(c), n));
                S::max(zero, S::fma(x, scale, shift))
            }),
            Source::Affine { x, scale, shift, relu: false } => each::<S>(pixels, to, |i, c, n| {
                let x = E::load::<S>(x.add(from + i), n);
                let (scale, shift) =
                    (f32::load::<S>(scale.as_ptr().add(c), n), f32::load::<S>(shift.as_ptr().add(c), n));
                S::fma(x, scale, shift)
            }),
            Source::Gradient { g, x, a, b, c: shift } => each::<S>(pixels, to, |i, c, n| {
                let (g, x) = (E::load::<S>(g.add(from + i), n), E::load::<S>(x.add(from + i), n));
                let (a, b) = (f32::load::<S>(a.as_ptr().add(c), n), f32::load::<S>(b.as_ptr().add(c), n));
                S::fma(g, a, S::fma(x, b, f32::load::<S>(shift.as_ptr().add(c), n)))
            }),
        }
    }
}

/// Calls `value(source offset, channel, lanes)` for every vector and stores what it gives.
#[inline(always)]
unsafe fn each<S: Simd>(pixels: &Pixels, to: *mut f32, value: impl Fn(usize, usize, usize) -> S::V) {
    unsafe {
        for p in 0..pixels.count {
            let (from, to) = (p * pixels.from_step, to.add(p * pixels.to_step));
            let mut c = 0;
            while c + 16 <= pixels.channels {
                S::store(to.add(c), value(from + c, c, 16));
                c += 16;
            }
            if c < pixels.channels {
                let n = pixels.channels - c;
                S::store_part(to.add(c), value(from + c, c, n), n);
            }
        }
    }
}
