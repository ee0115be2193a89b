//! Weights as the tiles read them, and gradients as candle stores them.

use super::geometry::{ConvShape, Tap};
use super::threads;

/// Packed weights of one phase: for each group and each block of `16 · vectors` output channels, a row of that many
/// values for each tap and input channel. Channels beyond the last are zero.
pub(crate) struct Packed {
    pub data: Vec<f32>,
    pub vectors: usize,
    /// Rows of one block.
    pub rows: usize,
    /// Output channels of a group, without padding.
    pub outputs: usize,
}

impl Packed {
    pub(crate) fn width(&self) -> usize {
        16 * self.vectors
    }
    pub(crate) fn blocks(&self) -> usize {
        self.outputs.div_ceil(self.width())
    }
    /// Values from one group to the next.
    pub(crate) fn group_len(&self) -> usize {
        self.blocks() * self.rows * self.width()
    }

    /// For the forward convolution: rows are (tap, input channel), columns output channels.
    pub(crate) fn forward(weight: &[f32], shape: &ConvShape, taps: &[Tap], vectors: usize) -> Self {
        let (cg, og) = (shape.group_inputs(), shape.group_outputs());
        let (kh, kw) = (shape.kh, shape.kw);
        // weight[o][i][kh][kw], o over all groups
        let at = |group: usize, i: usize, o: usize, (a, b): (usize, usize)| {
            weight[(((group * og + o) * cg + i) * kh + a) * kw + b]
        };
        Self::pack(shape.config.groups, cg, og, taps, vectors, at)
    }

    /// For the data gradient: rows are (tap, output channel), columns input channels.
    pub(crate) fn backward(weight: &[f32], shape: &ConvShape, taps: &[Tap], vectors: usize) -> Self {
        let (cg, og) = (shape.group_inputs(), shape.group_outputs());
        let (kh, kw) = (shape.kh, shape.kw);
        let at = |group: usize, o: usize, i: usize, (a, b): (usize, usize)| {
            weight[(((group * og + o) * cg + i) * kh + a) * kw + b]
        };
        Self::pack(shape.config.groups, og, cg, taps, vectors, at)
    }

    fn pack(
        groups: usize,
        inputs: usize,
        outputs: usize,
        taps: &[Tap],
        vectors: usize,
        at: impl Fn(usize, usize, usize, (usize, usize)) -> f32 + Sync,
    ) -> Self {
        let mut packed = Self { data: Vec::new(), vectors, rows: taps.len() * inputs, outputs };
        let (width, blocks, block_len) = (packed.width(), packed.blocks(), packed.rows * packed.width());
        let mut data = vec![0f32; groups * packed.group_len()];
        if block_len > 0 {
            let fill = |index: usize, block: &mut [f32]| {
                let (group, first) = (index / blocks, index % blocks * width);
                let valid = width.min(outputs - first);
                let mut rows = block.chunks_exact_mut(width);
                for tap in taps {
                    for i in 0..inputs {
                        if let Some(row) = rows.next() {
                            for (o, value) in row[..valid].iter_mut().enumerate() {
                                *value = at(group, i, first + o, tap.kernel);
                            }
                        }
                    }
                }
            };
            use rayon::prelude::*;
            if data.len() > 1 << 15 && threads::count() > 1 {
                data.par_chunks_exact_mut(block_len).enumerate().for_each(|(i, block)| fill(i, block));
            } else {
                data.chunks_exact_mut(block_len).enumerate().for_each(|(i, block)| fill(i, block));
            }
        }
        packed.data = data;
        packed
    }
}

/// The weight gradient as the outer-product tiles leave it: (group, tap, input channel, padded output channel).
pub(crate) fn gradient_len(shape: &ConvShape, row: usize) -> usize {
    shape.config.groups * shape.kh * shape.kw * shape.group_inputs() * row
}

/// Sums the threads' parts and brings them into candle's order, (O, C / groups, kh, kw).
pub(crate) fn unpack_gradient(parts: &[&[f32]], shape: &ConvShape, row: usize) -> Vec<f32> {
    let (cg, og, taps) = (shape.group_inputs(), shape.group_outputs(), shape.kh * shape.kw);
    let mut out = vec![0f32; shape.o * cg * taps];
    let fill = |o: usize, values: &mut [f32]| {
        let (group, column) = (o / og, o % og);
        for i in 0..cg {
            for tap in 0..taps {
                let from = ((group * taps + tap) * cg + i) * row + column;
                values[i * taps + tap] = parts.iter().map(|part| part[from]).sum();
            }
        }
    };
    use rayon::prelude::*;
    let len = cg * taps;
    if out.len() > 1 << 15 && threads::count() > 1 {
        // Sixteen neighbouring output channels share the cache lines that they are gathered from.
        out.par_chunks_mut(16 * len).enumerate().for_each(|(b, block)| {
            block.chunks_exact_mut(len).enumerate().for_each(|(o, values)| fill(16 * b + o, values));
        });
    } else {
        out.chunks_exact_mut(len.max(1)).enumerate().for_each(|(o, values)| fill(o, values));
    }
    out
}
