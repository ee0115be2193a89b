//! Everything between convolutions: the input and the output, poolings, sums.

use std::ops::Range;

use super::map::{Layout, Map, Stored};
use crate::PoolConfig;
use crate::cpu::conv::window::{IMAGE_CHANNELS, LANES};
use crate::cpu::isa::{Isa, Kernel, Simd, launch_in};
use crate::cpu::threads;
use crate::graph::MapShape;

/// A batch (N, C, H, W) as a map.
pub(super) fn input<E: Stored>(isa: Isa, x: &[f32], layout: Layout) -> Map<E> {
    let mut map = Map::<E>::new(layout);
    let MapShape { channels, height, width } = layout.shape;
    let shared = map.shared();
    threads::static_partition(layout.n * height, |rows| {
        for r in rows {
            let (image, row) = (r / height, r % height);
            if layout.unpadded {
                // SAFETY: every chunk writes its own rows.
                let out = unsafe {
                    let first = shared.get().add(image * layout.image() + layout.at(row as isize, 0));
                    std::slice::from_raw_parts_mut(first, IMAGE_CHANNELS * width)
                };
                let plane = |c: usize| &x[((image * channels + c) * height + row) * width..][..width];
                let [red, green, blue] = [0, 1, 2].map(plane);
                for (pixel, ((&r, &g), &b)) in out.chunks_exact_mut(IMAGE_CHANNELS).zip(red.iter().zip(green).zip(blue))
                {
                    pixel.copy_from_slice(&[r, g, b].map(E::from_f32));
                }
                continue;
            }
            for vector in 0..channels.div_ceil(LANES) {
                let first = vector * LANES;
                let at = image * layout.image() + layout.vector(vector) + layout.at(row as isize, 0);
                let kernel = InputRow::<E> {
                    x: x[((image * channels + first) * height + row) * width..].as_ptr(),
                    plane: height * width,
                    channels: LANES.min(channels - first),
                    pixels: width,
                    // SAFETY: every chunk writes its own rows.
                    out: unsafe { shared.get().add(at) },
                };
                // SAFETY: the planes and the map hold the row.
                unsafe { launch_in(isa, E::ARITHMETIC, kernel) };
            }
        }
    });
    map
}

/// One row of up to 16 planes, pixel by pixel.
struct InputRow<E> {
    x: *const f32,
    plane: usize,
    channels: usize,
    pixels: usize,
    out: *mut E,
}

impl<E: Stored> Kernel for InputRow<E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for first in (0..self.pixels).step_by(LANES) {
            let n = LANES.min(self.pixels - first);
            // SAFETY: `n` pixels of every plane.
            unsafe {
                let mut rows = [S::splat(0.); LANES];
                for (c, row) in rows.iter_mut().enumerate().take(self.channels) {
                    let from = self.x.add(c * self.plane + first);
                    *row = if n == LANES { S::load(from) } else { S::load_part(from, n) };
                }
                S::transpose(&mut rows);
                for (p, &row) in rows.iter().enumerate().take(n) {
                    E::store::<S>(self.out.add((first + p) * LANES * E::VALUES), row, LANES);
                }
            }
        }
    }
}

/// A map as a batch (N, C, H, W).
pub(super) fn output<E: Stored>(map: &Map<E>) -> Vec<f32> {
    let layout = map.layout;
    let MapShape { channels, height, width } = layout.shape;
    let mut out = Vec::with_capacity(layout.n * layout.shape.count());
    let values = map.values.as_slice();
    for image in 0..layout.n {
        for channel in 0..channels {
            let first = image * layout.image() + layout.vector(channel / LANES) + channel % LANES;
            for row in 0..height {
                let at = first + layout.at(row as isize, 0);
                out.extend((0..width).map(|col| values[at + col * layout.pixel()].to_f32()));
            }
        }
    }
    out
}

/// Calls `row(image, panel, row, out)` for every row of every panel of a new map.
fn by_rows<E: Stored>(layout: Layout, row: impl Fn(usize, usize, usize, *mut E) + Sync) -> Map<E> {
    let mut map = Map::<E>::new(layout);
    let (height, panels) = (layout.shape.height, layout.panels());
    let shared = map.shared();
    threads::static_partition(layout.n * panels * height, |rows| {
        for r in rows {
            let (image, panel, i) = (r / height / panels, r / height % panels, r % height);
            let at = image * layout.image() + panel * layout.panel() + layout.at(i as isize, 0);
            // SAFETY: every chunk writes its own rows.
            row(image, panel, i, unsafe { shared.get().add(at) });
        }
    });
    map
}

impl<E: Stored> Map<E> {
    fn row(&self, image: usize, panel: usize, row: usize) -> *const E {
        self.at(image, row as isize, 0).wrapping_add(panel * self.layout.panel())
    }
}

/// `x · scale + shift` by channel.
pub(super) fn affine<E: Stored>(
    isa: Isa,
    x: &Map<E>,
    (scale, shift): (&[f32], &[f32]),
    relu: bool,
    layout: Layout,
) -> Map<E> {
    let whole = |values: &[f32]| {
        let mut values = values.to_vec();
        values.resize(values.len().next_multiple_of(layout.pixel()), 0.);
        values
    };
    let (scale, shift) = (whole(scale), whole(shift));
    by_rows(layout, |image, panel, i, out| {
        let first = panel * layout.pixel();
        let (scale, shift) = (scale[first..].as_ptr(), shift[first..].as_ptr());
        let kernel = RowPass {
            a: x.row(image, panel, i),
            b: std::ptr::null(),
            scale,
            shift,
            relu,
            out,
            pixels: layout.shape.width,
        };
        // SAFETY: both maps hold the row.
        unsafe { launch_in(isa, E::ARITHMETIC, kernel) };
    })
}

/// `a + b`, or `a` alone.
pub(super) fn add<E: Stored>(isa: Isa, a: &Map<E>, b: Option<&Map<E>>, relu: bool, layout: Layout) -> Map<E> {
    by_rows(layout, |image, panel, i, out| {
        let b = b.map_or(std::ptr::null(), |b| b.row(image, panel, i));
        let (scale, shift) = (std::ptr::null(), std::ptr::null());
        let kernel = RowPass { a: a.row(image, panel, i), b, scale, shift, relu, out, pixels: layout.shape.width };
        // SAFETY: all maps hold the row.
        unsafe { launch_in(isa, E::ARITHMETIC, kernel) };
    })
}

/// One row of one panel: `a · scale + shift + b`, where they are not null.
struct RowPass<E> {
    a: *const E,
    b: *const E,
    scale: *const f32,
    shift: *const f32,
    relu: bool,
    out: *mut E,
    pixels: usize,
}

impl<E: Stored> Kernel for RowPass<E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: every operand holds the row.
        unsafe {
            let affine = !self.scale.is_null();
            for vector in 0..E::VALUES {
                let (mut scale, mut shift) = (S::splat(1.), S::splat(0.));
                if affine {
                    scale = S::load(self.scale.add(vector * LANES));
                    shift = S::load(self.shift.add(vector * LANES));
                }
                for at in (0..self.pixels).map(|p| (p * E::VALUES + vector) * LANES) {
                    let mut value = E::load::<S>(self.a.add(at), LANES);
                    if affine {
                        value = S::fma(value, scale, shift);
                    }
                    if !self.b.is_null() {
                        value = S::add(value, E::load::<S>(self.b.add(at), LANES));
                    }
                    if self.relu {
                        value = S::max(S::splat(0.), value);
                    }
                    E::store::<S>(self.out.add(at), value, LANES);
                }
            }
        }
    }
}

/// The maximum of each window.
pub(super) fn max_pool<E: Stored>(isa: Isa, x: &Map<E>, config: &PoolConfig, layout: Layout) -> Map<E> {
    let from = x.layout.shape;
    by_rows(layout, |image, panel, i, out| {
        let top = (i * config.stride.0) as isize - config.padding.0 as isize;
        let rows = (0..config.kernel.0 as isize).map(|k| top + k).filter(|r| (0..from.height as isize).contains(r));
        let rows: Vec<*const E> = rows.map(|r| x.row(image, panel, r as usize)).collect();
        let kernel = MaxRow { rows: &rows, width: from.width, config, out, pixels: layout.shape.width };
        // SAFETY: both maps hold the rows.
        unsafe { launch_in(isa, E::ARITHMETIC, kernel) };
    })
}

struct MaxRow<'a, E> {
    /// The rows of the window that lie inside.
    rows: &'a [*const E],
    width: usize,
    config: &'a PoolConfig,
    out: *mut E,
    pixels: usize,
}

impl<E: Stored> Kernel for MaxRow<'_, E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for pixel in 0..self.pixels {
            let left = (pixel * self.config.stride.1) as isize - self.config.padding.1 as isize;
            let first = left.max(0) as usize;
            let last = (left + self.config.kernel.1 as isize).min(self.width as isize) as usize;
            // SAFETY: the columns lie inside.
            unsafe {
                for vector in 0..E::VALUES {
                    let at = |pixel: usize| (pixel * E::VALUES + vector) * LANES;
                    let mut best = S::splat(f32::NEG_INFINITY);
                    for row in self.rows {
                        for col in first..last {
                            best = S::max(best, E::load::<S>(row.add(at(col)), LANES));
                        }
                    }
                    E::store::<S>(self.out.add(at(pixel)), best, LANES);
                }
            }
        }
    }
}

/// The mean over all pixels.
pub(super) fn global_avg_pool<E: Stored>(isa: Isa, x: &Map<E>, layout: Layout) -> Map<E> {
    let MapShape { height, width, .. } = x.layout.shape;
    by_rows(layout, |image, panel, _, out| {
        let kernel = MeanOfPanel { x: x.row(image, panel, 0), row: x.layout.row(), height, width, out };
        // SAFETY: the map holds the panel.
        unsafe { launch_in(isa, E::ARITHMETIC, kernel) };
    })
}

struct MeanOfPanel<E> {
    x: *const E,
    row: usize,
    height: usize,
    width: usize,
    out: *mut E,
}

impl<E: Stored> Kernel for MeanOfPanel<E> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: as the caller promises.
        unsafe {
            for vector in 0..E::VALUES {
                let mut sum = S::splat(0.);
                for r in 0..self.height {
                    for c in 0..self.width {
                        let at = r * self.row + (c * E::VALUES + vector) * LANES;
                        sum = S::add(sum, E::load::<S>(self.x.add(at), LANES));
                    }
                }
                let mean = S::splat(1. / (self.height * self.width) as f32);
                E::store::<S>(self.out.add(vector * LANES), S::fma(sum, mean, S::splat(0.)), LANES);
            }
        }
    }
}

/// Every stride-th pixel, channels shifted by `before`; zeros elsewhere.
pub(super) fn shortcut<E: Stored>(x: &Map<E>, stride: (usize, usize), before: usize, layout: Layout) -> Map<E> {
    let (channels, pixel) = (x.layout.shape.channels, x.layout.pixel());
    let values = x.values.as_slice();
    by_rows(layout, |image, panel, i, out: *mut E| {
        let row = image * x.layout.image() + x.layout.at((i * stride.0) as isize, 0);
        // Where each channel of the panel comes from; runs of them are copied together.
        let mut runs: Vec<Range<usize>> = Vec::new();
        let from = |lane: usize| (panel * pixel + lane).checked_sub(before).filter(|&c| c < channels);
        let mut starts = Vec::new();
        for (lane, c) in (0..pixel).filter_map(|lane| Some((lane, from(lane)?))) {
            match runs.last_mut() {
                Some(run) if c % LANES != 0 && run.end == lane => run.end += 1,
                _ => {
                    runs.push(lane..lane + 1);
                    starts.push(row + x.layout.vector(c / LANES) + c % LANES);
                }
            }
        }
        for p in 0..layout.shape.width {
            // SAFETY: the row of the new map holds this pixel.
            let out = unsafe { std::slice::from_raw_parts_mut(out.add(p * pixel), pixel) };
            out.fill(E::default());
            for (run, start) in runs.iter().zip(&starts) {
                out[run.clone()].copy_from_slice(&values[start + p * stride.1 * pixel..][..run.len()]);
            }
        }
    })
}
