//! Weights as the tiles read them, and gradients as candle stores them.

use rayon::prelude::*;

use super::buffer::Buffer;
use super::element::to_bf16;
use super::geometry::{ConvShape, LANES, Panels, Tap};
use super::isa::Arithmetic;

/// Packed weights of one phase: for each group and each block of `16 · vectors` output channels, a row of that many
/// units for each panel, tap and unit of input channels. Channels beyond the last are zero.
pub(crate) struct Packed {
    pub data: Buffer<f32>,
    pub vectors: usize,
    /// Rows of one block.
    pub rows: usize,
    /// Output channels of a group, without padding.
    pub outputs: usize,
}

/// Which side of the kernel is summed over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Rows are input channels, columns output channels.
    Forward,
    /// Rows are output channels, columns input channels: the data gradient.
    Backward,
}

impl Packed {
    pub(crate) fn width(&self) -> usize {
        LANES * self.vectors
    }
    pub(crate) fn blocks(&self) -> usize {
        self.outputs.div_ceil(self.width())
    }
    /// Units from one group to the next.
    pub(crate) fn group_len(&self) -> usize {
        self.blocks() * self.rows * self.width()
    }

    /// From weights (O, C / groups, kh, kw).
    pub(crate) fn new(
        weight: &[f32],
        shape: &ConvShape,
        taps: &[Tap],
        vectors: usize,
        direction: Direction,
        arithmetic: Arithmetic,
    ) -> Self {
        let (cg, og, positions) = (shape.group_inputs(), shape.group_outputs(), shape.kh * shape.kw);
        let (inputs, outputs) = if direction == Direction::Forward { (cg, og) } else { (og, cg) };
        // Weights from one input, and from one output, of this direction to the next.
        let (input_step, output_step) =
            if direction == Direction::Forward { (positions, cg * positions) } else { (cg * positions, positions) };
        let values = arithmetic.values();
        let panels = Panels { groups: shape.config.groups, channels: inputs, values };
        let rows = taps.len() * inputs.div_ceil(values);
        let mut packed = Self { data: Buffer::new(0), vectors, rows, outputs };
        let (width, blocks, block_len) = (packed.width(), packed.blocks(), rows * packed.width());
        let mut buffer = Buffer::<f32>::new(panels.groups * packed.group_len());
        let data = buffer.as_mut_slice();
        let fill = |index: usize, block: &mut [f32]| {
            let (group, first) = (index / blocks, index % blocks * width);
            let weight = &weight[group * og * cg * positions..];
            let mut rows = block;
            for panel in 0..panels.of_group() {
                let (units, channel) = (panels.units(panel), panel * panels.width());
                let (these, rest) = rows.split_at_mut(taps.len() * units * width);
                rows = rest;
                if outputs - first < width {
                    these.fill(0.);
                }
                // One output channel's weights of a panel lie close together, and the panel's rows stay in the cache.
                for o in 0..width.min(outputs - first) {
                    let from = &weight[(first + o) * output_step..];
                    for (t, tap) in taps.iter().enumerate() {
                        let from = &from[tap.kernel.0 * shape.kw + tap.kernel.1..];
                        let to = &mut these[t * units * width + o..];
                        match arithmetic {
                            Arithmetic::Single => {
                                for unit in 0..units {
                                    to[unit * width] = from[(channel + unit) * input_step];
                                }
                            }
                            Arithmetic::Pairs => {
                                for unit in 0..units {
                                    let i = channel + 2 * unit;
                                    let low = to_bf16(from[i * input_step]);
                                    let high = if i + 1 < inputs { to_bf16(from[(i + 1) * input_step]) } else { 0 };
                                    to[unit * width] = f32::from_bits(u32::from(low) | u32::from(high) << 16);
                                }
                            }
                        }
                    }
                }
            }
        };
        if block_len > 0 {
            if data.len() > 1 << 14 {
                data.par_chunks_exact_mut(block_len).enumerate().for_each(|(i, block)| fill(i, block));
            } else {
                data.chunks_exact_mut(block_len).enumerate().for_each(|(i, block)| fill(i, block));
            }
        }
        packed.data = buffer;
        packed
    }
}

/// The weight gradient as the outer-product tiles leave it: for each group, panel, tap and input channel a row of
/// output channels, padded to whole vectors.
pub(crate) struct GradientLayout {
    groups: usize,
    inputs: usize,
    outputs: usize,
    taps: usize,
}

impl GradientLayout {
    pub(crate) fn new(shape: &ConvShape) -> Self {
        let (inputs, outputs) = (shape.group_inputs(), shape.group_outputs());
        Self { groups: shape.config.groups, inputs, outputs, taps: shape.kh * shape.kw }
    }
    /// Values of one row.
    pub(crate) fn row(&self) -> usize {
        self.outputs.next_multiple_of(LANES)
    }
    pub(crate) fn len(&self) -> usize {
        self.groups * self.taps * self.inputs * self.row()
    }

    /// Sums the threads' parts and brings them into candle's order, (O, C / groups, kh, kw).
    pub(crate) fn unpack(&self, parts: &[&[f32]]) -> Vec<f32> {
        let (row, taps, inputs) = (self.row(), self.taps, self.inputs);
        let len = inputs * taps;
        let mut out = vec![0f32; self.groups * self.outputs * len];
        // Sixteen output channels share the cache lines that they are gathered from. A panel of them is turned in a small
        // buffer, because the rows of `out` may lie in one set of the cache.
        let fill = |group: usize, first: usize, values: &mut [f32]| {
            let mut turned = vec![0f32; LANES * LANES * taps];
            let mut from = group * taps * inputs * row + first;
            for panel in (0..inputs).step_by(LANES) {
                let count = LANES.min(inputs - panel);
                for tap in 0..taps {
                    for i in 0..count {
                        let mut sum = [0f32; LANES];
                        for part in parts {
                            sum.iter_mut().zip(&part[from..from + LANES]).for_each(|(sum, part)| *sum += part);
                        }
                        for (turned, sum) in turned[i * taps + tap..].iter_mut().step_by(LANES * taps).zip(sum) {
                            *turned = sum;
                        }
                        from += row;
                    }
                }
                for (turned, values) in turned.chunks_exact(LANES * taps).zip(values.chunks_exact_mut(len)) {
                    values[panel * taps..(panel + count) * taps].copy_from_slice(&turned[..count * taps]);
                }
            }
        };
        let parallel = out.len() > 1 << 14;
        for (group, values) in out.chunks_exact_mut((self.outputs * len).max(1)).enumerate() {
            if parallel {
                let blocks = values.par_chunks_mut(LANES * len).enumerate();
                blocks.for_each(|(block, values)| fill(group, block * LANES, values));
            } else {
                let blocks = values.chunks_mut((LANES * len).max(1)).enumerate();
                blocks.for_each(|(block, values)| fill(group, block * LANES, values));
            }
        }
        out
    }
}
