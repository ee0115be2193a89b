//! Sums over all pixels by channel.

use crate::cpu::isa::{Isa, Kernel, Simd, launch};

/// Mean and variance of a growing number of pixels.
///
/// Sums are taken of the differences to a first pixel, in f32 over a cache-sized part and in f64 over the parts, so
/// that a mean far from zero costs no digits.
pub(crate) struct Moments {
    reference: Vec<f32>,
    count: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
    part: Vec<f32>,
}

impl Moments {
    pub(crate) fn new(channels: usize) -> Self {
        Self {
            reference: Vec::new(),
            count: 0.,
            sums: vec![0.; channels],
            squares: vec![0.; channels],
            part: vec![0.; 2 * channels],
        }
    }

    /// # Safety
    /// `x` must hold `pixels` times the channels.
    pub(crate) unsafe fn add(&mut self, isa: Isa, x: *const f32, pixels: usize) {
        if pixels == 0 {
            return;
        }
        let channels = self.sums.len();
        if self.reference.is_empty() {
            // SAFETY: at least one pixel.
            self.reference = unsafe { std::slice::from_raw_parts(x, channels) }.to_vec();
        }
        self.part.fill(0.);
        let reference = self.reference.as_slice();
        let kernel = Differences { x, pixels, reference, sums: self.part.as_mut_ptr() };
        // SAFETY: as the caller promises.
        unsafe { launch(isa, kernel) };
        self.count += pixels as f64;
        for c in 0..channels {
            self.sums[c] += f64::from(self.part[c]);
            self.squares[c] += f64::from(self.part[channels + c]);
        }
    }

    /// Mean and biased variance of all parts together, and the number of pixels.
    pub(crate) fn merge(parts: &[Moments], channels: usize) -> (Vec<f32>, Vec<f32>, f64) {
        let count: f64 = parts.iter().map(|part| part.count).sum();
        let (mut mean, mut variance) = (vec![0f32; channels], vec![0f32; channels]);
        for c in 0..channels {
            let used = || parts.iter().filter(|part| part.count > 0.);
            let means = used().map(|p| (p.count, f64::from(p.reference[c]) + p.sums[c] / p.count));
            let total = means.map(|(n, m)| n * m).sum::<f64>() / count;
            let squares = used().map(|p| {
                let mean = p.sums[c] / p.count;
                let offset = f64::from(p.reference[c]) + mean - total;
                (p.squares[c] - p.count * mean * mean).max(0.) + p.count * offset * offset
            });
            mean[c] = total as f32;
            variance[c] = (squares.sum::<f64>() / count) as f32;
        }
        (mean, variance, count)
    }
}

struct Differences<'a> {
    x: *const f32,
    pixels: usize,
    reference: &'a [f32],
    /// Sums, then sums of squares.
    sums: *mut f32,
}

impl Kernel for Differences<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.reference.len();
        let mut c = 0;
        while c < channels {
            let n = (channels - c).min(16);
            // SAFETY: `n` channels from `c` on exist in every pixel, the reference and the sums.
            unsafe {
                if n == 16 {
                    differences::<S>(&self, c, 16);
                } else {
                    differences::<S>(&self, c, n);
                }
            }
            c += n;
        }
    }
}

#[inline(always)]
unsafe fn differences<S: Simd>(k: &Differences, c: usize, n: usize) {
    // SAFETY: `n` channels from `c` on exist in every pixel, the reference and the sums, as the caller promises.
    unsafe {
        use crate::cpu::element::Element;
        let channels = k.reference.len();
        let reference = f32::load::<S>(k.reference.as_ptr().add(c), n);
        let (mut s0, mut s1, mut q0, mut q1) = (S::splat(0.), S::splat(0.), S::splat(0.), S::splat(0.));
        let mut p = 0;
        while p + 2 <= k.pixels {
            let d0 = S::sub(f32::load::<S>(k.x.add(p * channels + c), n), reference);
            let d1 = S::sub(f32::load::<S>(k.x.add((p + 1) * channels + c), n), reference);
            (s0, s1) = (S::add(s0, d0), S::add(s1, d1));
            (q0, q1) = (S::fma(d0, d0, q0), S::fma(d1, d1, q1));
            p += 2;
        }
        if p < k.pixels {
            let d = S::sub(f32::load::<S>(k.x.add(p * channels + c), n), reference);
            (s0, q0) = (S::add(s0, d), S::fma(d, d, q0));
        }
        let (sums, squares) = (k.sums.add(c), k.sums.add(channels + c));
        f32::store::<S>(sums, S::add(f32::load::<S>(sums, n), S::add(s0, s1)), n);
        f32::store::<S>(squares, S::add(f32::load::<S>(squares, n), S::add(q0, q1)), n);
    }
}
