use std::arch::aarch64::*;

use super::{Kernel, Simd};

#[derive(Clone, Copy)]
pub(super) struct Neon;

#[target_feature(enable = "neon")]
pub(super) unsafe fn launch<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function has the instructions enabled, and its caller that the processor has them.
    unsafe { kernel.run::<Neon>() }
}

#[inline(always)]
fn quads(f: impl Fn(usize) -> float32x4_t) -> [float32x4_t; 4] {
    std::array::from_fn(f)
}

impl Simd for Neon {
    #[cfg(unoptimized)]
    unsafe fn apart<K: super::Kernel>(kernel: K) -> K::Output {
        // SAFETY: as the caller promises.
        unsafe { launch(kernel) }
    }
    type V = [float32x4_t; 4];
    const ROWS: [usize; 3] = [6, 0, 0];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        unsafe { [vdupq_n_f32(x); 4] }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        // SAFETY: the processor has the instructions, the pointer 16 values, as the caller promises.
        quads(|i| unsafe { vld1q_f32(p.add(4 * i)) })
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        for (i, quad) in v.into_iter().enumerate() {
            // SAFETY: the processor has the instructions, the pointer 16 values, as the caller promises.
            unsafe { vst1q_f32(p.add(4 * i), quad) };
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
        quads(|i| unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(p.add(4 * i)))) })
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut u16, v: Self::V) {
        for (i, quad) in v.into_iter().enumerate() {
            // SAFETY: the processor has the instructions, the pointer 16 values, as the caller promises.
            unsafe {
                let bits = vreinterpretq_u32_f32(quad);
                let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
                let rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
                vst1_u16(p.add(4 * i), vshrn_n_u32::<16>(rounded));
            }
        }
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        quads(|i| unsafe { vfmaq_f32(c[i], a[i], b[i]) })
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        quads(|i| unsafe { vaddq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        quads(|i| unsafe { vsubq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        quads(|i| unsafe { vmaxq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    unsafe fn where_positive(m: Self::V, v: Self::V) -> Self::V {
        // SAFETY: the processor has the instructions, as the caller promises; only local values are touched.
        quads(|i| unsafe {
            let mask = vcgtzq_f32(m[i]);
            vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(v[i])))
        })
    }
}
