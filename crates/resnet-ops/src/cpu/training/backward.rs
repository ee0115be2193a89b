//! Runs a plan's steps backwards.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::elementwise::{AddRows, PixelSum};
use super::forward::{Tape, linear_shape, target};
use super::gradient_epilogue::{Alias, GradientEpilogue, GradientEpiloguePass};
use super::gradient_epilogue::{Mask, NormSums};
use super::max_pool::MaxPoolBackward;
use super::plan::{Plan, Step, View};
use crate::cpu::buffer::{Buffer, Shared};
use crate::cpu::conv::pack::{ReadPixels, Source};
use crate::cpu::conv::problem::ConvProblem;
use crate::cpu::conv::{self, Epilogue, SharedSource, Target};
use crate::cpu::element::Element;
use crate::cpu::isa::{Arithmetic, Isa, launch};
use crate::cpu::layout::{channels_first, with_values};
use crate::cpu::standardize;
use crate::cpu::threads;
use crate::engine::ParameterId;
use crate::engine::schedule::Step as _;
use crate::graph::{MapShape, Op};

/// The gradient of a stored value.
enum Gradient<E> {
    Plain(Arc<Buffer<E>>),
    /// `a g + b x + c`, what comes out of a batch norm over the stored value x.
    Norm {
        g: Arc<Buffer<E>>,
        a: Vec<f32>,
        b: Vec<f32>,
        c: Vec<f32>,
    },
}

impl<E: Element> Gradient<E> {
    fn source<'a>(&'a self, x: &'a Buffer<E>) -> Source<'a, E> {
        match self {
            Gradient::Plain(g) => Source::Plain { x: g.as_ptr() },
            Gradient::Norm { g, a, b, c } => Source::Gradient { g: g.as_ptr(), x: x.as_ptr(), a, b, c },
        }
    }
}

/// What a slot has collected.
struct Collected<E> {
    own: Option<Arc<Buffer<E>>>,
    aliases: Vec<Alias<E>>,
    /// One value an image and channel, the same for all its pixels.
    broadcast: Option<Vec<f32>>,
    open: usize,
    done: Option<(Arc<Buffer<E>>, Option<NormSums>)>,
}

pub(crate) struct Backward<'a, E> {
    pub(super) plan: &'a Plan,
    pub(super) isa: Isa,
    pub(super) tape: &'a Tape<E>,
    slots: Vec<Collected<E>>,
    needs_dx: bool,
    pub(super) gradients: HashMap<ParameterId, Vec<f32>>,
}

/// The gradients of all parameters, in candle's order of values, and of the input, channels-last.
pub(crate) struct Gradients<E> {
    pub parameters: HashMap<ParameterId, Vec<f32>>,
    pub input: Option<Arc<Buffer<E>>>,
}

impl<'a, E: Element> Backward<'a, E> {
    /// From the gradient of the output (channels-last) to all others.
    pub(crate) fn run(
        plan: &'a Plan,
        isa: Isa,
        tape: &'a Tape<E>,
        dy: impl Into<Arc<Buffer<E>>>,
        needs_dx: bool,
    ) -> Result<Gradients<E>> {
        let collected = |slot: &crate::cpu::training::plan::Slot| Collected {
            own: None,
            aliases: Vec::new(),
            broadcast: None,
            open: slot.contributions,
            done: None,
        };
        let slots = plan.slots.iter().map(collected).collect();
        let mut backward = Self { plan, isa, tape, slots, needs_dx, gradients: HashMap::new() };
        let raw = |tensor: usize| {
            plan.slots.iter().position(|slot| slot.tensor == tensor && slot.norm.is_none() && !slot.relu)
        };
        let Some(output) = raw(plan.schedule.output) else { bail!("the output has no gradient") };
        let shape = backward.stored_shape(plan.schedule.output);
        backward.slots[output].aliases.push(Alias { buffer: dy.into(), shape, stride: (1, 1), reshaped: None });
        backward.contributed(output)?;
        threads::team_scope(|| backward.steps())?;
        let input = match (needs_dx, backward.gradient_of(0)?) {
            (true, Some(gradient)) => Some(backward.plain(0, &gradient)?),
            _ => None,
        };
        Ok(Gradients { parameters: backward.gradients, input })
    }

    fn steps(&mut self) -> Result<()> {
        let plan = self.plan;
        for step in plan.schedule.steps.iter().rev() {
            let Some(gradient) = self.gradient_of(step.out())? else { continue };
            self.step(step, &gradient)?;
            for &slot in &plan.stored[step.out()].slots {
                self.slots[slot].done = None;
            }
        }
        Ok(())
    }

    pub(super) fn stored_shape(&self, tensor: usize) -> MapShape {
        self.tape.shapes[self.plan.stored[tensor].node]
    }

    /// Whether the gradient of the value behind a view is of use.
    pub(super) fn wanted(&self, view: &View) -> bool {
        view.tensor != 0 || self.needs_dx || view.norm.is_some()
    }

    fn step(&mut self, step: &Step, gradient: &Gradient<E>) -> Result<()> {
        match step {
            Step::Conv { node, input, out } => {
                let (from, to) = (self.tape.shapes[input.node], self.stored_shape(*out));
                let shape = self.plan.conv_shape(*node, from, to, self.tape.n)?;
                let Op::Conv { weight, bias, standardize, .. } = &self.plan.nodes[*node].op else {
                    bail!("no convolution")
                };
                let effective = standardize::effective(weight, *standardize)?;
                self.conv(&shape, *node, &effective, bias.is_some(), input, *out, gradient)?;
                if let Some(eps) = standardize
                    && let Some(dw) = self.gradients.remove(&(*node, 0))
                {
                    self.gradients.insert((*node, 0), standardize::gradient(weight, *eps, dw)?);
                }
                Ok(())
            }
            Step::Linear { node, input, out } => {
                let Op::Linear { weight, bias } = &self.plan.nodes[*node].op else { bail!("no linear layer") };
                let shape = linear_shape(weight, self.tape.n)?;
                self.conv(&shape, *node, weight, bias.is_some(), input, *out, gradient)
            }
            Step::Constant { node, out } => {
                let g = self.plain(*out, gradient)?;
                let values = channels_first(&g, self.tape.n, self.stored_shape(*out));
                self.gradients.insert((*node, 0), values);
                Ok(())
            }
            Step::Add { a, b, out, .. } => {
                let g = self.plain(*out, gradient)?;
                self.alias(a, &g)?;
                self.alias(b, &g)
            }
            Step::Copy { input, out } => {
                let g = self.plain(*out, gradient)?;
                self.alias(input, &g)
            }
            Step::MaxPool { config, input, out } => {
                let g = self.plain(*out, gradient)?;
                self.max_pool(config, input, *out, &g)
            }
            Step::GlobalAvgPool { input, out } => {
                let g = self.plain(*out, gradient)?;
                let from = self.tape.shapes[input.node];
                let pixels = (from.height * from.width) as f32;
                let part = g.as_slice().iter().map(|v| v.to_f32() / pixels);
                let total = &mut self.slots[input.slot].broadcast;
                *total = Some(match total.take() {
                    Some(total) => total.into_iter().zip(part).map(|(a, b)| a + b).collect(),
                    None => part.collect(),
                });
                self.contributed(input.slot)
            }
            Step::AveragePool { config, input, out } => {
                let g = self.plain(*out, gradient)?;
                self.average_pool(config, input, *out, &g)
            }
            Step::Pointwise { node, a, b, out } => {
                let g = self.plain(*out, gradient)?;
                self.pointwise(*node, a, b.as_ref(), *out, &g)
            }
            Step::Fallback { node, inputs, out } => {
                let g = self.plain(*out, gradient)?;
                self.fallback(*node, inputs, *out, &g)
            }
        }
    }

    pub(super) fn alias(&mut self, view: &View, g: &Arc<Buffer<E>>) -> Result<()> {
        if self.wanted(view) {
            let shape = self.tape.shapes[view.node];
            let reshaped = view.reshaped().then(|| view.pad.unwrap_or(0));
            self.slots[view.slot].aliases.push(Alias { buffer: g.clone(), shape, stride: view.stride, reshaped });
        }
        self.contributed(view.slot)
    }

    /// Counts a contribution; with the last one, the slot is finished.
    pub(super) fn contributed(&mut self, slot: usize) -> Result<()> {
        self.slots[slot].open = self.slots[slot].open.saturating_sub(1);
        if self.slots[slot].open == 0 && self.slots[slot].done.is_none() {
            self.finish_slot(slot)?;
        }
        Ok(())
    }

    /// The pass that ends a slot, with what is known before any pixel is.
    fn epilogue(&self, slot: usize, is_last: bool) -> Result<GradientEpilogue<'_, E>> {
        let entry = &self.plan.slots[slot];
        let collected = &self.slots[slot];
        let shape = self.stored_shape(entry.tensor);
        let x = self.tape.value(entry.tensor)?;
        let norm = entry.norm.map(|node| self.tape.norm(node)).transpose()?;
        let mask = match norm {
            Some(norm) if entry.relu => Mask::Affine { scale: &norm.scale, shift: &norm.shift },
            None if entry.relu || self.plan.stored[entry.tensor].rectified => Mask::Positive,
            _ => Mask::None,
        };
        let mut others: Vec<&Buffer<E>> = collected.own.iter().map(|own| own.as_ref()).collect();
        let mut reshaped = Vec::new();
        if is_last {
            for alias in &collected.aliases {
                match alias.reshaped {
                    None => others.push(&alias.buffer),
                    Some(_) => reshaped.push(alias),
                }
            }
        }
        let broadcast = if is_last { collected.broadcast.as_deref() } else { None };
        let (mask, mean) = if is_last { (mask, norm.map(|norm| norm.mean.as_slice())) } else { (Mask::None, None) };
        Ok(GradientEpilogue { shape, x, mask, mean, others, reshaped, broadcast })
    }

    /// Ends a slot whose last contribution was not computed pixel by pixel.
    fn finish_slot(&mut self, slot: usize) -> Result<()> {
        let collected = &self.slots[slot];
        if collected.own.is_none() && collected.aliases.is_empty() && collected.broadcast.is_none() {
            return Ok(());
        }
        let epilogue = self.epilogue(slot, true)?;
        let shape = epilogue.shape;
        // One gradient of the right shape passes as it is; at most its sums are taken.
        let alone = epilogue.others.len() == 1 && epilogue.reshaped.is_empty() && epilogue.broadcast.is_none();
        let passes = alone && matches!(epilogue.mask, Mask::None);
        let mut out = if passes { None } else { Some(Buffer::<E>::new(self.tape.n * shape.count())) };
        let mut sums = None;
        if !passes || epilogue.mean.is_some() {
            let shared = out.as_mut().map_or(Shared(std::ptr::null_mut()), Buffer::shared);
            let (isa, row) = (self.isa, shape.width * shape.channels);
            let parts = threads::static_partition(self.tape.n * shape.height, |chunk| {
                let mut pass = GradientEpiloguePass::new(&epilogue, shared);
                let mut scratch = if alone { None } else { Some(Buffer::<f32>::new(row)) };
                for r in chunk {
                    let range = r * shape.width..(r + 1) * shape.width;
                    let values = scratch.as_mut().map_or(std::ptr::null_mut(), |scratch| {
                        scratch.as_mut_slice().fill(0.);
                        scratch.as_mut_slice().as_mut_ptr()
                    });
                    // SAFETY: the scratch holds one row.
                    unsafe { pass.pixels(isa, range, values) };
                }
                pass.sums
            });
            sums = NormSums::merge(parts);
        }
        let passed = epilogue.mean.is_some();
        let sums = if passed { sums } else { None };
        let buffer = match out {
            Some(out) => Arc::new(out),
            None => {
                let collected = &self.slots[slot];
                match (&collected.own, collected.aliases.first()) {
                    (Some(own), _) => own.clone(),
                    (None, Some(alias)) => alias.buffer.clone(),
                    (None, None) => bail!("a gradient is empty"),
                }
            }
        };
        self.set_done(slot, buffer, sums);
        Ok(())
    }

    fn set_done(&mut self, slot: usize, buffer: Arc<Buffer<E>>, sums: Option<NormSums>) {
        let collected = &mut self.slots[slot];
        collected.own = None;
        collected.aliases.clear();
        collected.broadcast = None;
        collected.done = Some((buffer, sums));
    }

    /// A contribution that is computed pixel by pixel into a fresh buffer. `compute` gets the target and the maker of
    /// passes, and returns the passes.
    pub(super) fn computed(
        &mut self,
        slot: usize,
        compute: impl FnOnce(&Target, &GradientEpilogue<'_, E>, Shared<E>) -> Result<Vec<NormSums>>,
    ) -> Result<()> {
        let is_last = self.slots[slot].open <= 1;
        let epilogue = self.epilogue(slot, is_last)?;
        let mut buffer = Buffer::<E>::new(self.tape.n * epilogue.shape.count());
        let shared = buffer.shared();
        let parts = compute(&target(shared), &epilogue, shared)?;
        let wanted = epilogue.mean.is_some();
        let sums = NormSums::merge(parts).filter(|_| wanted);
        if is_last {
            self.set_done(slot, Arc::new(buffer), sums);
        } else {
            self.slots[slot].own = Some(Arc::new(buffer));
        }
        self.contributed(slot)
    }

    /// The gradient of a stored value, or `None` if nothing depends on it.
    fn gradient_of(&mut self, tensor: usize) -> Result<Option<Gradient<E>>> {
        let mut terms = Vec::new();
        for &slot in &self.plan.stored[tensor].slots {
            let norm = self.plan.slots[slot].norm;
            let Some((buffer, sums)) = &self.slots[slot].done else { continue };
            let (buffer, sums) = (buffer.clone(), sums.as_ref().map(|s| (s.g.clone(), s.gx.clone())));
            terms.push(match (norm, sums) {
                (Some(node), Some(sums)) => self.through_norm(node, buffer, sums)?,
                _ => Gradient::Plain(buffer),
            });
        }
        let mut terms = terms.into_iter();
        let Some(mut total) = terms.next() else { return Ok(None) };
        for term in terms {
            total = Gradient::Plain(self.sum(tensor, &total, Some(&term))?);
        }
        Ok(Some(total))
    }

    /// The backward pass of batch norm: the parameters' gradients, and the input's as a linear map of g and x.
    fn through_norm(
        &mut self,
        node: usize,
        g: Arc<Buffer<E>>,
        (sum, product): (Vec<f64>, Vec<f64>),
    ) -> Result<Gradient<E>> {
        let norm = self.tape.norm(node)?;
        let channels = norm.mean.len();
        let mut dweight = vec![0f32; channels];
        let (mut b, mut c) = (vec![0f32; channels], vec![0f32; channels]);
        for i in 0..channels {
            let inverse = f64::from(norm.inverse[i]);
            // Σ g x̂
            let gx = product[i] * inverse;
            dweight[i] = gx as f32;
            if norm.count > 0. {
                let scale = f64::from(norm.scale[i]);
                let slope = -scale * inverse * gx / norm.count;
                b[i] = slope as f32;
                c[i] = (-scale * sum[i] / norm.count - slope * f64::from(norm.mean[i])) as f32;
            }
        }
        let a = norm.scale.clone();
        // Two norms may not share parameters' gradients, but one norm may end in several slots.
        let add = |total: &mut Vec<f32>, part: &[f32]| total.iter_mut().zip(part).for_each(|(t, p)| *t += p);
        let dbias: Vec<f32> = sum.iter().map(|&s| s as f32).collect();
        add(self.gradients.entry((node, 0)).or_insert_with(|| vec![0.; channels]), &dweight);
        add(self.gradients.entry((node, 1)).or_insert_with(|| vec![0.; channels]), &dbias);
        Ok(Gradient::Norm { g, a, b, c })
    }

    fn plain(&self, tensor: usize, gradient: &Gradient<E>) -> Result<Arc<Buffer<E>>> {
        match gradient {
            Gradient::Plain(g) => Ok(g.clone()),
            Gradient::Norm { .. } => self.sum(tensor, gradient, None),
        }
    }

    /// The sum of one or two gradients of a stored value as a buffer.
    fn sum(&self, tensor: usize, first: &Gradient<E>, second: Option<&Gradient<E>>) -> Result<Arc<Buffer<E>>> {
        let shape = self.stored_shape(tensor);
        let x = self.tape.value(tensor)?;
        // What reaches a rectified value through a norm still has to pass its ReLU.
        let rectified = self.plan.stored[tensor].rectified;
        let mut out = Buffer::<E>::new(self.tape.n * shape.count());
        let shared = out.shared();
        let sources: Vec<_> = [Some(first), second].into_iter().flatten().map(|g| SharedSource(g.source(x))).collect();
        let (isa, row) = (self.isa, shape.width * shape.channels);
        let x = Shared(x.as_ptr().cast_mut());
        threads::static_partition(self.tape.n * shape.height, |chunk| {
            let mut scratch: Vec<Buffer<f32>> = sources.iter().map(|_| Buffer::new(row)).collect();
            for r in chunk {
                // SAFETY: scratches hold one row; every chunk writes its own rows.
                unsafe {
                    for (source, scratch) in sources.iter().zip(&mut scratch) {
                        let out = scratch.as_mut_slice().as_mut_ptr();
                        launch(isa, read_pixels(source.0.at(r * row), shape.width, shape.channels, out));
                    }
                    let a = scratch[0].as_mut_slice().as_mut_ptr();
                    let b = scratch.get(1).map_or(std::ptr::null(), |b| b.as_ptr());
                    let mask = if rectified { x.get().add(r * row).cast_const() } else { std::ptr::null() };
                    launch(isa, AddRows { a, b, relu: false, mask, out: shared.get().add(r * row), len: row });
                }
            }
        });
        Ok(Arc::new(out))
    }

    #[allow(clippy::too_many_arguments)] // each is a different thing
    fn conv(
        &mut self,
        shape: &ConvProblem,
        node: usize,
        weight: &Tensor,
        has_bias: bool,
        input: &View,
        out: usize,
        gradient: &Gradient<E>,
    ) -> Result<()> {
        let (isa, arithmetic) = (self.isa, Arithmetic::of::<E>(self.isa));
        let tape = self.tape;
        let x = SharedSource(tape.source(self.plan, input)?);
        let dy = SharedSource(gradient.source(tape.value(out)?));
        if has_bias {
            let pixels = shape.n * shape.oh * shape.ow;
            self.gradients.insert((node, 1), channel_sums(isa, &dy, pixels, shape.o));
        }
        let mut dw = None;
        if self.wanted(input) {
            let weights = with_values(weight, |values| conv::pack_backward(isa, arithmetic, values, shape))?;
            self.computed(input.slot, |target, epilogue, shared| {
                let passes = || GradientEpiloguePass::new(epilogue, shared);
                let (gradient, passes) =
                    conv::backward(isa, arithmetic, shape, x, dy, Some(&weights), true, target, passes)?;
                dw = gradient;
                Ok(passes.into_iter().map(|pass| pass.sums).collect())
            })?;
        } else {
            let nothing = Target::Scratch;
            dw = conv::backward(isa, arithmetic, shape, x, dy, None, true, &nothing, || Nothing)?.0;
        }
        if let Some(dw) = dw {
            self.gradients.insert((node, 0), dw);
        }
        Ok(())
    }

    fn max_pool(&mut self, config: &crate::PoolConfig, input: &View, out: usize, g: &Arc<Buffer<E>>) -> Result<()> {
        if !self.wanted(input) {
            return self.contributed(input.slot);
        }
        let (from, to) = (self.tape.shapes[input.node], self.stored_shape(out));
        let Some(positions) = &self.tape.positions[out] else { bail!("max_pool2d: no positions") };
        let (isa, n, config) = (self.isa, self.tape.n, *config);
        let g = SharedSource(Source::Plain { x: g.as_ptr() });
        self.computed(input.slot, |_, epilogue, shared| {
            Ok(threads::static_partition(n, |chunk| {
                let mut pass = GradientEpiloguePass::new(epilogue, shared);
                let mut scratch = Buffer::<f32>::new(from.count());
                for image in chunk {
                    scratch.as_mut_slice().fill(0.);
                    let dx = scratch.as_mut_slice().as_mut_ptr();
                    let Source::Plain { x: dy } = *g.source() else { continue };
                    let positions = positions.as_slice()[image * to.count()..].as_ptr();
                    let pixels = from.height * from.width;
                    // SAFETY: scratch and gradient hold one image from here on.
                    unsafe {
                        let dy = dy.add(image * to.count());
                        launch(isa, MaxPoolBackward { config, input: from, output: to, dy, positions, dx });
                        pass.pixels(isa, image * pixels..(image + 1) * pixels, dx);
                    }
                }
                pass.sums
            }))
        })
    }
}

/// Neighbouring pixels, as they are.
pub(super) fn read_pixels<E>(source: Source<E>, pixels: usize, channels: usize, out: *mut f32) -> ReadPixels<E> {
    ReadPixels { source, pixels, channels, from_step: channels, to_step: channels, out }
}

/// Sums over all pixels, for the gradient of a bias.
fn channel_sums<E: Element>(isa: Isa, dy: &SharedSource<E>, pixels: usize, channels: usize) -> Vec<f32> {
    const BLOCK: usize = 64;
    let parts = threads::static_partition(pixels.div_ceil(BLOCK), |chunk| {
        let mut scratch = Buffer::<f32>::new(BLOCK * channels);
        let (mut total, mut sums) = (vec![0f64; channels], vec![0f32; channels]);
        for block in chunk {
            let count = BLOCK.min(pixels - block * BLOCK);
            let x = scratch.as_mut_slice().as_mut_ptr();
            sums.fill(0.);
            // SAFETY: the scratch holds a block.
            unsafe {
                let source = dy.source().at(block * BLOCK * channels);
                launch(isa, read_pixels(source, count, channels, x));
                launch(isa, PixelSum { x, pixels: count, channels, sums: sums.as_mut_ptr() });
            }
            total.iter_mut().zip(&sums).for_each(|(t, &s)| *t += f64::from(s));
        }
        total
    });
    (0..channels).map(|c| parts.iter().map(|part| part[c]).sum::<f64>() as f32).collect()
}

/// Where no gradient of the input is asked for.
struct Nothing;

impl Epilogue for Nothing {
    unsafe fn pixels(&mut self, _: Isa, _: Range<usize>, _: *mut f32) {}
}
