//! The end of a gradient: contributions are added, the ReLU's mask is applied, norms get their sums.

use super::element::Element;
use super::isa::{Isa, Kernel, Simd, launch};

/// Where the gradient passes.
#[derive(Clone, Copy)]
pub(crate) enum Mask<'a> {
    /// Everywhere.
    None,
    /// Where the stored value is positive.
    Positive,
    /// Where `x · scale + shift` is positive.
    Affine { scale: &'a [f32], shift: &'a [f32] },
}

/// One pass over `pixels` pixels.
pub(crate) struct Finish<'a, E> {
    /// The contribution that was just computed, or null.
    pub values: *const f32,
    /// Further contributions of the same shape; null where there is none.
    pub others: [*const E; 2],
    /// The stored value whose gradient this is.
    pub x: *const E,
    pub mask: Mask<'a>,
    /// The norm's mean, if sums are asked for.
    pub mean: Option<&'a [f32]>,
    /// Where the result goes; null if only the sums count.
    pub out: *mut E,
    /// Sums of g and of g · (x − mean), added to.
    pub sums: *mut f32,
    pub pixels: usize,
    pub channels: usize,
}

impl<E: Element> Kernel for Finish<'_, E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // Pixels in blocks that stay in the first-level cache while the channels pass.
        let block = (4096 / self.channels.max(1)).clamp(8, 256);
        let mut first = 0;
        while first < self.pixels {
            let pixels = block.min(self.pixels - first);
            let mut c = 0;
            while c < self.channels {
                let n = (self.channels - c).min(16);
                // SAFETY: `n` channels from `c` on exist in every pixel of every operand.
                unsafe {
                    if n == 16 {
                        finish::<S, E>(&self, first, pixels, c, 16);
                    } else {
                        finish::<S, E>(&self, first, pixels, c, n);
                    }
                }
                c += n;
            }
            first += pixels;
        }
    }
}

#[inline(always)]
unsafe fn finish<S: Simd, E: Element>(k: &Finish<E>, first: usize, pixels: usize, c: usize, n: usize) {
    // SAFETY: all operands that there are hold `n` channels from `c` on of these pixels, as the caller promises.
    unsafe {
        let zero = S::splat(0.);
        let (scale, shift) = match k.mask {
            Mask::Affine { scale, shift } => {
                (f32::load::<S>(scale.as_ptr().add(c), n), f32::load::<S>(shift.as_ptr().add(c), n))
            }
            _ => (zero, zero),
        };
        let mean = k.mean.map_or(zero, |mean| f32::load::<S>(mean.as_ptr().add(c), n));
        let needs_x = k.mean.is_some() || !matches!(k.mask, Mask::None);
        let (mut sum, mut product) = (zero, zero);
        for p in first..first + pixels {
            let at = p * k.channels + c;
            let mut g = if k.values.is_null() { zero } else { f32::load::<S>(k.values.add(at), n) };
            if !k.others[0].is_null() {
                g = S::add(g, E::load::<S>(k.others[0].add(at), n));
            }
            if !k.others[1].is_null() {
                g = S::add(g, E::load::<S>(k.others[1].add(at), n));
            }
            if needs_x {
                let x = E::load::<S>(k.x.add(at), n);
                match k.mask {
                    Mask::None => {}
                    Mask::Positive => g = S::where_positive(x, g),
                    Mask::Affine { .. } => g = S::where_positive(S::fma(x, scale, shift), g),
                }
                sum = S::add(sum, g);
                product = S::fma(g, S::sub(x, mean), product);
            }
            if !k.out.is_null() {
                E::store::<S>(k.out.add(at), g, n);
            }
        }
        if k.mean.is_some() {
            let (sums, products) = (k.sums.add(c), k.sums.add(k.channels + c));
            f32::store::<S>(sums, S::add(f32::load::<S>(sums, n), sum), n);
            f32::store::<S>(products, S::add(f32::load::<S>(products, n), product), n);
        }
    }
}

/// Sums of g and g · (x − mean) by channel, over parts: f32 within a part, f64 over the parts.
pub(crate) struct NormSums {
    pub g: Vec<f64>,
    pub gx: Vec<f64>,
    part: Vec<f32>,
}

impl NormSums {
    pub(crate) fn new(channels: usize) -> Self {
        Self { g: vec![0.; channels], gx: vec![0.; channels], part: vec![0.; 2 * channels] }
    }

    /// # Safety
    /// The pass's pointers must be valid; its `sums` are set here.
    pub(crate) unsafe fn run<E: Element>(&mut self, isa: Isa, pass: Finish<E>) {
        self.part.fill(0.);
        let sums = self.part.as_mut_ptr();
        let wanted = pass.mean.is_some();
        // SAFETY: as the caller promises.
        unsafe { launch(isa, Finish { sums, ..pass }) };
        if wanted {
            let channels = self.g.len();
            for c in 0..channels {
                self.g[c] += f64::from(self.part[c]);
                self.gx[c] += f64::from(self.part[channels + c]);
            }
        }
    }

    pub(crate) fn merge(parts: Vec<NormSums>) -> Option<NormSums> {
        let mut parts = parts.into_iter();
        let mut total = parts.next()?;
        for part in parts {
            for c in 0..total.g.len() {
                total.g[c] += part.g[c];
                total.gx[c] += part.gx[c];
            }
        }
        Some(total)
    }
}
