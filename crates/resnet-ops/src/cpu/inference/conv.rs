//! One convolution of inference: which algorithm, and how the work is shared among threads.

use std::ops::Range;

use candle_core::Result;

use super::map::{Layout, Map, Stored};
use super::weights::Weights;
use crate::cpu::buffer::{Buffer, Shared};
use crate::cpu::conv::implicit_gemm::ImplicitGemm;
use crate::cpu::conv::problem::ConvProblem;
use crate::cpu::conv::taps::KSpan;
use crate::cpu::conv::window::LANES;
use crate::cpu::conv::{BLOCK_ROWS, microkernel_vectors};
use crate::cpu::conv::{taps, winograd};
use crate::cpu::isa::{Arithmetic, Isa, launch_in};
use crate::cpu::threads;

/// Bytes of input that one item reads: well within a second-level cache, with room for weights. Where there are many
/// weights, an item is larger, because each item passes over all of them.
fn item_bytes(shape: &ConvProblem) -> usize {
    (shape.o * shape.group_inputs() * shape.kh * shape.kw).clamp(256 << 10, 1 << 20)
}

/// `x ∗ weights + bias`, plus the residual, rectified if asked for.
pub(super) fn conv<E: Stored>(
    isa: Isa,
    x: &Map<E>,
    weights: &Weights,
    residual: Option<&Map<E>>,
    relu: bool,
    out: Layout,
) -> Result<Map<E>> {
    let (from, to) = (x.layout.shape, out.shape);
    let shape = weights.shape(out.n, (from.height, from.width), (to.height, to.width));
    if shape.c != from.channels || shape.o != to.channels {
        bail!("a convolution of {} channels does not fit {} channels", shape.c, from.channels);
    }
    if residual.is_some_and(|residual| residual.layout.shape != to) {
        bail!("a sum of maps of different shapes");
    }
    let mut y = Map::new(out);
    if winograd_wins(&shape, E::ARITHMETIC) {
        winograd_conv(isa, &shape, x, weights, residual, relu, &mut y)?;
    } else {
        direct(isa, &shape, x, weights, residual, relu, &mut y)?;
    }
    Ok(y)
}

/// Whether Winograd's algorithm is the faster one.
fn winograd_wins(shape: &ConvProblem, arithmetic: Arithmetic) -> bool {
    let squares = winograd::squares(shape.n, (shape.oh, shape.ow));
    winograd::applies(shape, arithmetic) && squares >= 14
}

/// Output rows of one image, for some blocks of output channels.
struct WorkItem {
    image: usize,
    rows: Range<usize>,
    blocks: (usize, usize),
}

/// The items, those of a thread after those of another. There are several for each, so that a thread may take from a slower
/// one.
fn items(shape: &ConvProblem, blocks: usize, row_bytes: usize) -> Vec<WorkItem> {
    let threads = threads::count();
    let most = (item_bytes(shape) / row_bytes.max(1)).max(1);
    let whole = shape.n.is_multiple_of(threads) || shape.n >= 8 * threads;
    // Few images: rows where they are many, else output channels.
    let split_blocks = !whole && (blocks.is_multiple_of(threads) || shape.oh < 4 * threads && blocks > 2 * threads);
    let chunk = |t: usize| {
        let part = |len: usize, split: bool| if split { threads::chunk(t, threads, len) } else { 0..len };
        let (images, blocks) = (part(shape.n, whole), part(blocks, split_blocks));
        let rows = part(shape.oh, !whole && !split_blocks);
        let bands = rows.len().div_ceil(most).max(1);
        let pieces = LEAST.div_ceil(images.len().max(1) * bands).min(blocks.len()).max(1);
        images.flat_map(move |image| {
            let (rows, blocks) = (rows.clone(), blocks.clone());
            (0..bands * pieces).map(move |i| {
                let cut = |range: &Range<usize>, i: usize, parts: usize| {
                    let part = threads::chunk(i, parts, range.len());
                    range.start + part.start..range.start + part.end
                };
                let blocks = cut(&blocks, i % pieces, pieces);
                WorkItem { image, rows: cut(&rows, i / pieces, bands), blocks: (blocks.start, blocks.end) }
            })
        })
    };
    (0..threads).flat_map(chunk).collect()
}

/// Items of a thread at least, where there is so much to share.
const LEAST: usize = 4;

fn direct<E: Stored>(
    isa: Isa,
    shape: &ConvProblem,
    x: &Map<E>,
    weights: &Weights,
    residual: Option<&Map<E>>,
    relu: bool,
    y: &mut Map<E>,
) -> Result<()> {
    let config = &shape.config;
    // Pixels without neighbours lie in one row if neither map has a border.
    let flat = shape.single()
        && config.stride == (1, 1)
        && (x.layout.border, y.layout.border) == (0, 0)
        && residual.is_none_or(|residual| residual.layout.border == 0);
    let cols = if flat { shape.oh * shape.ow } else { shape.ow };
    let packed = weights.direct(isa, E::ARITHMETIC, microkernel_vectors(isa, shape.group_outputs(), cols))?;
    let (panels, window) = (x.layout.channels(config.groups), x.layout.window());
    let spans = taps::k_spans(&taps::forward_taps(shape), &window, &panels);
    // What is kept as bf16 is summed at once: parts of a sum would be rounded.
    let blocks = taps::blocks(&spans, if E::NARROW { usize::MAX } else { BLOCK_ROWS / packed.vectors });
    let row_bytes = 4 * window.row_len() * panels.count() * config.stride.0;
    let items = items(shape, packed.blocks(), row_bytes);
    let to = y.layout;
    let shared = y.shared();
    threads::balanced(items.len(), |i| {
        let WorkItem { image, ref rows, blocks: outputs } = items[i];
        let r = rows.start as isize;
        let row = r * config.stride.0 as isize - config.padding.0 as isize;
        // SAFETY: maps hold the rows with their borders; items write different rows or channels.
        unsafe {
            let scratch = x.at(image, row, -(config.padding.1 as isize)).cast();
            let y = shared.get().add(image * to.image() + to.at(r, 0)).cast();
            let gemm = ImplicitGemm {
                x_step: config.stride.1 * window.pixel,
                x_row: config.stride.0 * window.row_len(),
                x_group: panels.of_group() * window.panel_len(),
                groups: config.groups,
                outputs,
                bias: weights.bias.as_ptr(),
                y_pixel: to.pixel(),
                y_row: to.row(),
                y_vector: to.panel(),
                y_group: to.channels(config.groups).of_group() * to.panel(),
                rows: if flat { 1 } else { rows.len() },
                cols: if flat { rows.len() * shape.ow } else { shape.ow },
                residual: residual.map_or(std::ptr::null(), |residual| residual.at(image, r, 0).cast()),
                residual_row: residual.map_or(0, |residual| residual.layout.row()),
                residual_vector: residual.map_or(0, |residual| residual.layout.panel()),
                relu,
                narrow: E::NARROW,
                ..ImplicitGemm::pixel(scratch, &blocks, packed, y)
            };
            launch_in(isa, E::ARITHMETIC, gemm);
        }
    });
    Ok(())
}

#[allow(clippy::too_many_arguments)] // each is a different thing
fn winograd_conv<E: Stored>(
    isa: Isa,
    shape: &ConvProblem,
    x: &Map<E>,
    weights: &Weights,
    residual: Option<&Map<E>>,
    relu: bool,
    y: &mut Map<E>,
) -> Result<()> {
    let transformed = weights.transformed(isa, microkernel_vectors(isa, shape.o, usize::MAX))?;
    let first = transformed.first();
    let (from, to) = (x.layout, y.layout);
    let shared = y.shared();
    // SAFETY: the maps hold their first pixel, the input with a border.
    let gemm = || unsafe {
        ImplicitGemm {
            images: shape.n,
            x_image: from.image(),
            x_row: from.window().row_len(),
            bias: weights.bias.as_ptr(),
            y_pixel: to.pixel(),
            y_row: to.row(),
            y_image: to.image(),
            y_vector: to.panel(),
            rows: shape.oh,
            cols: shape.ow,
            residual: residual.map_or(std::ptr::null(), |residual| residual.at(0, 0, 0).cast()),
            residual_image: residual.map_or(0, |residual| residual.layout.image()),
            residual_row: residual.map_or(0, |residual| residual.layout.row()),
            residual_vector: residual.map_or(0, |residual| residual.layout.panel()),
            relu,
            ..ImplicitGemm::pixel(x.at(0, -1, -1).cast(), &[], first, shared.get().add(to.at(0, 0)).cast())
        }
    };
    let (squares, panel_len) = (winograd::squares(shape.n, (shape.oh, shape.ow)), from.window().panel_len());
    // SAFETY: the maps hold all images, the input with a border.
    unsafe { winograd::convolve_in_team(isa, gemm, panel_len, transformed, squares) };
    Ok(())
}

/// `x wᵀ + b` of vectors, kept as maps of one pixel: (N · O) values.
pub(super) fn linear<E: Stored>(isa: Isa, x: &Map<E>, weights: &Weights) -> Result<Vec<f32>> {
    let Layout { n, shape: from, .. } = x.layout;
    if (from.channels, from.height, from.width) != (weights.group_inputs, 1, 1) {
        bail!("a linear layer of {} inputs does not fit {} channels", weights.group_inputs, from.channels);
    }
    let packed = weights.direct(isa, E::ARITHMETIC, microkernel_vectors(isa, weights.outputs, usize::MAX))?;
    // Images side by side, as pixels of a row.
    let (panels, pixel) = (x.layout.channels(1), x.layout.pixel());
    let mut rows = Buffer::<E>::new(panels.count() * n * pixel);
    let first = x.layout.at(0, 0);
    for (image, values) in x.values.as_slice().chunks_exact(x.layout.image()).enumerate() {
        for (panel, values) in values.chunks(x.layout.panel()).enumerate().take(panels.count()) {
            rows.as_mut_slice()[(panel * n + image) * pixel..][..pixel].copy_from_slice(&values[first..][..pixel]);
        }
    }
    let run = |panel: usize| KSpan { offset: panel * n * LANES, len: panels.units(panel) };
    let spans = [(0..panels.count()).map(run).collect::<Vec<_>>()];
    let mut logits = vec![0f32; n * weights.outputs];
    let shared = Shared(logits.as_mut_ptr());
    threads::static_partition(packed.blocks(), |blocks| {
        let gemm = ImplicitGemm {
            outputs: (blocks.start, blocks.end),
            bias: weights.bias.as_ptr(),
            y_pixel: weights.outputs,
            cols: n,
            ..ImplicitGemm::pixel(rows.as_ptr().cast(), &spans, packed, shared.get())
        };
        // SAFETY: rows and logits hold all images; chunks write different outputs.
        unsafe { launch_in(isa, E::ARITHMETIC, gemm) };
    });
    Ok(logits)
}
