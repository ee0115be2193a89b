//! Everything between convolutions: the input and the output, poolings, sums.

use super::map::{Layout, Map};
use crate::PoolConfig;
use crate::cpu::buffer::Shared;
use crate::cpu::geometry::LANES;
use crate::cpu::isa::{Isa, Kernel, Simd, launch};
use crate::cpu::threads;
use crate::graph::MapShape;

/// A batch (N, C, H, W) as a map.
pub(super) fn input(isa: Isa, x: &[f32], layout: Layout) -> Map {
    let mut map = Map::new(layout);
    let MapShape { channels, height, width } = layout.shape;
    let shared = map.shared();
    threads::shares(layout.n * height, |rows| {
        for r in rows {
            let (image, row) = (r / height, r % height);
            for panel in 0..layout.panels() {
                let first = panel * LANES;
                let kernel = InputRow {
                    x: x[((image * channels + first) * height + row) * width..].as_ptr(),
                    plane: height * width,
                    channels: LANES.min(channels - first),
                    pixels: width,
                    // SAFETY: every share writes its own rows.
                    out: unsafe {
                        shared.get().add(image * layout.image() + panel * layout.panel() + layout.at(row as isize, 0))
                    },
                };
                // SAFETY: the planes and the map hold the row.
                unsafe { launch(isa, kernel) };
            }
        }
    });
    map
}

/// One row of up to 16 planes, pixel by pixel.
struct InputRow {
    x: *const f32,
    plane: usize,
    channels: usize,
    pixels: usize,
    out: *mut f32,
}

impl Kernel for InputRow {
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
                    S::store(self.out.add((first + p) * LANES), row);
                }
            }
        }
    }
}

/// A map as a batch (N, C, H, W).
pub(super) fn output(map: &Map) -> Vec<f32> {
    let layout = map.layout;
    let MapShape { channels, height, width } = layout.shape;
    let mut out = Vec::with_capacity(layout.n * layout.shape.count());
    let values = map.values.as_slice();
    for image in 0..layout.n {
        for channel in 0..channels {
            let panel = image * layout.image() + channel / LANES * layout.panel() + channel % LANES;
            for row in 0..height {
                let at = panel + layout.at(row as isize, 0);
                out.extend((0..width).map(|col| values[at + col * LANES]));
            }
        }
    }
    out
}

/// Calls `row(image, panel, row, out)` for every row of every panel of a new map.
fn by_rows(layout: Layout, row: impl Fn(usize, usize, usize, *mut f32) + Sync) -> Map {
    let mut map = Map::new(layout);
    let (height, panels) = (layout.shape.height, layout.panels());
    let shared: Shared<f32> = map.shared();
    threads::shares(layout.n * panels * height, |rows| {
        for r in rows {
            let (image, panel, i) = (r / height / panels, r / height % panels, r % height);
            let at = image * layout.image() + panel * layout.panel() + layout.at(i as isize, 0);
            // SAFETY: every share writes its own rows.
            row(image, panel, i, unsafe { shared.get().add(at) });
        }
    });
    map
}

impl Map {
    fn row(&self, image: usize, panel: usize, row: usize) -> *const f32 {
        self.at(image, row as isize, 0).wrapping_add(panel * self.layout.panel())
    }
}

/// `x · scale + shift` by channel.
pub(super) fn affine(isa: Isa, x: &Map, scale: &[f32], shift: &[f32], relu: bool, layout: Layout) -> Map {
    let whole = |values: &[f32]| {
        let mut values = values.to_vec();
        values.resize(values.len().next_multiple_of(LANES), 0.);
        values
    };
    let (scale, shift) = (whole(scale), whole(shift));
    by_rows(layout, |image, panel, i, out| {
        let (scale, shift) = (scale[panel * LANES..].as_ptr(), shift[panel * LANES..].as_ptr());
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
        unsafe { launch(isa, kernel) };
    })
}

/// `a + b`, or `a` alone.
pub(super) fn add(isa: Isa, a: &Map, b: Option<&Map>, relu: bool, layout: Layout) -> Map {
    by_rows(layout, |image, panel, i, out| {
        let b = b.map_or(std::ptr::null(), |b| b.row(image, panel, i));
        let (scale, shift) = (std::ptr::null(), std::ptr::null());
        let kernel = RowPass { a: a.row(image, panel, i), b, scale, shift, relu, out, pixels: layout.shape.width };
        // SAFETY: all maps hold the row.
        unsafe { launch(isa, kernel) };
    })
}

/// One row of one panel: `a · scale + shift + b`, where they are not null.
struct RowPass {
    a: *const f32,
    b: *const f32,
    scale: *const f32,
    shift: *const f32,
    relu: bool,
    out: *mut f32,
    pixels: usize,
}

impl Kernel for RowPass {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: every operand holds the row.
        unsafe {
            let affine = !self.scale.is_null();
            let (scale, shift) =
                if affine { (S::load(self.scale), S::load(self.shift)) } else { (S::splat(1.), S::splat(0.)) };
            for at in (0..self.pixels).map(|p| p * LANES) {
                let mut value = S::load(self.a.add(at));
                if affine {
                    value = S::fma(value, scale, shift);
                }
                if !self.b.is_null() {
                    value = S::add(value, S::load(self.b.add(at)));
                }
                if self.relu {
                    value = S::max(S::splat(0.), value);
                }
                S::store(self.out.add(at), value);
            }
        }
    }
}

/// The maximum of each window.
pub(super) fn max_pool(isa: Isa, x: &Map, config: &PoolConfig, layout: Layout) -> Map {
    let from = x.layout.shape;
    by_rows(layout, |image, panel, i, out| {
        let top = (i * config.stride.0) as isize - config.padding.0 as isize;
        let rows = (0..config.kernel.0 as isize).map(|k| top + k).filter(|r| (0..from.height as isize).contains(r));
        let rows: Vec<*const f32> = rows.map(|r| x.row(image, panel, r as usize)).collect();
        let kernel = MaxRow { rows: &rows, width: from.width, config, out, pixels: layout.shape.width };
        // SAFETY: both maps hold the rows.
        unsafe { launch(isa, kernel) };
    })
}

struct MaxRow<'a> {
    /// The rows of the window that lie inside.
    rows: &'a [*const f32],
    width: usize,
    config: &'a PoolConfig,
    out: *mut f32,
    pixels: usize,
}

impl Kernel for MaxRow<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for pixel in 0..self.pixels {
            let left = (pixel * self.config.stride.1) as isize - self.config.padding.1 as isize;
            let first = left.max(0) as usize;
            let last = (left + self.config.kernel.1 as isize).min(self.width as isize) as usize;
            // SAFETY: the columns lie inside.
            unsafe {
                let mut best = S::splat(f32::NEG_INFINITY);
                for row in self.rows {
                    for col in first..last {
                        best = S::max(best, S::load(row.add(col * LANES)));
                    }
                }
                S::store(self.out.add(pixel * LANES), best);
            }
        }
    }
}

/// The mean over all pixels.
pub(super) fn global_avg_pool(isa: Isa, x: &Map, layout: Layout) -> Map {
    let MapShape { height, width, .. } = x.layout.shape;
    by_rows(layout, |image, panel, _, out| {
        let kernel = MeanOfPanel { x: x.row(image, panel, 0), row: x.layout.row(), height, width, out };
        // SAFETY: the map holds the panel.
        unsafe { launch(isa, kernel) };
    })
}

struct MeanOfPanel {
    x: *const f32,
    row: usize,
    height: usize,
    width: usize,
    out: *mut f32,
}

impl Kernel for MeanOfPanel {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: as the caller promises.
        unsafe {
            let mut sum = S::splat(0.);
            for r in 0..self.height {
                for c in 0..self.width {
                    sum = S::add(sum, S::load(self.x.add(r * self.row + c * LANES)));
                }
            }
            let mean = S::splat(1. / (self.height * self.width) as f32);
            S::store(self.out, S::fma(sum, mean, S::splat(0.)));
        }
    }
}

/// Every stride-th pixel, channels shifted by `before`; zeros elsewhere.
pub(super) fn shortcut(x: &Map, stride: (usize, usize), before: usize, layout: Layout) -> Map {
    let channels = x.layout.shape.channels;
    let values = x.values.as_slice();
    by_rows(layout, |image, panel, i, out| {
        let row = image * x.layout.image() + x.layout.at((i * stride.0) as isize, 0);
        for p in 0..layout.shape.width {
            let at = row + p * stride.1 * LANES;
            let lane = |lane: usize| match (panel * LANES + lane).checked_sub(before) {
                Some(c) if c < channels => values[at + c / LANES * x.layout.panel() + c % LANES],
                _ => 0.,
            };
            let lanes: [f32; LANES] = std::array::from_fn(lane);
            // SAFETY: the row of the new map holds this pixel.
            unsafe { std::ptr::copy_nonoverlapping(lanes.as_ptr(), out.add(p * LANES), LANES) };
        }
    })
}
