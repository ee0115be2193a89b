//! Average pooling, channels-last.

use std::sync::Arc;

use candle_core::Result;

use super::backward::Backward;
use super::elementwise::Store;
use super::forward::Forward;
use super::gradient_epilogue::GradientEpiloguePass;
use super::plan::View;
use crate::AvgPoolConfig;
use crate::cpu::buffer::Buffer;
use crate::cpu::conv::Epilogue;
use crate::cpu::element::Element;
use crate::cpu::isa::{Kernel, Simd, launch};
use crate::cpu::threads;
use crate::graph::MapShape;

/// Windows over one image and the pixels in them.
#[derive(Clone, Copy)]
struct Windows {
    config: AvgPoolConfig,
    input: MapShape,
    output: MapShape,
}

impl Windows {
    /// Calls `f(output pixel, input pixel, 1 / pixels of the window)` for all pairs.
    #[inline(always)]
    fn each(&self, mut f: impl FnMut(usize, usize, f32)) {
        let AvgPoolConfig { kernel, stride, padding, .. } = self.config;
        let size = (self.input.height, self.input.width);
        for i in 0..self.output.height {
            let (top, bottom) = AvgPoolConfig::span(i, kernel.0, stride.0, padding.0, size.0);
            for j in 0..self.output.width {
                let (left, right) = AvgPoolConfig::span(j, kernel.1, stride.1, padding.1, size.1);
                let weight = 1. / self.config.count(size, (i, j)) as f32;
                for row in top..bottom {
                    for column in left..right {
                        f(i * self.output.width + j, row * size.1 + column, weight);
                    }
                }
            }
        }
    }
}

/// Adds the mean of each window of an image `x` (H, W, C) to `y` (H', W', C).
struct AveragePool<'a> {
    windows: Windows,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for AveragePool<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (channels, x, y) = (self.windows.input.channels, self.x, self.y);
        self.windows.each(|output, input, weight| {
            let (y, x) = (&mut y[output * channels..][..channels], &x[input * channels..][..channels]);
            y.iter_mut().zip(x).for_each(|(y, x)| *y += x * weight);
        });
    }
}

/// Adds each output's gradient `dy` (H', W', C), in equal parts, to its window's pixels in `dx` (H, W, C).
struct AveragePoolBackward<'a, E> {
    windows: Windows,
    dy: &'a [E],
    dx: &'a mut [f32],
}

impl<E: Element> Kernel for AveragePoolBackward<'_, E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (channels, dy, dx) = (self.windows.input.channels, self.dy, self.dx);
        self.windows.each(|output, input, weight| {
            let (dx, dy) = (&mut dx[input * channels..][..channels], &dy[output * channels..][..channels]);
            dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy.to_f32() * weight);
        });
    }
}

impl<E: Element> Forward<'_, E> {
    pub(super) fn average_pool(&mut self, config: &AvgPoolConfig, input: &View, out: usize) -> Result<()> {
        let (from, to) = (self.tape.shapes[input.node], self.shape(out));
        let windows = Windows { config: *config, input: from, output: to };
        let mut buffer = Buffer::<E>::new(self.tape.n * to.count());
        let shared = buffer.shared();
        let reading = self.rows(input, from)?;
        let (isa, this) = (self.isa, &*self);
        let parts = threads::static_partition(self.tape.n, |chunk| {
            let mut moments = this.moments(out);
            let (mut x, mut y) = (Buffer::<f32>::new(from.count()), Buffer::<f32>::new(to.count()));
            for image in chunk {
                y.as_mut_slice().fill(0.);
                // SAFETY: the scratches hold one image each; every chunk writes its own images.
                unsafe {
                    for (i, row) in x.as_mut_slice().chunks_exact_mut(from.width * from.channels).enumerate() {
                        reading.row(isa, image, i, row.as_mut_ptr());
                    }
                    launch(isa, AveragePool { windows, x: x.as_slice(), y: y.as_mut_slice() });
                    let out = shared.get().add(image * to.count());
                    launch(isa, Store { values: y.as_ptr(), out, len: to.count() });
                    if let Some(moments) = &mut moments {
                        moments.add(isa, y.as_ptr(), to.height * to.width);
                    }
                }
            }
            moments
        });
        self.finish(out, buffer, Some(parts.into_iter().flatten().collect()))
    }
}

impl<E: Element> Backward<'_, E> {
    pub(super) fn average_pool(
        &mut self,
        config: &AvgPoolConfig,
        input: &View,
        out: usize,
        g: &Arc<Buffer<E>>,
    ) -> Result<()> {
        if !self.wanted(input) {
            return self.contributed(input.slot);
        }
        let (from, to) = (self.tape.shapes[input.node], self.stored_shape(out));
        let windows = Windows { config: *config, input: from, output: to };
        let (isa, n) = (self.isa, self.tape.n);
        self.computed(input.slot, |_, epilogue, shared| {
            Ok(threads::static_partition(n, |chunk| {
                let mut pass = GradientEpiloguePass::new(epilogue, shared);
                let mut scratch = Buffer::<f32>::new(from.count());
                for image in chunk {
                    let dx = scratch.as_mut_slice();
                    dx.fill(0.);
                    let dy = &g.as_slice()[image * to.count()..(image + 1) * to.count()];
                    let pixels = from.height * from.width;
                    // SAFETY: the scratch holds one image.
                    unsafe {
                        launch(isa, AveragePoolBackward { windows, dy, dx: &mut *dx });
                        pass.pixels(isa, image * pixels..(image + 1) * pixels, dx.as_mut_ptr());
                    }
                }
                pass.sums
            }))
        })
    }
}
