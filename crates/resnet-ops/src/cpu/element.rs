//! How activations are stored: f32, or bf16 in half the bytes. Arithmetic on them is f32.

use super::buffer::Plain;
use super::isa::Simd;

/// A stored activation.
pub(crate) trait Element: Plain + Send + Sync + Default + 'static {
    fn from_f32(x: f32) -> Self;
    fn to_f32(self) -> f32;
    /// # Safety
    /// As [`Simd::load_part`]; `n` at most 16.
    unsafe fn load<S: Simd>(p: *const Self, n: usize) -> S::V;
    /// # Safety
    /// As [`Simd::store_part`]; `n` at most 16.
    unsafe fn store<S: Simd>(p: *mut Self, v: S::V, n: usize);
}

impl Element for f32 {
    fn from_f32(x: f32) -> Self {
        x
    }
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const Self, n: usize) -> S::V {
        // SAFETY: the pointer is valid for `n` values, as the caller promises.
        unsafe { if n == 16 { S::load(p) } else { S::load_part(p, n) } }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(p: *mut Self, v: S::V, n: usize) {
        // SAFETY: the pointer is valid for `n` values, as the caller promises.
        unsafe { if n == 16 { S::store(p, v) } else { S::store_part(p, v, n) } }
    }
}

/// bfloat16: the upper half of an f32.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub(crate) struct Bf16(u16);

// SAFETY: every bit pattern is a number, or none of them (NaN).
unsafe impl Plain for Bf16 {}

/// Rounds to the nearest bf16, ties to even; infinities stay, and so does NaN.
#[inline(always)]
pub(crate) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

impl Element for Bf16 {
    fn from_f32(x: f32) -> Self {
        Self(to_bf16(x))
    }
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const Self, n: usize) -> S::V {
        // SAFETY: the pointer is valid for `n` values, as the caller promises; `Bf16` is a u16.
        unsafe {
            if n == 16 {
                return S::load_bf16(p.cast());
            }
            let mut lanes = [0u16; 16];
            std::ptr::copy_nonoverlapping(p.cast(), lanes.as_mut_ptr(), n);
            S::load_bf16(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(p: *mut Self, v: S::V, n: usize) {
        // SAFETY: the pointer is valid for `n` values, as the caller promises; `Bf16` is a u16.
        unsafe {
            if n == 16 {
                return S::store_bf16(p.cast(), v);
            }
            let mut lanes = [0u16; 16];
            S::store_bf16(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), p.cast(), n);
        }
    }
}
