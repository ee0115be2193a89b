//! Runs a plan's steps forwards.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::elementwise::{AddRows, PixelSum, Store};
use super::max_pool::MaxPool;
use super::moments::Moments;
use super::plan::{Plan, Step, View};
use crate::ConvConfig;
use crate::cpu::buffer::{Buffer, Shared};
use crate::cpu::conv::pack::{ReadPixels, Source};
use crate::cpu::conv::problem::ConvProblem;
use crate::cpu::conv::{self, Epilogue, SharedSource, Target};
use crate::cpu::element::Element;
use crate::cpu::isa::{Arithmetic, Isa, launch};
use crate::cpu::layout::{channels_last, read, with_values};
use crate::cpu::norm::{NormCoefficients, coefficients, constant_norm, update_running};
use crate::cpu::standardize;
use crate::cpu::threads;
use crate::error::named;
use crate::graph::shapes::shapes;
use crate::graph::{MapShape, Op, Pass};

/// What a forward pass leaves for the backward pass.
pub(crate) struct Tape<E> {
    pub n: usize,
    pub pass: Pass,
    /// Shape of every node's value.
    pub shapes: Vec<MapShape>,
    pub values: Vec<Option<Arc<Buffer<E>>>>,
    pub norms: Vec<Option<NormCoefficients>>,
    /// Where the maxima came from, by stored value.
    pub positions: Vec<Option<Buffer<u8>>>,
}

/// Stores a convolution's result and takes its statistics.
struct StoreResult<E> {
    out: Shared<E>,
    direct: bool,
    channels: usize,
    moments: Option<Moments>,
}

impl<E: Element> Epilogue for StoreResult<E> {
    unsafe fn pixels(&mut self, isa: Isa, range: Range<usize>, values: *mut f32) {
        // SAFETY: `values` holds the range, and `out` the whole map.
        unsafe {
            if !self.direct {
                let out = self.out.get().add(range.start * self.channels);
                launch(isa, Store { values, out, len: range.len() * self.channels });
            }
            if let Some(moments) = &mut self.moments {
                moments.add(isa, values, range.len());
            }
        }
    }
}

/// Whether results of this element type are computed where they are stored.
pub(crate) fn direct<E: 'static>() -> bool {
    std::any::TypeId::of::<E>() == std::any::TypeId::of::<f32>()
}

/// Where a new map is computed.
pub(crate) fn target<E: 'static>(out: Shared<E>) -> Target {
    if direct::<E>() { Target::Direct(Shared(out.get().cast())) } else { Target::Scratch }
}

pub(crate) struct Forward<'a, E> {
    pub plan: &'a Plan,
    pub isa: Isa,
    /// Whether values are kept for a backward pass.
    pub keep: bool,
    pub tape: Tape<E>,
}

impl<'a, E: Element> Forward<'a, E> {
    /// Runs all steps on `x` (N, H, W, C).
    pub(crate) fn run(
        plan: &'a Plan,
        isa: Isa,
        x: impl Into<Arc<Buffer<E>>>,
        n: usize,
        input: MapShape,
        (pass, keep): (Pass, bool),
    ) -> Result<Tape<E>> {
        let shapes = shapes(&plan.nodes, input)?;
        let stored = plan.stored.len();
        let tape = Tape {
            n,
            pass,
            shapes,
            values: (0..stored).map(|_| None).collect(),
            norms: plan.nodes.iter().map(|_| None).collect(),
            positions: (0..stored).map(|_| None).collect(),
        };
        let mut forward = Self { plan, isa, keep, tape };
        if !pass.train {
            forward.constant_norms()?;
        }
        forward.finish(0, x, None)?;
        threads::team_scope(|| forward.steps())?;
        Ok(forward.tape)
    }

    fn steps(&mut self) -> Result<()> {
        let plan = self.plan;
        for (step, last_reads) in plan.schedule.iter() {
            self.step(step)?;
            if !self.keep {
                for &value in last_reads {
                    self.tape.values[value] = None;
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Constant { node, out } => self.constant(*node, *out),
            Step::Conv { node, input, out } => {
                self.conv(*node, input, *out).map_err(|error| named(&self.plan.nodes[*node].name, error))
            }
            Step::Linear { node, input, out } => self.linear(*node, input, *out),
            Step::Add { a, b, relu, out } => self.add(a, Some(b), *relu, *out),
            Step::Copy { input, out } => self.add(input, None, false, *out),
            Step::MaxPool { config, input, out } => self.max_pool(config, input, *out),
            Step::GlobalAvgPool { input, out } => self.global_avg_pool(input, *out),
            Step::AveragePool { config, input, out } => self.average_pool(config, input, *out),
            Step::Pointwise { node, a, b, out } => self.pointwise(*node, a, b.as_ref(), *out),
            Step::Fallback { node, inputs, out } => self.fallback(*node, inputs, *out),
        }
    }

    pub(super) fn shape(&self, tensor: usize) -> MapShape {
        self.tape.shapes[self.plan.stored[tensor].node]
    }

    /// Whether the norms of this value need the batch's statistics.
    fn needs_moments(&self, tensor: usize) -> bool {
        self.tape.pass.train && !self.plan.stored[tensor].norms.is_empty()
    }

    pub(super) fn moments(&self, tensor: usize) -> Option<Moments> {
        self.needs_moments(tensor).then(|| Moments::new(self.shape(tensor).channels))
    }

    fn constant(&mut self, node: usize, out: usize) -> Result<()> {
        let Op::Constant(map) = &self.plan.nodes[node].op else { bail!("node {node} is no constant map") };
        if map.dim(0)? != self.tape.n {
            bail!("a constant map {:?} does not fit a batch of {}", map.dims(), self.tape.n);
        }
        let (n, shape) = (self.tape.n, self.shape(out));
        let buffer = with_values(map, |values| channels_last::<E>(values, n, shape))?;
        self.finish(out, buffer, None)
    }

    fn conv(&mut self, node: usize, input: &View, out: usize) -> Result<()> {
        let shape = self.plan.conv_shape(node, self.tape.shapes[input.node], self.shape(out), self.tape.n)?;
        let Op::Conv { weight, bias, standardize, .. } = &self.plan.nodes[node].op else {
            bail!("node {node} is no convolution")
        };
        let weight = standardize::effective(weight, *standardize)?;
        self.convolve(&shape, &weight, bias.as_ref(), input, out)
    }

    fn linear(&mut self, node: usize, input: &View, out: usize) -> Result<()> {
        let Op::Linear { weight, bias } = &self.plan.nodes[node].op else { bail!("node {node} is no linear layer") };
        let shape = linear_shape(weight, self.tape.n)?;
        self.convolve(&shape, weight, bias.as_ref(), input, out)
    }

    fn convolve(
        &mut self,
        shape: &ConvProblem,
        weight: &Tensor,
        bias: Option<&Tensor>,
        input: &View,
        out: usize,
    ) -> Result<()> {
        let bias = bias.map(read).transpose()?;
        let (isa, arithmetic) = (self.isa, Arithmetic::of::<E>(self.isa));
        let weights = with_values(weight, |values| conv::pack_forward(isa, arithmetic, values, shape))?;
        let mut buffer = Buffer::<E>::new(shape.n * shape.oh * shape.ow * shape.o);
        let (shared, channels) = (buffer.shared(), shape.o);
        let source = SharedSource(self.tape.source(self.plan, input)?);
        let this = &*self;
        let epilogue = || StoreResult { out: shared, direct: direct::<E>(), channels, moments: this.moments(out) };
        let done = conv::forward(isa, arithmetic, shape, source, &weights, bias.as_deref(), &target(shared), epilogue)?;
        let moments = done.into_iter().filter_map(|epilogue| epilogue.moments).collect();
        self.finish(out, buffer, Some(moments))
    }

    fn add(&mut self, a: &View, b: Option<&View>, relu: bool, out: usize) -> Result<()> {
        let shape = self.shape(out);
        let row = shape.width * shape.channels;
        let mut buffer = Buffer::<E>::new(self.tape.n * shape.count());
        let shared = buffer.shared();
        let readings =
            [Some(a), b].into_iter().flatten().map(|view| self.rows(view, shape)).collect::<Result<Vec<_>>>()?;
        let (isa, this) = (self.isa, &*self);
        let parts = threads::static_partition(self.tape.n * shape.height, |chunk| {
            let mut moments = this.moments(out);
            let mut scratch: Vec<Buffer<f32>> = readings.iter().map(|_| Buffer::zeroed(row)).collect();
            for r in chunk {
                let (image, i) = (r / shape.height, r % shape.height);
                // SAFETY: scratches hold one row; every chunk writes its own rows.
                unsafe {
                    for (reading, scratch) in readings.iter().zip(&mut scratch) {
                        reading.row(isa, image, i, scratch.as_mut_slice().as_mut_ptr());
                    }
                    let a = scratch[0].as_mut_slice().as_mut_ptr();
                    let b = scratch.get(1).map_or(std::ptr::null(), |b| b.as_ptr());
                    let mask = std::ptr::null();
                    launch(isa, AddRows { a, b, relu, mask, out: shared.get().add(r * row), len: row });
                    if let Some(moments) = &mut moments {
                        moments.add(isa, a, shape.width);
                    }
                }
            }
            moments
        });
        self.finish(out, buffer, Some(parts.into_iter().flatten().collect()))
    }

    pub(super) fn rows<'b>(&'b self, view: &View, shape: MapShape) -> Result<RowReader<'b, E>> {
        self.tape.rows(self.plan, view, shape)
    }

    fn max_pool(&mut self, config: &crate::PoolConfig, input: &View, out: usize) -> Result<()> {
        let (from, to) = (self.tape.shapes[input.node], self.shape(out));
        let mut buffer = Buffer::<E>::new(self.tape.n * to.count());
        let mut positions = Buffer::<u8>::new(self.tape.n * to.count());
        let (shared, taps) = (buffer.shared(), positions.shared());
        let reading = self.rows(input, from)?;
        let (isa, this, channels) = (self.isa, &*self, to.channels);
        let parts = threads::static_partition(self.tape.n, |chunk| {
            let mut moments = this.moments(out);
            let mut scratch = Buffer::<f32>::new(from.count());
            let mut result = Buffer::<f32>::new(to.count());
            for image in chunk {
                let x = scratch.as_mut_slice().as_mut_ptr();
                let y = result.as_mut_slice().as_mut_ptr();
                // SAFETY: the scratches hold one image; every chunk writes its own images.
                unsafe {
                    for i in 0..from.height {
                        reading.row(isa, image, i, x.add(i * from.width * from.channels));
                    }
                    let positions = taps.get().add(image * to.count());
                    launch(isa, MaxPool { config: *config, input: from, output: to, x, y, positions });
                    launch(isa, Store { values: y, out: shared.get().add(image * to.count()), len: to.count() });
                    if let Some(moments) = &mut moments {
                        moments.add(isa, y, to.count() / channels);
                    }
                }
            }
            moments
        });
        if self.keep {
            self.tape.positions[out] = Some(positions);
        }
        self.finish(out, buffer, Some(parts.into_iter().flatten().collect()))
    }

    fn global_avg_pool(&mut self, input: &View, out: usize) -> Result<()> {
        let from = self.tape.shapes[input.node];
        let channels = from.channels;
        let mut buffer = Buffer::<E>::new(self.tape.n * channels);
        let shared = buffer.shared();
        let reading = self.rows(input, from)?;
        let (isa, pixels) = (self.isa, (from.height * from.width) as f32);
        threads::static_partition(self.tape.n, |chunk| {
            let mut scratch = Buffer::<f32>::new(from.width * channels);
            let mut sums = vec![0f32; channels];
            for image in chunk {
                sums.fill(0.);
                for i in 0..from.height {
                    let x = scratch.as_mut_slice().as_mut_ptr();
                    // SAFETY: the scratch holds one row.
                    unsafe {
                        reading.row(isa, image, i, x);
                        launch(isa, PixelSum { x, pixels: from.width, channels, sums: sums.as_mut_ptr() });
                    }
                }
                for (c, sum) in sums.iter().enumerate() {
                    // SAFETY: every chunk writes its own images.
                    unsafe { *shared.get().add(image * channels + c) = E::from_f32(sum / pixels) };
                }
            }
        });
        self.finish(out, buffer, None)
    }

    /// Stores a value and prepares the norms that are taken of it.
    pub(super) fn finish(
        &mut self,
        tensor: usize,
        buffer: impl Into<Arc<Buffer<E>>>,
        moments: Option<Vec<Moments>>,
    ) -> Result<()> {
        let buffer = buffer.into();
        let shape = self.shape(tensor);
        if self.needs_moments(tensor) {
            let moments = match moments {
                Some(moments) if !moments.is_empty() => moments,
                _ => self.moments_of(&buffer, shape),
            };
            let (mean, variance, count) = Moments::merge(&moments, shape.channels);
            if count < 2. {
                bail!("batch_norm: training needs more than one value a channel, got {count}");
            }
            for &node in &self.plan.stored[tensor].norms {
                let Some(parameters) = self.plan.norm(node) else { bail!("node {node} is no norm") };
                update_running(parameters, &mean, &variance, count)?;
                self.tape.norms[node] = Some(coefficients(parameters, mean.clone(), &variance, count)?);
            }
        }
        self.tape.values[tensor] = Some(buffer);
        Ok(())
    }

    fn moments_of(&self, buffer: &Buffer<E>, shape: MapShape) -> Vec<Moments> {
        let pixels = buffer.len() / shape.channels.max(1);
        threads::static_partition(pixels.div_ceil(64), |chunk| {
            let mut moments = Moments::new(shape.channels);
            for block in chunk {
                let end = ((block + 1) * 64).min(pixels);
                let part = &buffer.as_slice()[block * 64 * shape.channels..end * shape.channels];
                let values: Vec<f32> = part.iter().map(|value| value.to_f32()).collect();
                // SAFETY: `values` holds these pixels.
                unsafe { moments.add(self.isa, values.as_ptr(), end - block * 64) };
            }
            moments
        })
    }

    fn constant_norms(&mut self) -> Result<()> {
        for node in 0..self.plan.nodes.len() {
            if let Some(parameters) = self.plan.norm(node) {
                self.tape.norms[node] = Some(constant_norm(parameters)?);
            }
        }
        Ok(())
    }
}

/// Reads rows of a view into a scratch.
pub(crate) struct RowReader<'a, E> {
    source: SharedSource<'a, E>,
    from: MapShape,
    to: MapShape,
    stride: (usize, usize),
    before: usize,
}

impl<E: Element> RowReader<'_, E> {
    /// Row `i` of image `image` of the view.
    ///
    /// # Safety
    /// `scratch` must hold one row of the view.
    pub(super) unsafe fn row(&self, isa: Isa, image: usize, i: usize, scratch: *mut f32) {
        if self.from.channels != self.to.channels {
            // SAFETY: as the caller promises.
            unsafe { std::slice::from_raw_parts_mut(scratch, self.to.width * self.to.channels).fill(0.) };
        }
        let first = (image * self.from.height + i * self.stride.0) * self.from.width;
        // SAFETY: the stored map holds the row; the scratch is the caller's.
        unsafe {
            let read = ReadPixels {
                source: self.source.0.at(first * self.from.channels),
                pixels: self.to.width,
                channels: self.from.channels,
                from_step: self.stride.1 * self.from.channels,
                to_step: self.to.channels,
                out: scratch.add(self.before),
            };
            launch(isa, read);
        }
    }
}

impl<E: Element> Tape<E> {
    pub(crate) fn value(&self, tensor: usize) -> Result<&Arc<Buffer<E>>> {
        match &self.values[tensor] {
            Some(value) => Ok(value),
            None => bail!("the engine lost stored value {tensor}"),
        }
    }

    /// Shape of the plan's output.
    pub(crate) fn output_shape(&self, plan: &Plan) -> MapShape {
        self.shapes[plan.stored[plan.schedule.output].node]
    }

    pub(crate) fn norm(&self, node: usize) -> Result<&NormCoefficients> {
        match &self.norms[node] {
            Some(norm) => Ok(norm),
            None => bail!("the engine has no statistics for node {node}"),
        }
    }

    /// The rows of a view of that shape.
    pub(crate) fn rows<'b>(&'b self, plan: &Plan, view: &View, to: MapShape) -> Result<RowReader<'b, E>> {
        let from = self.shapes[plan.stored[view.tensor].node];
        let source = SharedSource(self.source(plan, view)?);
        Ok(RowReader { source, from, to, stride: view.stride, before: view.pad.unwrap_or(0) })
    }

    /// The stored value with what the view applies to it.
    pub(crate) fn source<'b>(&'b self, plan: &Plan, view: &View) -> Result<Source<'b, E>> {
        let x = self.value(view.tensor)?.as_ptr();
        Ok(match view.norm {
            Some(node) => {
                let norm = self.norm(node)?;
                Source::Affine { x, scale: &norm.scale, shift: &norm.shift, relu: view.relu }
            }
            None if view.relu && !plan.stored[view.tensor].rectified => Source::Relu { x },
            None => Source::Plain { x },
        })
    }
}

/// A linear layer is a 1×1 convolution over the batch as one row of pixels.
pub(crate) fn linear_shape(weight: &Tensor, n: usize) -> Result<ConvProblem> {
    let (o, c) = weight.dims2()?;
    Ok(ConvProblem { n: 1, h: 1, w: n, c, o, kh: 1, kw: 1, oh: 1, ow: n, config: ConvConfig::default() })
}
