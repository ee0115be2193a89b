//! Runs a plan's steps.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{DType, Result, Tensor};

use super::array::Array;
use super::constants::Constants;
use super::conv_problem::{ConvPass, ConvProblem};
use super::kernels::{Kernels, NormCoefficients, Shortcut};
use super::launch::PACK_BYTES;
use super::plan::{Plan, Step};
use super::runtime::{Element, Runtime};
use crate::engine::input_shape;
use crate::engine::schedule::{Step as _, ValueId};
use crate::graph::shapes::shapes;
use crate::graph::{MapShape, NormParameters, Op, Pass};
use crate::reference::standardize_weight;

/// What a forward pass leaves.
#[derive(Debug)]
pub(crate) struct Tape<R: Runtime> {
    pub n: usize,
    pub pass: Pass,
    /// Of the nodes.
    pub shapes: Vec<MapShape>,
    values: Vec<Option<Array<R>>>,
    /// By node.
    pub norms: HashMap<usize, Arc<NormCoefficients<R>>>,
    /// Weights of convolutions and linear layers as they were multiplied by, by node.
    pub weights: HashMap<usize, Array<R>>,
    /// Where the maxima of a max-pool were, by its result.
    pub taps: HashMap<ValueId, Array<R>>,
}

pub(crate) struct Forward<'a, R: Runtime> {
    pub(super) plan: &'a Plan,
    pub(super) kernels: &'a Kernels<R>,
    pub(super) tape: Tape<R>,
    constants: Option<&'a Constants<R>>,
    keep: bool,
}

impl<'a, R: Runtime> Forward<'a, R> {
    /// Runs all steps on `x` (N, C, H, W), f32 or the compute dtype; what the backward pass reads is kept with `keep`.
    /// What `constants` hold is not made again: they go with parameters that never change.
    pub(crate) fn run(
        plan: &'a Plan,
        kernels: &'a Kernels<R>,
        x: &Tensor,
        pass: Pass,
        constants: Option<&'a Constants<R>>,
        keep: bool,
    ) -> Result<Tape<R>> {
        let (n, input) = input_shape(x.dims())?;
        let shapes = shapes(&plan.nodes, input)?;
        let tape = Tape {
            n,
            pass,
            shapes,
            values: vec![None; plan.shapes.len()],
            norms: HashMap::new(),
            weights: HashMap::new(),
            taps: HashMap::new(),
        };
        let mut forward = Self { plan, kernels, tape, constants, keep };
        forward.tape.values[0] = Some(forward.input(x, input)?);
        for (step, last_reads) in plan.schedule.iter() {
            let value = forward.step(step)?;
            let wanted = n * forward.tape.shape(plan, step.out()).count();
            if value.count() != wanted {
                bail!("{step:?} gave {} values, the shape has {wanted}", value.count());
            }
            forward.tape.values[step.out()] = Some(value);
            if !keep {
                for &value in last_reads {
                    forward.tape.values[value] = None;
                }
            }
        }
        Ok(forward.tape)
    }

    fn input(&self, x: &Tensor, shape: MapShape) -> Result<Array<R>> {
        // What lies channels-last in the compute dtype already is read where it lies; not where it begins in the middle of
        // a pack, as a part of a batch may: kernels and cuDNN read 16 bytes at once.
        let dtype = self.kernels.element.dtype();
        if x.rank() == 4 && x.dtype() == dtype {
            let last = x.permute((0, 2, 3, 1))?;
            if last.is_contiguous() {
                let borrowed = Array::borrow(&self.kernels.runtime, &last, dtype)?;
                if borrowed.address().is_multiple_of(PACK_BYTES) {
                    return Ok(borrowed);
                }
            }
        }
        let dims = [self.tape.n, shape.channels, shape.height * shape.width];
        self.kernels.channels_last(&x.to_dtype(DType::F32)?.contiguous()?, dims)
    }

    pub(super) fn value(&self, value: ValueId) -> Result<&Array<R>> {
        self.tape.value(value)
    }

    fn step(&mut self, step: &Step) -> Result<Array<R>> {
        let n = self.tape.n;
        match step {
            Step::Constant { node, out } => {
                let Op::Constant(map) = &self.plan.nodes[*node].op else { bail!("node {node} is no constant map") };
                if map.dim(0)? != n {
                    bail!("a constant map {:?} does not fit a batch of {n}", map.dims());
                }
                self.input(map, self.tape.shape(self.plan, *out))
            }
            Step::Conv { node, x, .. } => self.convolve(*node, *x, &convolution(self.plan, &self.tape, *node, *x)?),
            Step::Linear { node, x, .. } => self.convolve(*node, *x, &linear(self.plan, &self.tape, *node, *x)?),
            Step::Norm { node, x, residual, relu, .. } => {
                let parameters = norm(self.plan, *node)?;
                let channels = self.tape.shape(self.plan, *x).channels;
                let run = match self.tape.pass.train {
                    true => Arc::new(self.kernels.norm_train(parameters, self.value(*x)?, channels)?),
                    false => {
                        let make = || Ok(Arc::new(self.kernels.norm_constant(parameters, channels)?));
                        self.constants.map_or_else(make, |constants| constants.norms.get(*node, make))?
                    }
                };
                let residual = residual.map(|value| self.value(value)).transpose()?;
                let y = self.kernels.norm_apply(&run, self.value(*x)?, residual, *relu)?;
                if self.keep {
                    self.tape.norms.insert(*node, run);
                }
                Ok(y)
            }
            Step::Relu { x, .. } => self.kernels.add(self.value(*x)?, None, true),
            Step::Add { a, b, relu, .. } => self.kernels.add(self.value(*a)?, Some(self.value(*b)?), *relu),
            Step::MaxPool { config, x, out } => {
                let from = self.tape.shape(self.plan, *x);
                let (y, taps) = self.kernels.max_pool(self.value(*x)?, config, n, from)?;
                if self.keep {
                    self.tape.taps.insert(*out, taps);
                }
                Ok(y)
            }
            Step::AvgPool { config, x, .. } => {
                let from = self.tape.shape(self.plan, *x);
                self.kernels.average_pool(self.value(*x)?, config, n, from, false)
            }
            Step::GlobalAvgPool { x, .. } => {
                self.kernels.pixel_mean(self.value(*x)?, n, self.tape.shape(self.plan, *x))
            }
            Step::Shortcut { x, out, .. } => {
                let shortcut = shortcut(self.plan, &self.tape, step, *out)?;
                self.kernels.shortcut(self.value(*x)?, &shortcut, false)
            }
            Step::Fallback { node, inputs, out } => self.fallback(*node, inputs, *out),
        }
    }

    fn convolve(&mut self, node: usize, x: ValueId, shape: &ConvProblem) -> Result<Array<R>> {
        let (plan, kernels) = (self.plan, self.kernels);
        let dims = [shape.o, shape.c / shape.groups, shape.kh * shape.kw];
        let make = || kernels.channels_last(&weight(plan, node)?, dims);
        let weight =
            self.constants.map_or_else(make, |constants| constants.weights.get((node, kernels.element), make))?;
        let [_, bias] = plan.nodes[node].op.parameters();
        let y = self.kernels.convolve(ConvPass::Forward, shape, self.value(x)?, &weight, None)?;
        if let Some(bias) = bias {
            self.kernels.add_bias(&y, bias, shape.o)?;
        }
        if self.keep {
            self.tape.weights.insert(node, weight);
        }
        Ok(y)
    }
}

impl<R: Runtime> Tape<R> {
    pub(crate) fn value(&self, value: ValueId) -> Result<&Array<R>> {
        match &self.values[value] {
            Some(array) => Ok(array),
            None => bail!("the engine lost stored value {value}"),
        }
    }

    pub(crate) fn shape(&self, plan: &Plan, value: ValueId) -> MapShape {
        self.shapes[plan.shapes[value]]
    }

    /// Takes the result out.
    pub(crate) fn take(&mut self, value: ValueId) -> Result<Array<R>> {
        match self.values[value].take() {
            Some(array) => Ok(array),
            None => bail!("the engine lost stored value {value}"),
        }
    }
}

/// The sizes of a convolution.
pub(super) fn convolution<R: Runtime>(plan: &Plan, tape: &Tape<R>, node: usize, x: ValueId) -> Result<ConvProblem> {
    match &plan.nodes[node].op {
        Op::Conv { weight, config, .. } => ConvProblem::new(tape.n, tape.shape(plan, x), weight, config),
        _ => bail!("node {node} is no convolution"),
    }
}

/// The same of a linear layer.
pub(super) fn linear<R: Runtime>(plan: &Plan, tape: &Tape<R>, node: usize, x: ValueId) -> Result<ConvProblem> {
    match &plan.nodes[node].op {
        Op::Linear { weight, .. } => ConvProblem::linear(tape.n, tape.shape(plan, x).count(), weight),
        _ => bail!("node {node} is no linear layer"),
    }
}

/// The weight that a convolution or linear layer multiplies by.
fn weight(plan: &Plan, node: usize) -> Result<Tensor> {
    match &plan.nodes[node].op {
        Op::Conv { weight, standardize: Some(eps), .. } => standardize_weight(&weight.detach(), *eps),
        Op::Conv { weight, .. } | Op::Linear { weight, .. } => Ok(weight.clone()),
        _ => bail!("node {node} has no weight"),
    }
}

pub(super) fn norm(plan: &Plan, node: usize) -> Result<&NormParameters> {
    match &plan.nodes[node].op {
        Op::Norm(parameters) => Ok(parameters),
        _ => bail!("node {node} is no norm"),
    }
}

pub(super) fn shortcut<R: Runtime>(plan: &Plan, tape: &Tape<R>, step: &Step, out: ValueId) -> Result<Shortcut> {
    let Step::Shortcut { x, stride, before, .. } = *step else { bail!("{step:?} is no shortcut") };
    Ok(Shortcut { n: tape.n, from: tape.shape(plan, x), to: tape.shape(plan, out), stride, before })
}

impl<R: Runtime> Kernels<R> {
    pub(crate) fn new(runtime: R, compute: DType) -> Result<Self> {
        Ok(Self { runtime, element: Element::of(compute)? })
    }
}
