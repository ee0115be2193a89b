//! The epilogue of a gradient: contributions are added, the ReLU's mask is applied, norms get their sums.

use std::ops::Range;
use std::sync::Arc;

use crate::cpu::buffer::{Buffer, Shared};
use crate::cpu::conv::Epilogue;
use crate::cpu::element::Element;
use crate::cpu::isa::{Isa, Kernel, Simd, launch};
use crate::graph::MapShape;

/// A contribution that is another gradient's buffer, seen through a subsampling and padding.
pub(super) struct Alias<E> {
    pub(super) buffer: Arc<Buffer<E>>,
    /// Shape of the aliased gradient.
    pub(super) shape: MapShape,
    pub(super) stride: (usize, usize),
    /// Zero channels in front; `None`: the same shape as the stored value.
    pub(super) reshaped: Option<usize>,
}

/// What ends a slot: the mask, the sums, the other contributions.
pub(super) struct GradientEpilogue<'a, E> {
    pub(super) shape: MapShape,
    pub(super) x: &'a Buffer<E>,
    pub(super) mask: Mask<'a>,
    pub(super) mean: Option<&'a [f32]>,
    pub(super) others: Vec<&'a Buffer<E>>,
    pub(super) reshaped: Vec<&'a Alias<E>>,
    pub(super) broadcast: Option<&'a [f32]>,
}

/// A chunk's passes over its pixels.
pub(super) struct GradientEpiloguePass<'a, E> {
    epilogue: &'a GradientEpilogue<'a, E>,
    out: Shared<E>,
    pub(super) sums: NormSums,
}

impl<'a, E: Element> GradientEpiloguePass<'a, E> {
    pub(super) fn new(epilogue: &'a GradientEpilogue<'a, E>, out: Shared<E>) -> Self {
        Self { epilogue, out, sums: NormSums::new(epilogue.shape.channels) }
    }

    /// Adds what is not laid out like the stored value to `values`.
    unsafe fn add_reshaped(&self, range: &Range<usize>, values: *mut f32) {
        let MapShape { channels, height, width } = self.epilogue.shape;
        for (at, pixel) in range.clone().enumerate() {
            let (image, i, j) = (pixel / (height * width), pixel / width % height, pixel % width);
            // SAFETY: `values` holds the range.
            let values = unsafe { std::slice::from_raw_parts_mut(values.add(at * channels), channels) };
            if let Some(broadcast) = self.epilogue.broadcast {
                let part = &broadcast[image * channels..(image + 1) * channels];
                values.iter_mut().zip(part).for_each(|(v, b)| *v += b);
            }
            for alias in &self.epilogue.reshaped {
                let (stride, before) = (alias.stride, alias.reshaped.unwrap_or(0));
                if i % stride.0 == 0 && j % stride.1 == 0 {
                    let from = (image * alias.shape.height + i / stride.0) * alias.shape.width + j / stride.1;
                    let from = from * alias.shape.channels + before;
                    let part = &alias.buffer.as_slice()[from..from + channels];
                    values.iter_mut().zip(part).for_each(|(v, g)| *v += g.to_f32());
                }
            }
        }
    }
}

impl<E: Element> Epilogue for GradientEpiloguePass<'_, E> {
    unsafe fn pixels(&mut self, isa: Isa, range: Range<usize>, values: *mut f32) {
        let epilogue = self.epilogue;
        let channels = epilogue.shape.channels;
        // SAFETY: `values` holds the range, the other maps everything.
        unsafe {
            if epilogue.broadcast.is_some() || !epilogue.reshaped.is_empty() {
                self.add_reshaped(&range, values);
            }
            let at = range.start * channels;
            let mut others = epilogue.others.iter().map(|buffer| buffer.as_ptr().add(at));
            let mut rest = others.clone().skip(2);
            let pair = [others.next().unwrap_or(std::ptr::null()), others.next().unwrap_or(std::ptr::null())];
            // More than two further contributions are rare: they are added one by one.
            for other in rest.by_ref() {
                for i in 0..range.len() * channels {
                    *values.add(i) += (*other.add(i)).to_f32();
                }
            }
            let out = if self.out.get().is_null() { self.out.get() } else { self.out.get().add(at) };
            let pass = MaskAndReduce {
                values,
                others: pair,
                x: epilogue.x.as_ptr().add(at),
                mask: epilogue.mask,
                mean: epilogue.mean,
                out,
                sums: std::ptr::null_mut(),
                pixels: range.len(),
                channels,
            };
            self.sums.run(isa, pass);
        }
    }
}

// SAFETY: a pass reads shared maps and writes its own pixels.
unsafe impl<E: Element> Send for GradientEpiloguePass<'_, E> {}

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
pub(crate) struct MaskAndReduce<'a, E> {
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

impl<E: Element> Kernel for MaskAndReduce<'_, E> {
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
                        mask_and_reduce::<S, E>(&self, first, pixels, c, 16);
                    } else {
                        mask_and_reduce::<S, E>(&self, first, pixels, c, n);
                    }
                }
                c += n;
            }
            first += pixels;
        }
    }
}

#[inline(always)]
unsafe fn mask_and_reduce<S: Simd, E: Element>(k: &MaskAndReduce<E>, first: usize, pixels: usize, c: usize, n: usize) {
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
    pub(crate) unsafe fn run<E: Element>(&mut self, isa: Isa, pass: MaskAndReduce<E>) {
        self.part.fill(0.);
        let sums = self.part.as_mut_ptr();
        let wanted = pass.mean.is_some();
        // SAFETY: as the caller promises.
        unsafe { launch(isa, MaskAndReduce { sums, ..pass }) };
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
