use std::arch::x86_64::*;

use super::{Bf16Kernel, Kernel, Simd, SimdBf16};

#[derive(Clone, Copy)]
pub(super) struct Avx512;

/// As [`Avx512`], with products of bf16 pairs.
#[derive(Clone, Copy)]
pub(super) struct Avx512Bf16;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
pub(super) unsafe fn launch<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function has the instructions enabled, and its caller that the processor has them.
    unsafe { kernel.run::<Avx512>() }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")]
pub(super) unsafe fn launch_in_bf16_dot<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function has the instructions enabled, and its caller that the processor has them.
    unsafe { kernel.run::<Avx512Bf16>() }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")]
pub(super) unsafe fn launch_bf16<K: Bf16Kernel>(kernel: K) {
    // SAFETY: this function has the instructions enabled, and its caller that the processor has them.
    unsafe { kernel.run_bf16::<Avx512Bf16>() }
}

/// What both kinds of arithmetic share.
macro_rules! common {
    () => {
        type V = __m512;
        const ROWS: [usize; 3] = [14, 14, 7];

        #[inline(always)]
        unsafe fn splat(x: f32) -> __m512 {
            // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> __m512 {
            // SAFETY: the processor has the instructions, the pointer 16 values, as the caller promises.
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: __m512) {
            // SAFETY: the processor has the instructions, the pointer 16 values, as the caller promises.
            unsafe { _mm512_storeu_ps(p, v) }
        }
        #[inline(always)]
        unsafe fn load_part(p: *const f32, n: usize) -> __m512 {
            // SAFETY: the processor has the instructions, the pointer `n` values, at most 16: no others are touched.
            unsafe { _mm512_maskz_loadu_ps(((1u32 << n) - 1) as u16, p) }
        }
        #[inline(always)]
        unsafe fn store_part(p: *mut f32, v: __m512, n: usize) {
            // SAFETY: the processor has the instructions, the pointer `n` values, at most 16: no others are touched.
            unsafe { _mm512_mask_storeu_ps(p, ((1u32 << n) - 1) as u16, v) }
        }
        #[inline(always)]
        unsafe fn load_bf16(p: *const u16) -> __m512 {
            // SAFETY: the processor has the instructions, the pointer 16 values, as the caller promises.
            unsafe {
                let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
            }
        }
        #[inline(always)]
        unsafe fn store_bf16(p: *mut u16, v: __m512) {
            // SAFETY: the processor has the instructions, the pointer 16 values, as the caller promises.
            unsafe {
                // Round to nearest even: add 0x7fff plus the lowest kept bit, then cut.
                let bits = _mm512_castps_si512(v);
                let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
                let narrow = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded));
                _mm256_storeu_si256(p.cast(), narrow)
            }
        }
        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn where_positive(m: __m512, v: __m512) -> __m512 {
            // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(m, _mm512_setzero_ps()), v) }
        }

        #[inline(always)]
        fn prefetch(p: *const u8) {
            // SAFETY: a hint, which no address can make fail.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }

        #[inline(always)]
        unsafe fn transpose(rows: &mut [__m512; 16]) {
            // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
            unsafe {
                // Within the 128-bit lanes: 4×4 blocks.
                let mut blocks = [_mm512_setzero_ps(); 16];
                for i in 0..4 {
                    let (a, b, c, d) = (rows[4 * i], rows[4 * i + 1], rows[4 * i + 2], rows[4 * i + 3]);
                    let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
                    let (ab_high, cd_high) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
                    blocks[4 * i] = _mm512_shuffle_ps::<0x44>(ab, cd);
                    blocks[4 * i + 1] = _mm512_shuffle_ps::<0xee>(ab, cd);
                    blocks[4 * i + 2] = _mm512_shuffle_ps::<0x44>(ab_high, cd_high);
                    blocks[4 * i + 3] = _mm512_shuffle_ps::<0xee>(ab_high, cd_high);
                }
                // Then the 4×4 matrix of lanes.
                for j in 0..4 {
                    let (a, b, c, d) = (blocks[j], blocks[4 + j], blocks[8 + j], blocks[12 + j]);
                    let (ab, cd) = (_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0x44>(c, d));
                    let (ab_high, cd_high) = (_mm512_shuffle_f32x4::<0xee>(a, b), _mm512_shuffle_f32x4::<0xee>(c, d));
                    rows[j] = _mm512_shuffle_f32x4::<0x88>(ab, cd);
                    rows[4 + j] = _mm512_shuffle_f32x4::<0xdd>(ab, cd);
                    rows[8 + j] = _mm512_shuffle_f32x4::<0x88>(ab_high, cd_high);
                    rows[12 + j] = _mm512_shuffle_f32x4::<0xdd>(ab_high, cd_high);
                }
            }
        }
    };
}

impl Simd for Avx512 {
    #[cfg(unoptimized)]
    unsafe fn apart<K: super::Kernel>(kernel: K) -> K::Output {
        // SAFETY: as the caller promises.
        unsafe { launch(kernel) }
    }
    common!();
}

impl Simd for Avx512Bf16 {
    #[cfg(unoptimized)]
    unsafe fn apart<K: super::Kernel>(kernel: K) -> K::Output {
        // SAFETY: as the caller promises.
        unsafe { launch_in_bf16_dot(kernel) }
    }
    common!();

    #[inline(always)]
    unsafe fn store_bf16_pair(p: *mut u16, low: __m512, high: __m512) {
        // SAFETY: the processor has the instructions, the pointer 32 values, as the caller promises.
        unsafe { _mm512_storeu_ps(p.cast(), Self::neighbours(low, high)) }
    }

    #[inline(always)]
    unsafe fn multiply_add(x: __m512, w: __m512, acc: __m512) -> __m512 {
        // SAFETY: only the type of the bits changes.
        unsafe {
            _mm512_dpbf16_ps(
                acc,
                std::mem::transmute::<__m512, __m512bh>(w),
                std::mem::transmute::<__m512, __m512bh>(x),
            )
        }
    }
}

impl SimdBf16 for Avx512Bf16 {
    #[inline(always)]
    unsafe fn neighbours(low: __m512, high: __m512) -> __m512 {
        // SAFETY: only the type of the bits changes.
        unsafe { std::mem::transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(high, low)) }
    }
    #[inline(always)]
    unsafe fn paired(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        unsafe {
            let lanes: [i16; 32] = std::array::from_fn(|i| i as i16 / 2 + 16 * (i as i16 % 2));
            let index = _mm512_loadu_si512(lanes.as_ptr().cast());
            _mm512_castsi512_ps(_mm512_permutexvar_epi16(index, _mm512_castps_si512(Self::neighbours(a, b))))
        }
    }
    #[inline(always)]
    unsafe fn interleave(a: __m512, b: __m512) -> (__m512, __m512) {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        unsafe {
            let (a, b) = (_mm512_castps_si512(a), _mm512_castps_si512(b));
            // Positions of 16 bits: 0..32 is a, 32..64 is b.
            let index = |first: i16| -> __m512i {
                let lanes: [i16; 32] = std::array::from_fn(|i| first + i as i16 / 2 + 32 * (i as i16 % 2));
                _mm512_loadu_si512(lanes.as_ptr().cast())
            };
            let low = _mm512_permutex2var_epi16(a, index(0), b);
            let high = _mm512_permutex2var_epi16(a, index(16), b);
            (_mm512_castsi512_ps(low), _mm512_castsi512_ps(high))
        }
    }
}
