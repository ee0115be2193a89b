use std::arch::x86_64::*;

use super::{Kernel, Simd};

#[derive(Clone, Copy)]
pub(super) struct Avx2;

#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn launch<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function has the instructions enabled, and its caller that the processor has them.
    unsafe { kernel.run::<Avx2>() }
}

impl Avx2 {
    /// Rows of a square become its columns.
    #[inline(always)]
    unsafe fn transpose_square(r: [__m256; 8]) -> [__m256; 8] {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        unsafe {
            let low = |i: usize| _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
            let high = |i: usize| _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            // Columns of four rows within each half of a register.
            let four = |a: __m256, b: __m256| (_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xee>(a, b));
            let (t0, t1) = four(low(0), low(1));
            let (t2, t3) = four(high(0), high(1));
            let (t4, t5) = four(low(2), low(3));
            let (t6, t7) = four(high(2), high(3));
            let first = |a, b| _mm256_permute2f128_ps::<0x20>(a, b);
            let second = |a, b| _mm256_permute2f128_ps::<0x31>(a, b);
            [
                first(t0, t4),
                first(t1, t5),
                first(t2, t6),
                first(t3, t7),
                second(t0, t4),
                second(t1, t5),
                second(t2, t6),
                second(t3, t7),
            ]
        }
    }
    #[inline(always)]
    unsafe fn narrow(v: __m256) -> __m128i {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        unsafe {
            // Round to nearest even, as in the 512-bit form; the two halves are packed with unsigned saturation.
            let bits = _mm256_castps_si256(v);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            let high = _mm256_srli_epi32::<16>(rounded);
            _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256::<1>(high))
        }
    }
    #[inline(always)]
    unsafe fn widen(p: *const u16) -> __m256 {
        // SAFETY: the processor has the instructions, the pointer 8 values, as the caller promises.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }
}

impl Simd for Avx2 {
    #[cfg(unoptimized)]
    unsafe fn apart<K: super::Kernel>(kernel: K) -> K::Output {
        // SAFETY: as the caller promises.
        unsafe { launch(kernel) }
    }
    type V = (__m256, __m256);
    const ROWS: [usize; 3] = [6, 0, 0];
    const FEW_REGISTERS: bool = true;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        unsafe { (_mm256_set1_ps(x), _mm256_set1_ps(x)) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        // SAFETY: the processor has the instructions, the pointer 16 values, as the caller promises.
        unsafe { (_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        // SAFETY: the processor has the instructions, the pointer 16 values, as the caller promises.
        unsafe {
            _mm256_storeu_ps(p, v.0);
            _mm256_storeu_ps(p.add(8), v.1);
        }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> Self::V {
        // SAFETY: the processor has the instructions, the pointer `n` values, at most 16: no others are touched.
        unsafe {
            let mut lanes = [0f32; 16];
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
            Self::load(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: Self::V, n: usize) {
        // SAFETY: the processor has the instructions, the pointer `n` values, at most 16: no others are touched.
        unsafe {
            let mut lanes = [0f32; 16];
            Self::store(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> Self::V {
        // SAFETY: the processor has the instructions, the pointer 16 values, as the caller promises.
        unsafe { (Self::widen(p), Self::widen(p.add(8))) }
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut u16, v: Self::V) {
        // SAFETY: the processor has the instructions, the pointer 16 values, as the caller promises.
        unsafe {
            _mm_storeu_si128(p.cast(), Self::narrow(v.0));
            _mm_storeu_si128(p.add(8).cast(), Self::narrow(v.1));
        }
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        unsafe { (_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)) }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        unsafe { (_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        unsafe { (_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        unsafe { (_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn where_positive(m: Self::V, v: Self::V) -> Self::V {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        unsafe {
            let zero = _mm256_setzero_ps();
            let low = _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(m.0, zero), v.0);
            (low, _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(m.1, zero), v.1))
        }
    }

    #[inline(always)]
    unsafe fn transpose(rows: &mut [Self::V; 16]) {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        unsafe {
            // Four squares of 8×8; the two beside the diagonal change places.
            let square = |at: usize, high: bool| {
                let half: [__m256; 8] = std::array::from_fn(|i| if high { rows[at + i].1 } else { rows[at + i].0 });
                Self::transpose_square(half)
            };
            let (a, b, c, d) = (square(0, false), square(0, true), square(8, false), square(8, true));
            for i in 0..8 {
                rows[i] = (a[i], c[i]);
                rows[8 + i] = (b[i], d[i]);
            }
        }
    }

    #[inline(always)]
    fn prefetch(p: *const u8) {
        // SAFETY: a hint, which no address can make fail.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    #[inline(always)]
    #[allow(clippy::pointers_in_nomem_asm_block)] // what it points at is not touched
    fn in_register(mut p: *const f32) -> *const f32 {
        // SAFETY: does nothing.
        unsafe { std::arch::asm!("/* {0} */", inout(reg) p, options(pure, nomem, nostack, preserves_flags)) };
        p
    }
}
