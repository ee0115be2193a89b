//! Weights as the tiles read them, and gradients as candle stores them.

use super::problem::ConvProblem;
use super::taps::Tap;
use super::window::{LANES, Panels};
use crate::cpu::buffer::{Buffer, Shared};
use crate::cpu::isa::{Arithmetic, Bf16Kernel, Isa, Kernel, Simd, SimdBf16, launch, launch_bf16};
use crate::cpu::threads;

/// Values from which work on weights is shared among threads.
const SHARED: usize = 1 << 14;

/// Weights asked for ahead of those that are read: rows lie far apart, so that the processor does not do it alone.
const AHEAD: usize = 256;

/// PackedWeights weights of one phase: for each group and each block of `16 · vectors` output channels, a row of that many
/// units for each panel, tap and unit of input channels. Channels beyond the last are zero.
pub(crate) struct PackedWeights {
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

impl PackedWeights {
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
        (isa, arithmetic): (Isa, Arithmetic),
        weight: &[f32],
        problem: &ConvProblem,
        taps: &[Tap],
        vectors: usize,
        direction: Direction,
    ) -> Self {
        let (cg, og, positions) = (problem.group_inputs(), problem.group_outputs(), problem.kh * problem.kw);
        let (inputs, outputs) = if direction == Direction::Forward { (cg, og) } else { (og, cg) };
        let values = arithmetic.values();
        let panels = Panels { groups: problem.config.groups, channels: inputs, values };
        let rows = taps.len() * inputs.div_ceil(values);
        let mut packed = Self { data: Buffer::new(0), vectors, rows, outputs };
        let (width, blocks, block_len) = (packed.width(), packed.blocks(), rows * packed.width());
        let mut buffer = Buffer::<f32>::new(panels.groups * packed.group_len());
        let positions_of_taps: Vec<usize> = taps.iter().map(|tap| tap.kernel.0 * problem.kw + tap.kernel.1).collect();
        let (len, target) = (buffer.len(), buffer.shared());
        let fill = |index: usize| {
            // SAFETY: every block is its own part of the buffer.
            let block = unsafe { std::slice::from_raw_parts_mut(target.get().add(index * block_len), block_len) };
            let (group, first) = (index / blocks, index % blocks * width);
            let weight = &weight[group * og * cg * positions..(group + 1) * og * cg * positions];
            let (taps, positions) = (positions_of_taps.as_slice(), positions);
            let kernel = Turn { weight, direction, inputs, outputs, positions, taps, panels, first, width, block };
            // SAFETY: the kernel stays within its slices.
            unsafe {
                match arithmetic {
                    Arithmetic::F32 => launch(isa, kernel),
                    Arithmetic::Bf16Dot => launch_bf16(kernel),
                }
            }
        };
        threads::each(panels.groups * blocks, len > SHARED, fill);
        packed.data = buffer;
        packed
    }
}

/// Turns one group's weights into one block of packed ones.
struct Turn<'a> {
    /// (output, input, position) of the convolution.
    weight: &'a [f32],
    direction: Direction,
    inputs: usize,
    outputs: usize,
    positions: usize,
    /// Positions of the taps.
    taps: &'a [usize],
    panels: Panels,
    /// First output channel of the block, and how many it is wide.
    first: usize,
    width: usize,
    block: &'a mut [f32],
}

impl Turn<'_> {
    /// Calls `each(panel, vector, turned, target)` for every panel and 16 outputs: `turned` holds a row of 16 outputs
    /// for each (channel of the panel, position), `target` is the block's first row of the panel at those outputs.
    #[inline(always)]
    unsafe fn each<S: Simd>(&mut self, each: impl Fn(&Self, usize, *const f32, *mut f32)) {
        let mut turned = vec![0f32; self.panels.width().min(self.inputs) * self.positions * LANES + LANES * LANES];
        let mut row = 0;
        for panel in 0..self.panels.of_group() {
            let channel = panel * self.panels.width();
            let count = self.panels.width().min(self.inputs - channel);
            for vector in 0..self.width / LANES {
                let output = self.first + vector * LANES;
                let outputs = self.outputs.saturating_sub(output).min(LANES);
                // SAFETY: `turned` holds all rows of a panel and one turned square more, the block the panel's rows.
                unsafe {
                    match self.direction {
                        Direction::Forward => self.forward::<S>(channel, count, output, outputs, &mut turned),
                        Direction::Backward => self.backward::<S>(channel, count, output, outputs, &mut turned),
                    }
                    let target = self.block.as_mut_ptr().add(row * self.width + vector * LANES);
                    each(self, panel, turned.as_ptr(), target);
                }
            }
            row += self.taps.len() * self.panels.units(panel);
        }
    }

    /// The weights of `count` input channels lie together, one output channel after the other.
    #[inline(always)]
    unsafe fn forward<S: Simd>(&self, channel: usize, count: usize, output: usize, outputs: usize, turned: &mut [f32]) {
        let len = count * self.positions;
        for start in (0..len).step_by(LANES) {
            let n = (len - start).min(LANES);
            // SAFETY: `n` weights of every output channel that there is.
            unsafe {
                let mut rows = [S::splat(0.); LANES];
                for (o, row) in rows.iter_mut().enumerate().take(outputs) {
                    let at = ((output + o) * self.inputs + channel) * self.positions + start;
                    let from = self.weight.as_ptr().add(at);
                    S::prefetch(from.wrapping_add(AHEAD).cast());
                    *row = if n == LANES { S::load(from) } else { S::load_part(from, n) };
                }
                S::transpose(&mut rows);
                for (i, &row) in rows.iter().enumerate() {
                    S::store(turned.as_mut_ptr().add((start + i) * LANES), row);
                }
            }
        }
    }

    /// The weights of one (here input) channel and 16 (here output) channels lie together, position by position.
    #[inline(always)]
    unsafe fn backward<S: Simd>(
        &self,
        channel: usize,
        count: usize,
        output: usize,
        outputs: usize,
        turned: &mut [f32],
    ) {
        for c in 0..count {
            let from = ((channel + c) * self.outputs + output) * self.positions;
            // SAFETY: the weights of these channels.
            unsafe {
                let from = self.weight.as_ptr().add(from);
                let to = turned.as_mut_ptr().add(c * self.positions * LANES);
                if self.positions == 1 {
                    // The same outputs of the next panel.
                    S::prefetch(from.wrapping_add(self.panels.width() * self.outputs).cast());
                    S::store(to, if outputs == LANES { S::load(from) } else { S::load_part(from, outputs) });
                    continue;
                }
                for start in (0..self.positions).step_by(LANES) {
                    let n = (self.positions - start).min(LANES);
                    let mut rows = [S::splat(0.); LANES];
                    for (o, row) in rows.iter_mut().enumerate().take(outputs) {
                        let from = from.add(o * self.positions + start);
                        *row = if n == LANES { S::load(from) } else { S::load_part(from, n) };
                    }
                    S::transpose(&mut rows);
                    for (i, &row) in rows.iter().enumerate().take(n) {
                        S::store(to.add((start + i) * LANES), row);
                    }
                }
            }
        }
    }
}

impl Kernel for Turn<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        // SAFETY: as in `each`.
        unsafe {
            self.each::<S>(|this, panel, turned, target| {
                let units = this.panels.units(panel);
                for (t, &position) in this.taps.iter().enumerate() {
                    for unit in 0..units {
                        let row = S::load(turned.add((unit * this.positions + position) * LANES));
                        S::store(target.add((t * units + unit) * this.width), row);
                    }
                }
            });
        }
    }
}

impl Bf16Kernel for Turn<'_> {
    #[inline(always)]
    unsafe fn run_bf16<S: SimdBf16>(mut self) {
        // SAFETY: as in `each`.
        unsafe {
            self.each::<S>(|this, panel, turned, target| {
                let (units, channel) = (this.panels.units(panel), panel * this.panels.width());
                for (t, &position) in this.taps.iter().enumerate() {
                    for unit in 0..units {
                        let row = |i: usize| S::load(turned.add((i * this.positions + position) * LANES));
                        let last = channel + 2 * unit + 1 == this.inputs;
                        let high = if last { S::splat(0.) } else { row(2 * unit + 1) };
                        S::store(target.add((t * units + unit) * this.width), S::paired(row(2 * unit), high));
                    }
                }
            });
        }
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
    pub(crate) fn new(problem: &ConvProblem) -> Self {
        let (inputs, outputs) = (problem.group_inputs(), problem.group_outputs());
        Self { groups: problem.config.groups, inputs, outputs, taps: problem.kh * problem.kw }
    }
    /// Values of one row.
    pub(crate) fn row(&self) -> usize {
        self.outputs.next_multiple_of(LANES)
    }
    pub(crate) fn len(&self) -> usize {
        self.groups * self.taps * self.inputs * self.row()
    }

    /// Sums the threads' parts and brings them into candle's order, (O, C / groups, kh, kw).
    pub(crate) fn unpack(&self, isa: Isa, parts: &[&[f32]]) -> Vec<f32> {
        let len = self.inputs * self.taps;
        let count = self.groups * self.outputs * len;
        let mut out = Vec::<f32>::with_capacity(count);
        let target = Shared(out.as_mut_ptr());
        let blocks = self.outputs.div_ceil(TURNED);
        let fill = |index: usize| {
            let (group, first) = (index / blocks, index % blocks * TURNED);
            let outputs = TURNED.min(self.outputs - first);
            // SAFETY: parts hold whole rows of 16 output channels; every block has its own part of the result.
            unsafe {
                let out = target.get().add((group * self.outputs + first) * len);
                launch(isa, TurnBack { layout: self, parts, group, first, outputs, out });
            }
        };
        threads::each(self.groups * blocks, count > SHARED, fill);
        // SAFETY: the blocks are all of the result.
        unsafe { out.set_len(count) };
        out
    }
}

/// Output channels that are turned at once: rows are read a few cache lines at a time, as memory likes it.
const TURNED: usize = 4 * LANES;

/// Some output channels of a weight gradient, from the first on.
struct TurnBack<'a> {
    layout: &'a GradientLayout,
    parts: &'a [&'a [f32]],
    group: usize,
    first: usize,
    outputs: usize,
    out: *mut f32,
}

impl Kernel for TurnBack<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let GradientLayout { inputs, taps, .. } = *self.layout;
        let (row, len) = (self.layout.row(), inputs * taps);
        let start = self.group * len * row + self.first;
        for first in (0..len).step_by(LANES) {
            let n = (len - first).min(LANES);
            for output in (0..self.outputs).step_by(LANES) {
                let outputs = (self.outputs - output).min(LANES);
                // SAFETY: every row of every part holds 16 values from `output` on, `out` has whole output channels.
                unsafe {
                    let mut rows = [S::splat(0.); LANES];
                    for (i, sum) in rows.iter_mut().enumerate().take(n) {
                        let (channel, tap) = ((first + i) / taps, (first + i) % taps);
                        let (panel, lane) = (channel / LANES, channel % LANES);
                        let count = LANES.min(inputs - panel * LANES);
                        let at = start + (panel * LANES * taps + tap * count + lane) * row + output;
                        for part in self.parts {
                            *sum = S::add(*sum, S::load(part.as_ptr().add(at)));
                        }
                    }
                    S::transpose(&mut rows);
                    for (o, &row) in rows.iter().enumerate().take(outputs) {
                        let to = self.out.add((output + o) * len + first);
                        if n == LANES { S::store(to, row) } else { S::store_part(to, row, n) }
                    }
                }
            }
        }
    }
}
