use super::Simd;

/// Plain Rust on arrays of 16 values.
#[derive(Clone, Copy)]
pub(super) struct Scalar;

#[inline(always)]
fn lanes(f: impl Fn(usize) -> f32) -> [f32; 16] {
    std::array::from_fn(f)
}

impl Simd for Scalar {
    #[cfg(unoptimized)]
    unsafe fn apart<K: super::Kernel>(kernel: K) -> K::Output {
        // SAFETY: as the caller promises; plain Rust runs everywhere.
        unsafe { kernel.run::<Self>() }
    }
    type V = [f32; 16];
    const ROWS: [usize; 3] = [4, 0, 0];

    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 16] {
        [x; 16]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 16] {
        // SAFETY: the pointer is valid for 16 values.
        unsafe { p.cast::<[f32; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: [f32; 16]) {
        // SAFETY: the pointer is valid for 16 values.
        unsafe { p.cast::<[f32; 16]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> [f32; 16] {
        // SAFETY: the pointer is valid for `n` values, at most 16.
        lanes(|i| if i < n { unsafe { *p.add(i) } } else { 0. })
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: [f32; 16], n: usize) {
        // SAFETY: the pointer is valid for `n` values, at most 16.
        unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), p, n) }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> [f32; 16] {
        // SAFETY: the pointer is valid for 16 values.
        lanes(|i| f32::from_bits(u32::from(unsafe { *p.add(i) }) << 16))
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut u16, v: [f32; 16]) {
        for (i, x) in v.into_iter().enumerate() {
            // SAFETY: the pointer is valid for 16 values.
            unsafe { *p.add(i) = super::super::element::to_bf16(x) };
        }
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        lanes(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        lanes(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        lanes(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn max(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        lanes(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn where_positive(m: [f32; 16], v: [f32; 16]) -> [f32; 16] {
        lanes(|i| if m[i] > 0. { v[i] } else { 0. })
    }
}
