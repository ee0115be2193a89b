//! The two microkernels that all convolution is made of.
//!
//! Both read scratches of units (see [`super::window`]): 16 channels of one pixel lie together, the next pixel of the
//! row follows.

use super::taps::KSpan;
use super::window::LANES;
use crate::cpu::isa::{Kernel, Simd};

/// Vectors that a tile is wide, as the index into [`Simd::ROWS`].
pub(crate) fn width_index(vectors: usize) -> usize {
    match vectors {
        1 => 0,
        2 => 1,
        _ => 2,
    }
}

/// A tile in registers: `P` output pixels by `NV` vectors of output channels.
#[derive(Clone, Copy)]
pub(crate) struct MicroTile<'a> {
    /// The scratch at the first output pixel's first tap.
    pub x: *const f32,
    pub spans: &'a [KSpan],
    /// PackedWeights weights, a row of 16 · NV units for each unit of the spans.
    pub weights: *const f32,
    /// Weights that later tiles read: one cache line of them is asked for with every step. Need not be valid.
    pub ahead: *const f32,
    pub y: *mut f32,
    /// Values of `y` from one pixel, and from one vector of channels, to the next.
    pub y_pixel: usize,
    pub y_vector: usize,
    /// Channels to write, at most 16 · NV.
    pub channels: usize,
    /// Whether to add to what is in `y`.
    pub accumulate: bool,
    /// Initial value of each channel (16 · NV), or null for zero.
    pub bias: *const f32,
    /// A map that is added, or null; its pixels are as far apart as those of `y`.
    pub residual: *const f32,
    /// Values of the residual from one vector of channels to the next.
    pub residual_vector: usize,
    /// Whether negative results become zero.
    pub relu: bool,
    /// Whether `y` and the residual are bf16 and 32 channels of a pixel lie together. Their strides then count bf16
    /// values, that of vectors from one pair of vectors to the next; nothing is accumulated.
    pub narrow: bool,
}

/// Where the pixels of a tile lie, counted from the first.
pub(crate) trait Pixels: Copy {
    /// Neighbours so close that an instruction with a short offset reaches them.
    const CLOSE: usize = 1;
    /// Units of the scratch.
    fn x(&self, p: usize) -> usize;
    /// Values of the output.
    fn y(&self, p: usize) -> usize;
    /// Values of the map that is added.
    fn residual(&self, p: usize) -> usize;
}

/// Pixels of one row, `STEP` units of the scratch and so many values of the output apart.
#[derive(Clone, Copy)]
struct Row<const STEP: usize>(usize);

impl<const STEP: usize> Pixels for Row<STEP> {
    // An offset of one byte reaches 31 values, less the steps of the unrolled loop.
    const CLOSE: usize = 1 + (32 - UNROLLED) / STEP;
    #[inline(always)]
    fn x(&self, p: usize) -> usize {
        STEP * p
    }
    #[inline(always)]
    fn y(&self, p: usize) -> usize {
        p * self.0
    }
    #[inline(always)]
    fn residual(&self, p: usize) -> usize {
        p * self.0
    }
}

/// Pixels of several rows.
#[derive(Clone, Copy, Default)]
pub(crate) struct Scattered {
    pub x: [usize; SCATTERED],
    pub y: [usize; SCATTERED],
    pub residual: [usize; SCATTERED],
}

/// Largest number of scattered pixels of a tile.
pub(crate) const SCATTERED: usize = 6;

impl Pixels for Scattered {
    #[inline(always)]
    fn x(&self, p: usize) -> usize {
        self.x[p]
    }
    #[inline(always)]
    fn y(&self, p: usize) -> usize {
        self.y[p]
    }
    #[inline(always)]
    fn residual(&self, p: usize) -> usize {
        self.residual[p]
    }
}

/// Rows of one step of the loop where registers are few: fewer instructions between the products.
pub(crate) const UNROLLED: usize = 4;

/// Adds the products of `P` values, that lie where `at` says, and a row of vectors that are `vector` values apart.
#[inline(always)]
unsafe fn multiply<S: Simd, const P: usize, const NV: usize>(
    acc: &mut [[S::V; NV]; P],
    at: impl Fn(usize) -> *const f32,
    row: *const f32,
    vector: usize,
) {
    // SAFETY: as the tile's caller promises.
    unsafe {
        let mut vectors = [S::splat(0.); NV];
        for (v, value) in vectors.iter_mut().enumerate() {
            *value = S::load(row.add(v * vector));
        }
        for (p, acc) in acc.iter_mut().enumerate() {
            let xp = S::splat(*at(p));
            for (a, &vector) in acc.iter_mut().zip(&vectors) {
                *a = S::multiply_add(xp, vector, *a);
            }
        }
    }
}

#[inline(always)]
unsafe fn gemm<S: Simd, X: Pixels, const P: usize, const NV: usize>(t: &MicroTile, pixels: X) {
    // SAFETY: the scratch holds what the spans reach, and the maps hold the tile's pixels and channels, as the caller promises.
    unsafe {
        let mut acc = [[S::splat(0.); NV]; P];
        if !t.bias.is_null() {
            for row in &mut acc {
                for (v, a) in row.iter_mut().enumerate() {
                    *a = S::load(t.bias.add(LANES * v));
                }
            }
        }
        if !t.residual.is_null() && !t.narrow {
            // It is needed after the products, and comes from far away.
            for (p, v) in (0..P).flat_map(|p| (0..NV).map(move |v| (p, v))) {
                S::prefetch(t.residual.wrapping_add(pixels.residual(p) + v * t.residual_vector).cast());
            }
        }
        let first = |p: usize| p - p % X::CLOSE;
        let near: [*const f32; P] = std::array::from_fn(|p| S::in_register(t.x.add(pixels.x(first(p)))));
        let (mut w, mut ahead) = (t.weights, t.ahead);
        for (i, span) in t.spans.iter().enumerate() {
            let (mut unit, end) = (span.offset, span.offset + span.len);
            if S::FEW_REGISTERS {
                // Runs lie too far apart for the processor to guess the next.
                if let Some(next) = t.spans.get(i + 1).filter(|_| span.len >= LANES) {
                    for p in 0..P {
                        S::prefetch(near[first(p)].add(next.offset + pixels.x(p) - pixels.x(first(p))).cast());
                    }
                }
                let middle = UNROLLED / 2 * LANES * NV;
                let mut rows = S::in_register(w.wrapping_add(middle));
                while unit + UNROLLED <= end {
                    S::prefetch(ahead.cast());
                    ahead = ahead.wrapping_add(LANES);
                    for i in 0..UNROLLED {
                        let at = |p: usize| near[first(p)].add(unit).add(pixels.x(p) - pixels.x(first(p)) + i);
                        multiply::<S, P, NV>(&mut acc, at, rows.sub(middle).add(i * LANES * NV), LANES);
                    }
                    rows = rows.wrapping_add(UNROLLED * LANES * NV);
                    unit += UNROLLED;
                }
                w = rows.wrapping_sub(middle);
            }
            let mut x = t.x.add(unit);
            for _ in unit..end {
                S::prefetch(ahead.cast());
                ahead = ahead.wrapping_add(LANES);
                multiply::<S, P, NV>(&mut acc, |p| x.add(pixels.x(p)), w, LANES);
                (x, w) = (x.add(1), w.add(LANES * NV));
            }
        }
        // Only loops that are unrolled may touch the sums, or they would live in memory: each step is one of its own.
        if t.narrow {
            store_narrow::<S, P, NV>(acc, t, pixels);
            return;
        }
        if t.channels == LANES * NV {
            if t.accumulate {
                add::<S, P, NV>(&mut acc, t.y, |p| pixels.y(p), t.y_vector);
            }
            if !t.residual.is_null() {
                add::<S, P, NV>(&mut acc, t.residual, |p| pixels.residual(p), t.residual_vector);
            }
            if t.relu {
                for a in acc.as_flattened_mut() {
                    *a = S::max(S::splat(0.), *a);
                }
            }
            for (p, row) in acc.iter().enumerate() {
                for (v, &a) in row.iter().enumerate() {
                    S::store(t.y.add(pixels.y(p) + v * t.y_vector), a);
                }
            }
            return;
        }
        let mut sums = [[[0f32; LANES]; NV]; P];
        for (row, sums) in acc.iter().zip(&mut sums) {
            for (&a, sums) in row.iter().zip(sums) {
                S::store(sums.as_mut_ptr(), a);
            }
        }
        for (p, sums) in sums.iter().enumerate() {
            for (v, sums) in sums.iter().enumerate() {
                let n = t.channels.saturating_sub(LANES * v).min(LANES);
                if n > 0 {
                    let at = pixels.y(p) + v * t.y_vector;
                    let mut sum = S::load(sums.as_ptr());
                    if t.accumulate {
                        sum = S::add(sum, S::load_part(t.y.add(at), n));
                    }
                    if !t.residual.is_null() {
                        sum = S::add(sum, S::load_part(t.residual.add(pixels.residual(p) + v * t.residual_vector), n));
                    }
                    if t.relu {
                        sum = S::max(S::splat(0.), sum);
                    }
                    S::store_part(t.y.add(at), sum, n);
                }
            }
        }
    }
}

/// The end of a tile whose results are kept as bf16: channels beyond the last become zero, up to a whole vector.
#[inline(always)]
unsafe fn store_narrow<S: Simd, const P: usize, const NV: usize>(
    mut acc: [[S::V; NV]; P],
    t: &MicroTile,
    pixels: impl Pixels,
) {
    let (y, residual) = (t.y.cast::<u16>(), t.residual.cast::<u16>());
    // SAFETY: maps hold whole vectors of the tile's pixels and channels.
    unsafe {
        if !residual.is_null() {
            for (p, row) in acc.iter_mut().enumerate() {
                for (v, a) in row.iter_mut().enumerate() {
                    if t.channels > LANES * v {
                        let at = pixels.residual(p) + v / 2 * t.residual_vector + v % 2 * LANES;
                        *a = S::add(*a, S::load_bf16(residual.add(at)));
                    }
                }
            }
        }
        if t.relu {
            for a in acc.as_flattened_mut() {
                *a = S::max(S::splat(0.), *a);
            }
        }
        for (p, row) in acc.iter().enumerate() {
            for i in 0..NV.div_ceil(2) {
                let y = y.add(pixels.y(p) + i * t.y_vector);
                if 2 * i + 1 == NV {
                    S::store_bf16(y, row[2 * i]);
                } else if t.channels > 2 * LANES * i {
                    S::store_bf16_pair(y, row[2 * i], row[2 * i + 1]);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn add<S: Simd, const P: usize, const NV: usize>(
    acc: &mut [[S::V; NV]; P],
    from: *const f32,
    pixel: impl Fn(usize) -> usize,
    vector: usize,
) {
    for (p, row) in acc.iter_mut().enumerate() {
        for (v, a) in row.iter_mut().enumerate() {
            // SAFETY: `from` holds the tile's pixels and channels.
            *a = unsafe { S::add(*a, S::load(from.add(pixel(p) + v * vector))) };
        }
    }
}

/// An outer-product tile of the weight gradient: `P` rows (input channels) by `NV` vectors of output channels,
/// summed over all pixels of some images.
#[derive(Clone, Copy)]
pub(crate) struct OuterMicroTile {
    pub x: *const f32,
    pub x_row: usize,
    pub x_image: usize,
    pub dy: *const f32,
    pub dy_row: usize,
    pub dy_image: usize,
    /// Units of `dy` from one vector of channels to the next.
    pub dy_vector: usize,
    pub images: usize,
    pub rows: usize,
    pub cols: usize,
    /// (P, 16 · NV) sums, `dw_row` values apart.
    pub dw: *mut f32,
    pub dw_row: usize,
    /// Whether to add to what is in `dw`.
    pub accumulate: bool,
}

#[inline(always)]
unsafe fn outer<S: Simd, const P: usize, const NV: usize>(t: &OuterMicroTile, unit: impl Fn(usize) -> isize) {
    // SAFETY: both scratches hold all pixels of all images, `dw` the tile's sums, as the caller promises.
    unsafe {
        let mut acc = [[S::splat(0.); NV]; P];
        for image in 0..t.images {
            for r in 0..t.rows {
                let mut x = t.x.add(image * t.x_image + r * t.x_row);
                let mut dy = t.dy.add(image * t.dy_image + r * t.dy_row);
                let mut left = t.cols;
                if S::FEW_REGISTERS {
                    while left >= UNROLLED {
                        for i in 0..UNROLLED {
                            multiply::<S, P, NV>(
                                &mut acc,
                                |p| x.add(i * LANES).offset(unit(p)),
                                dy.add(i * LANES),
                                t.dy_vector,
                            );
                        }
                        (x, dy) = (x.add(UNROLLED * LANES), dy.add(UNROLLED * LANES));
                        left -= UNROLLED;
                    }
                }
                for _ in 0..left {
                    multiply::<S, P, NV>(&mut acc, |p| x.offset(unit(p)), dy, t.dy_vector);
                    (x, dy) = (x.add(LANES), dy.add(LANES));
                }
            }
        }
        for (p, row) in acc.iter().enumerate() {
            for (v, &a) in row.iter().enumerate() {
                let dw = t.dw.add(p * t.dw_row + LANES * v);
                S::store(dw, if t.accumulate { S::add(a, S::load(dw)) } else { a });
            }
        }
    }
}

/// A tile of fixed size.
struct GemmKernel<'a, const P: usize, const NV: usize, const STEP: usize>(&'a MicroTile<'a>);

impl<const P: usize, const NV: usize, const STEP: usize> Kernel for GemmKernel<'_, P, NV, STEP> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: as the caller promises.
        unsafe { gemm::<S, _, P, NV>(self.0, Row::<STEP>(self.0.y_pixel)) }
    }
}

/// A tile of fixed size whose pixels are scattered, one vector wide.
struct ScatteredKernel<'a, const P: usize>(&'a MicroTile<'a>, &'a Scattered);

impl<const P: usize> Kernel for ScatteredKernel<'_, P> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: as the caller promises.
        unsafe { gemm::<S, _, P, 1>(self.0, *self.1) }
    }
}

/// An outer-product tile of fixed size.
struct OuterKernel<'a, const P: usize, const NV: usize>(&'a OuterMicroTile);

impl<const P: usize, const NV: usize> Kernel for OuterKernel<'_, P, NV> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: as the caller promises.
        unsafe { outer::<S, P, NV>(self.0, |p| p as isize) }
    }
}

/// An outer-product tile of fixed size whose units are scattered, one vector wide.
struct ScatteredOuterKernel<'a, const P: usize>(&'a OuterMicroTile, &'a [isize; SCATTERED]);

impl<const P: usize> Kernel for ScatteredOuterKernel<'_, P> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let units = *self.1;
        // SAFETY: as the caller promises.
        unsafe { outer::<S, P, 1>(self.0, |p| units[p]) }
    }
}

macro_rules! by_rows {
    ($f:ident, $s:ty $(, $step:ident)?; $p:expr, $nv:expr, $t:expr; $($n:literal)*) => {
        match $nv {
            1 => by_rows!(@ROWS[0], $f, $s, $p, 1 $(, $step)?; $t; $($n)*),
            2 => by_rows!(@ROWS[1], $f, $s, $p, 2 $(, $step)?; $t; $($n)*),
            _ => by_rows!(@ROWS[2], $f, $s, $p, 4 $(, $step)?; $t; $($n)*),
        }
    };
    (@ROWS[$i:literal], $f:ident, $s:ty, $p:expr, $nv:literal, $step:ident; $t:expr; $($n:literal)*) => {
        match $p { $($n if $n <= <$s>::ROWS[$i] => <$s>::apart($f::<$n, $nv, $step>($t)),)* _ => unreachable!() }
    };
    (@ROWS[$i:literal], $f:ident, $s:ty, $p:expr, $nv:literal; $t:expr; $($n:literal)*) => {
        match $p { $($n if $n <= <$s>::ROWS[$i] => <$s>::apart($f::<$n, $nv>($t)),)* _ => unreachable!() }
    };
}

/// # Safety
/// The tile's pointers must be valid for `p` pixels, `STEP` units of the scratch apart, and `nv` vectors; `p` at most
/// `S::ROWS` for that width.
#[inline(always)]
pub(crate) unsafe fn gemm_microkernel<S: Simd, const STEP: usize>(p: usize, nv: usize, t: &MicroTile) {
    // SAFETY: as the caller promises.
    unsafe { by_rows!(GemmKernel, S, STEP; p, nv, t; 1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
}

macro_rules! scattered {
    ($f:ident, $s:ty; $p:expr, $t:expr, $places:expr; $($n:literal)*) => {
        match $p { $($n => <$s>::apart($f::<$n>($t, $places)),)* _ => unreachable!() }
    };
}

/// # Safety
/// The tile's pointers must be valid for `p` pixels, at most [`SCATTERED`], that lie where `pixels` says.
#[inline(always)]
pub(crate) unsafe fn scattered_gemm_microkernel<S: Simd>(p: usize, t: &MicroTile, pixels: &Scattered) {
    // SAFETY: as the caller promises.
    unsafe { scattered!(ScatteredKernel, S; p, t, pixels; 1 2 3 4 5 6) }
}

/// # Safety
/// As [`outer_microkernel`], one vector wide; at most [`SCATTERED`] rows, whose units lie where `units` says.
#[inline(always)]
pub(crate) unsafe fn scattered_outer_microkernel<S: Simd>(p: usize, t: &OuterMicroTile, units: &[isize; SCATTERED]) {
    // SAFETY: as the caller promises.
    unsafe { scattered!(ScatteredOuterKernel, S; p, t, units; 1 2 3 4 5 6) }
}

/// # Safety
/// As [`gemm_microkernel`]; at most 8 rows.
#[inline(always)]
pub(crate) unsafe fn outer_microkernel<S: Simd>(p: usize, nv: usize, t: &OuterMicroTile) {
    // SAFETY: as the caller promises.
    unsafe { by_rows!(OuterKernel, S; p, nv, t; 1 2 3 4 5 6 7 8) }
}
