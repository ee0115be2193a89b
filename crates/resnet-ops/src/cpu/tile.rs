//! The two register tiles that all convolution is made of.

use super::geometry::Run;
use super::isa::Simd;

/// Vectors that a tile is wide, as the index into [`Simd::ROWS`].
pub(crate) fn width_index(vectors: usize) -> usize {
    match vectors {
        1 => 0,
        2 => 1,
        _ => 2,
    }
}

/// A gather tile: `P` output pixels by `NV` vectors of output channels.
#[derive(Clone, Copy)]
pub(crate) struct GatherTile<'a> {
    /// The scratch at the first output pixel's first tap.
    pub x: *const f32,
    /// Scratch values from one output pixel to the next.
    pub x_pixel: usize,
    pub runs: &'a [Run],
    /// Packed weights, a row of 16 · NV values for each value of the runs.
    pub weights: *const f32,
    pub y: *mut f32,
    pub y_pixel: usize,
    /// Channels to write, at most 16 · NV.
    pub channels: usize,
    /// Whether to add to what is in `y`.
    pub accumulate: bool,
    /// Initial value of each channel (16 · NV), or null for zero.
    pub bias: *const f32,
}

/// Hides a value's origin from the optimizer, which otherwise recomputes multiples of it in the inner loop.
#[inline(always)]
fn opaque(x: usize) -> usize {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut x = x;
        // SAFETY: an empty instruction.
        unsafe { core::arch::asm!("/* {0} */", inout(reg) x, options(pure, nomem, nostack, preserves_flags)) };
        x
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    x
}

/// Odd multiples of the pixel stride: every pixel of a tile is base + odd multiple · power of two, which is one
/// addressing mode, so that 14 pixels take 7 registers.
struct Strides([usize; 7]);

impl Strides {
    #[inline(always)]
    fn new<const P: usize>(pixel: usize) -> Self {
        let mut odd = [0; 7];
        for (i, s) in odd.iter_mut().enumerate() {
            if 2 * i + 1 < P {
                *s = opaque(pixel * (2 * i + 1));
            }
        }
        Self(odd)
    }
    #[inline(always)]
    fn offset(&self, p: usize) -> usize {
        if p == 0 {
            return 0;
        }
        let twos = p.trailing_zeros();
        self.0[(p >> twos) / 2] << twos
    }
}

#[inline(always)]
unsafe fn gather<S: Simd, const P: usize, const NV: usize>(t: &GatherTile) {
    unsafe {
        let mut acc = [[S::splat(0.); NV]; P];
        if !t.bias.is_null() {
            for row in &mut acc {
                for (v, a) in row.iter_mut().enumerate() {
                    *a = S::load(t.bias.add(16 * v));
                }
            }
        }
        let strides = Strides::new::<P>(t.x_pixel);
        let mut w = t.weights;
        for run in t.runs {
            let mut x = t.x.add(run.offset);
            let end = x.add(run.len);
            while x != end {
                let mut row = [S::splat(0.); NV];
                for (v, value) in row.iter_mut().enumerate() {
                    *value = S::load(w.add(16 * v));
                }
                for (p, acc) in acc.iter_mut().enumerate() {
                    let xp = S::splat(*x.add(strides.offset(p)));
                    for (a, &w) in acc.iter_mut().zip(&row) {
                        *a = S::fma(xp, w, *a);
                    }
                }
                w = w.add(16 * NV);
                x = x.add(1);
            }
        }
        if t.channels == 16 * NV {
            for (p, row) in acc.iter().enumerate() {
                let y = t.y.add(p * t.y_pixel);
                for (v, &a) in row.iter().enumerate() {
                    let y = y.add(16 * v);
                    S::store(y, if t.accumulate { S::add(a, S::load(y)) } else { a });
                }
            }
            return;
        }
        for (p, row) in acc.iter().enumerate() {
            let y = t.y.add(p * t.y_pixel);
            for (v, &a) in row.iter().enumerate() {
                let n = t.channels.saturating_sub(16 * v).min(16);
                if n > 0 {
                    let y = y.add(16 * v);
                    S::store_part(y, if t.accumulate { S::add(a, S::load_part(y, n)) } else { a }, n);
                }
            }
        }
    }
}

/// An outer-product tile of the weight gradient: `P` rows (input channels) by `NV` vectors of output channels,
/// summed over all pixels.
#[derive(Clone, Copy)]
pub(crate) struct OuterTile {
    pub x: *const f32,
    pub x_pixel: usize,
    pub x_row: usize,
    pub dy: *const f32,
    pub dy_pixel: usize,
    pub dy_row: usize,
    pub rows: usize,
    pub cols: usize,
    /// (P, 16 · NV) sums to add to, `dw_row` values apart.
    pub dw: *mut f32,
    pub dw_row: usize,
}

#[inline(always)]
unsafe fn outer<S: Simd, const P: usize, const NV: usize>(t: &OuterTile) {
    unsafe {
        let mut acc = [[S::splat(0.); NV]; P];
        for r in 0..t.rows {
            let mut x = t.x.add(r * t.x_row);
            let mut dy = t.dy.add(r * t.dy_row);
            for _ in 0..t.cols {
                let mut row = [S::splat(0.); NV];
                for (v, value) in row.iter_mut().enumerate() {
                    *value = S::load(dy.add(16 * v));
                }
                for (p, acc) in acc.iter_mut().enumerate() {
                    let xp = S::splat(*x.add(p));
                    for (a, &g) in acc.iter_mut().zip(&row) {
                        *a = S::fma(xp, g, *a);
                    }
                }
                x = x.add(t.x_pixel);
                dy = dy.add(t.dy_pixel);
            }
        }
        for (p, row) in acc.iter().enumerate() {
            for (v, &a) in row.iter().enumerate() {
                let dw = t.dw.add(p * t.dw_row + 16 * v);
                S::store(dw, S::add(a, S::load(dw)));
            }
        }
    }
}

macro_rules! by_rows {
    ($f:ident, $s:ty, $p:expr, $nv:expr, $t:expr; $($n:literal)*) => {
        match $nv {
            1 => match $p { $($n if $n <= <$s>::ROWS[0] => $f::<$s, $n, 1>($t),)* _ => unreachable!() },
            2 => match $p { $($n if $n <= <$s>::ROWS[1] => $f::<$s, $n, 2>($t),)* _ => unreachable!() },
            _ => match $p { $($n if $n <= <$s>::ROWS[2] => $f::<$s, $n, 4>($t),)* _ => unreachable!() },
        }
    };
}

/// # Safety
/// The tile's pointers must be valid for `p` pixels and `nv` vectors; `p` at most `S::ROWS` for that width.
#[inline(always)]
pub(crate) unsafe fn gather_tile<S: Simd>(p: usize, nv: usize, t: &GatherTile) {
    unsafe { by_rows!(gather, S, p, nv, t; 1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}

/// # Safety
/// As [`gather_tile`].
#[inline(always)]
pub(crate) unsafe fn outer_tile<S: Simd>(p: usize, nv: usize, t: &OuterTile) {
    unsafe { by_rows!(outer, S, p, nv, t; 1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}
