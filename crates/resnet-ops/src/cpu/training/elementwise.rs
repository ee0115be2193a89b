//! Passes over stored values: sums, copies, poolings, changes of layout.

use crate::cpu::element::Element;
use crate::cpu::isa::{Kernel, Simd};

/// `out = a + b` over `len` values, if asked for rectified; the f32 result also stays in `a`.
pub(crate) struct AddRows<E> {
    pub a: *mut f32,
    /// Null: nothing is added.
    pub b: *const f32,
    pub relu: bool,
    /// The sum is 0 where this is not positive; null: nowhere.
    pub mask: *const E,
    pub out: *mut E,
    pub len: usize,
}

impl<E: Element> Kernel for AddRows<E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let mut i = 0;
        while i + 16 <= self.len {
            // SAFETY: inside all operands.
            unsafe { self.part::<S>(i, 16) };
            i += 16;
        }
        if i < self.len {
            // SAFETY: as above.
            unsafe { self.part::<S>(i, self.len - i) };
        }
    }
}

impl<E: Element> AddRows<E> {
    #[inline(always)]
    unsafe fn part<S: Simd>(&self, i: usize, n: usize) {
        // SAFETY: all operands that there are hold `n` values from `i` on, as the caller promises.
        unsafe {
            let mut sum = f32::load::<S>(self.a.add(i), n);
            if !self.b.is_null() {
                sum = S::add(sum, f32::load::<S>(self.b.add(i), n));
            }
            if self.relu {
                sum = S::max(S::splat(0.), sum);
            }
            if !self.mask.is_null() {
                sum = S::where_positive(E::load::<S>(self.mask.add(i), n), sum);
            }
            f32::store::<S>(self.a.add(i), sum, n);
            E::store::<S>(self.out.add(i), sum, n);
        }
    }
}

/// Stores f32 values as `E`.
pub(crate) struct Store<E> {
    pub values: *const f32,
    pub out: *mut E,
    pub len: usize,
}

impl<E: Element> Kernel for Store<E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for i in (0..self.len).step_by(16) {
            let n = (self.len - i).min(16);
            // SAFETY: inside both.
            unsafe { E::store::<S>(self.out.add(i), f32::load::<S>(self.values.add(i), n), n) };
        }
    }
}

/// Adds the sum over `pixels` pixels of `channels` channels to `sums`.
pub(crate) struct PixelSum {
    pub x: *const f32,
    pub pixels: usize,
    pub channels: usize,
    pub sums: *mut f32,
}

impl Kernel for PixelSum {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for c in (0..self.channels).step_by(16) {
            let n = (self.channels - c).min(16);
            // SAFETY: `n` channels from `c` on exist in every pixel.
            unsafe {
                let mut sum = f32::load::<S>(self.sums.add(c), n);
                for p in 0..self.pixels {
                    sum = S::add(sum, f32::load::<S>(self.x.add(p * self.channels + c), n));
                }
                f32::store::<S>(self.sums.add(c), sum, n);
            }
        }
    }
}
