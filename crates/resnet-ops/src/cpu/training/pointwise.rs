//! Operations that take each value for itself: affine maps, sigmoid, gates, dropout.

use std::sync::Arc;

use candle_core::Result;

use super::backward::{Backward, read_pixels};
use super::elementwise::Store;
use super::forward::Forward;
use super::gradient_epilogue::GradientEpiloguePass;
use super::plan::{Plan, View};
use crate::cpu::buffer::{Buffer, Shared};
use crate::cpu::conv::pack::Source;
use crate::cpu::conv::{Epilogue, SharedSource};
use crate::cpu::element::Element;
use crate::cpu::isa::{Isa, Kernel, Simd, launch};
use crate::cpu::threads;
use crate::graph::dropout::Mask;
use crate::graph::{DropUnit, MapShape, Op, Pass};

/// What happens to a value.
#[derive(Clone, Copy)]
enum Rule {
    Affine { scale: f32, shift: f32 },
    Sigmoid,
    Times(Factor),
}

/// What multiplies the operand; it is no function of it, so the result's gradient is multiplied by the same.
#[derive(Clone, Copy)]
enum Factor {
    /// The second operand has the first's shape.
    Product,
    /// The second operand has one value a channel.
    ChannelGate,
    /// The second operand has one value a pixel.
    PixelGate,
    DropValues(Mask),
    DropImages(Mask),
}

/// The rule of a node on a map of that shape and, where there is one, a second operand of another.
fn rule(plan: &Plan, node: usize, pass: Pass, shape: MapShape, other: Option<MapShape>) -> Result<Rule> {
    let is = |wanted: MapShape| other == Some(wanted);
    Ok(match plan.nodes[node].op {
        Op::Affine { scale, shift } => Rule::Affine { scale: scale as f32, shift: shift as f32 },
        Op::Sigmoid => Rule::Sigmoid,
        Op::Mul if is(shape) => Rule::Times(Factor::Product),
        Op::Mul if is(MapShape { channels: 1, ..shape }) => Rule::Times(Factor::PixelGate),
        Op::Mul => Rule::Times(Factor::ChannelGate),
        Op::Dropout { .. } if !pass.train => Rule::Affine { scale: 1., shift: 0. },
        Op::Dropout { rate, unit } => match unit {
            DropUnit::Value => Rule::Times(Factor::DropValues(pass.draw.mask(node, rate)?)),
            DropUnit::Image => Rule::Times(Factor::DropImages(pass.draw.mask(node, rate)?)),
        },
        ref op => bail!("{op:?} does not act on single values"),
    })
}

/// Where a row lies.
#[derive(Clone, Copy)]
struct Place {
    image: usize,
    row: usize,
    shape: MapShape,
}

impl Place {
    fn new(row: usize, shape: MapShape) -> Self {
        Self { image: row / shape.height, row: row % shape.height, shape }
    }
    /// The position in the (N, C, H, W) tensor of channel `c` of column `j`.
    #[inline(always)]
    fn position(&self, j: usize, c: usize) -> usize {
        let MapShape { channels, height, width } = self.shape;
        ((self.image * channels + c) * height + self.row) * width + j
    }
}

/// `x` becomes the result of a row.
struct ForwardRow<'a> {
    rule: Rule,
    x: &'a mut [f32],
    other: &'a [f32],
    place: Place,
}

impl Kernel for ForwardRow<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        match self.rule {
            Rule::Affine { scale, shift } => self.x.iter_mut().for_each(|x| *x = *x * scale + shift),
            Rule::Sigmoid => self.x.iter_mut().for_each(|x| *x = 1. / (1. + (-*x).exp())),
            Rule::Times(factor) => multiply(factor, self.x, self.other, self.place),
        }
    }
}

/// The gradient `g` of a row's result becomes that of the first operand. `other` is the second operand, or for a
/// sigmoid its result.
struct BackwardRow<'a> {
    rule: Rule,
    g: &'a mut [f32],
    other: &'a [f32],
    place: Place,
}

impl Kernel for BackwardRow<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        match self.rule {
            Rule::Affine { scale: factor, .. } => scale(self.g, factor),
            Rule::Sigmoid => self.g.iter_mut().zip(self.other).for_each(|(g, y)| *g *= y * (1. - y)),
            Rule::Times(factor) => multiply(factor, self.g, self.other, self.place),
        }
    }
}

#[inline(always)]
fn multiply(factor: Factor, x: &mut [f32], other: &[f32], place: Place) {
    match factor {
        Factor::Product => x.iter_mut().zip(other).for_each(|(x, other)| *x *= other),
        Factor::ChannelGate => channel_gate(x, other),
        Factor::PixelGate => pixel_gate(x, other),
        Factor::DropValues(mask) => drop_values(x, mask, place),
        Factor::DropImages(mask) => scale(x, mask.factor(place.image)),
    }
}

#[inline(always)]
fn scale(x: &mut [f32], factor: f32) {
    x.iter_mut().for_each(|x| *x *= factor);
}

#[inline(always)]
fn channel_gate(x: &mut [f32], gate: &[f32]) {
    for pixel in x.chunks_exact_mut(gate.len().max(1)) {
        pixel.iter_mut().zip(gate).for_each(|(x, gate)| *x *= gate);
    }
}

#[inline(always)]
fn pixel_gate(x: &mut [f32], gate: &[f32]) {
    for (pixel, &gate) in x.chunks_exact_mut((x.len() / gate.len().max(1)).max(1)).zip(gate) {
        pixel.iter_mut().for_each(|x| *x *= gate);
    }
}

#[inline(always)]
fn drop_values(x: &mut [f32], mask: Mask, place: Place) {
    for (j, pixel) in x.chunks_exact_mut(place.shape.channels.max(1)).enumerate() {
        for (c, x) in pixel.iter_mut().enumerate() {
            *x *= mask.factor(place.position(j, c));
        }
    }
}

/// What a row of g · x adds to the gradient of the second operand.
struct SecondRow<'a> {
    rule: Rule,
    g: &'a [f32],
    x: &'a [f32],
    /// A row of the second operand's gradient; a channel gate has one row for all.
    sums: &'a mut [f32],
}

impl Kernel for SecondRow<'_> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let len = self.sums.len().max(1);
        if matches!(self.rule, Rule::Times(Factor::PixelGate)) {
            let channels = (self.g.len() / len).max(1);
            let pixels = self.g.chunks_exact(channels).zip(self.x.chunks_exact(channels));
            for (sum, (g, x)) in self.sums.iter_mut().zip(pixels) {
                *sum += g.iter().zip(x).map(|(g, x)| g * x).sum::<f32>();
            }
            return;
        }
        for (g, x) in self.g.chunks_exact(len).zip(self.x.chunks_exact(len)) {
            for ((sum, g), x) in self.sums.iter_mut().zip(g).zip(x) {
                *sum += g * x;
            }
        }
    }
}

/// A channel gate's row is its only one, whatever the row of the map.
fn other_row(rule: Rule, row: usize) -> usize {
    if matches!(rule, Rule::Times(Factor::ChannelGate)) { 0 } else { row }
}

impl<E: Element> Forward<'_, E> {
    pub(super) fn pointwise(&mut self, node: usize, a: &View, b: Option<&View>, out: usize) -> Result<()> {
        let shape = self.shape(out);
        let row = shape.width * shape.channels;
        let other = b.map(|b| self.tape.shapes[b.node]);
        let rule = rule(self.plan, node, self.tape.pass, shape, other)?;
        let other_len = other.map_or(0, |other| other.width * other.channels);
        let mut buffer = Buffer::<E>::new(self.tape.n * shape.count());
        let shared = buffer.shared();
        let x = self.rows(a, shape)?;
        let other = b.zip(other).map(|(b, shape)| self.rows(b, shape)).transpose()?;
        let (isa, this) = (self.isa, &*self);
        let parts = threads::static_partition(self.tape.n * shape.height, |chunk| {
            let mut moments = this.moments(out);
            let (mut values, mut others) = (Buffer::<f32>::new(row), Buffer::<f32>::new(other_len));
            for r in chunk {
                let place = Place::new(r, shape);
                // SAFETY: the scratches hold one row each; every chunk writes its own rows.
                unsafe {
                    x.row(isa, place.image, place.row, values.as_mut_slice().as_mut_ptr());
                    if let Some(other) = &other {
                        other.row(isa, place.image, other_row(rule, place.row), others.as_mut_slice().as_mut_ptr());
                    }
                    launch(isa, ForwardRow { rule, x: values.as_mut_slice(), other: others.as_slice(), place });
                    launch(isa, Store { values: values.as_ptr(), out: shared.get().add(r * row), len: row });
                    if let Some(moments) = &mut moments {
                        moments.add(isa, values.as_ptr(), shape.width);
                    }
                }
            }
            moments
        });
        self.finish(out, buffer, Some(parts.into_iter().flatten().collect()))
    }
}

impl<E: Element> Backward<'_, E> {
    pub(super) fn pointwise(
        &mut self,
        node: usize,
        a: &View,
        b: Option<&View>,
        out: usize,
        g: &Arc<Buffer<E>>,
    ) -> Result<()> {
        let (tape, plan, isa) = (self.tape, self.plan, self.isa);
        let shape = self.stored_shape(out);
        let other = b.map(|b| tape.shapes[b.node]);
        let rule = rule(plan, node, tape.pass, shape, other)?;
        let row = shape.width * shape.channels;
        let g = GradientRows(SharedSource(Source::Plain { x: g.as_ptr() }), shape);
        // What the first operand's gradient depends on besides g.
        let result = View { tensor: out, norm: None, relu: false, stride: (1, 1), pad: None, node, slot: 0 };
        let factor = match rule {
            Rule::Sigmoid => Some((&result, shape)),
            _ => b.zip(other),
        };
        if self.wanted(a) {
            let other_len = factor.map_or(0, |(_, shape)| shape.width * shape.channels);
            let factor = factor.map(|(view, shape)| tape.rows(plan, view, shape)).transpose()?;
            self.computed(a.slot, |_, epilogue, shared| {
                Ok(threads::static_partition(tape.n * shape.height, |chunk| {
                    let mut pass = GradientEpiloguePass::new(epilogue, shared);
                    let (mut values, mut others) = (Buffer::<f32>::new(row), Buffer::<f32>::new(other_len));
                    for r in chunk {
                        let place = Place::new(r, shape);
                        // SAFETY: the scratches hold one row each; every chunk writes its own rows.
                        unsafe {
                            g.row(isa, r, values.as_mut_slice());
                            if let Some(factor) = &factor {
                                let to = others.as_mut_slice().as_mut_ptr();
                                factor.row(isa, place.image, other_row(rule, place.row), to);
                            }
                            let other = others.as_slice();
                            launch(isa, BackwardRow { rule, g: values.as_mut_slice(), other, place });
                            let pixels = r * shape.width..(r + 1) * shape.width;
                            pass.pixels(isa, pixels, values.as_mut_slice().as_mut_ptr());
                        }
                    }
                    pass.sums
                }))
            })?;
        } else {
            self.contributed(a.slot)?;
        }
        match b {
            Some(b) if self.wanted(b) => self.second_operand(rule, a, b, shape, &g),
            Some(b) => self.contributed(b.slot),
            None => Ok(()),
        }
    }

    /// The gradient of a product's second operand: g · a, for a gate summed over what it gates.
    fn second_operand(&mut self, rule: Rule, a: &View, b: &View, shape: MapShape, g: &GradientRows<E>) -> Result<()> {
        let (tape, isa, row) = (self.tape, self.isa, shape.width * shape.channels);
        let x = tape.rows(self.plan, a, shape)?;
        let to = tape.shapes[b.node];
        let once = matches!(rule, Rule::Times(Factor::ChannelGate));
        self.computed(b.slot, |_, epilogue, shared: Shared<E>| {
            Ok(threads::static_partition(tape.n, |chunk| {
                let mut pass = GradientEpiloguePass::new(epilogue, shared);
                let (mut values, mut gradient) = (Buffer::<f32>::new(row), Buffer::<f32>::new(row));
                let mut sums = vec![0f32; to.width * to.channels];
                for image in chunk {
                    sums.fill(0.);
                    for i in 0..shape.height {
                        // SAFETY: the scratches hold one row each; every chunk writes its own images.
                        unsafe {
                            x.row(isa, image, i, values.as_mut_slice().as_mut_ptr());
                            g.row(isa, image * shape.height + i, gradient.as_mut_slice());
                            let (g, x) = (gradient.as_slice(), values.as_slice());
                            launch(isa, SecondRow { rule, g, x, sums: &mut sums });
                            if !once || i + 1 == shape.height {
                                let row = image * to.height + if once { 0 } else { i };
                                pass.pixels(isa, row * to.width..(row + 1) * to.width, sums.as_mut_ptr());
                                sums.fill(0.);
                            }
                        }
                    }
                }
                pass.sums
            }))
        })
    }
}

/// Reads rows of a gradient.
struct GradientRows<'a, E>(SharedSource<'a, E>, MapShape);

impl<E: Element> GradientRows<'_, E> {
    /// # Safety
    /// `to` must hold one row.
    unsafe fn row(&self, isa: Isa, r: usize, to: &mut [f32]) {
        // SAFETY: the gradient holds the row, and `to` is one.
        unsafe {
            let source = self.0.source().at(r * to.len());
            launch(isa, read_pixels(source, self.1.width, self.1.channels, to.as_mut_ptr()));
        }
    }
}
