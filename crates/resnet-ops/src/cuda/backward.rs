//! Runs a plan's steps backwards.

use std::collections::HashMap;

use candle_core::{Result, Tensor, Var};

use super::array::Array;
use super::conv_problem::{ConvPass, ConvProblem};
use super::forward::{Tape, convolution, linear, shortcut};
use super::kernels::{Activation, Kernels};
use super::plan::{Plan, Step};
use super::runtime::Runtime;
use crate::engine::ParameterId;
use crate::engine::schedule::{Step as _, ValueId};
use crate::graph::Op;
use crate::reference::standardize_weight;

pub(crate) struct Backward<'a, R: Runtime> {
    pub(super) plan: &'a Plan,
    pub(super) kernels: &'a Kernels<R>,
    pub(super) tape: &'a Tape<R>,
    gradients: Vec<Option<Array<R>>>,
    needs_dx: bool,
    pub(super) parameters: HashMap<ParameterId, Tensor>,
}

/// The gradients of all parameters, f32 in their shapes, and of the input, channels-last.
pub(crate) struct Gradients<R: Runtime> {
    pub parameters: HashMap<ParameterId, Tensor>,
    pub input: Option<Array<R>>,
}

impl<'a, R: Runtime> Backward<'a, R> {
    /// From the gradient of the output (channels-last) to all others.
    pub(crate) fn run(
        plan: &'a Plan,
        kernels: &'a Kernels<R>,
        tape: &'a Tape<R>,
        dy: Array<R>,
        needs_dx: bool,
    ) -> Result<Gradients<R>> {
        let gradients = vec![None; plan.shapes.len()];
        let mut backward = Self { plan, kernels, tape, gradients, needs_dx, parameters: HashMap::new() };
        backward.contribute(plan.schedule.output, dy)?;
        for step in plan.schedule.steps.iter().rev() {
            if let Some(dy) = backward.gradients[step.out()].take() {
                backward.step(step, dy)?;
            }
        }
        Ok(Gradients { input: backward.gradients[0].take(), parameters: backward.parameters })
    }

    pub(super) fn wanted(&self, value: ValueId) -> bool {
        value != 0 || self.needs_dx
    }

    /// Adds to the gradient of a value.
    pub(super) fn contribute(&mut self, value: ValueId, gradient: Array<R>) -> Result<()> {
        if !self.wanted(value) {
            return Ok(());
        }
        let total = match self.gradients[value].take() {
            None => gradient,
            // Sums go into memory that nothing else reads.
            Some(total) if total.is_unique() => {
                self.kernels.add_into(&total, Some(&gradient), false, &total)?;
                total
            }
            Some(total) => self.kernels.add(&total, Some(&gradient), false)?,
        };
        self.gradients[value] = Some(total);
        Ok(())
    }

    fn step(&mut self, step: &Step, dy: Array<R>) -> Result<()> {
        let (kernels, tape, plan, n) = (self.kernels, self.tape, self.plan, self.tape.n);
        match step {
            Step::Constant { node, out } => {
                let shape = tape.shape(plan, *out);
                let dims = [n, shape.channels, shape.height * shape.width];
                let gradient = kernels.channels_first(&dy, dims)?;
                let dims = (n, shape.channels, shape.height, shape.width);
                self.parameters.insert((*node, 0), gradient.into_tensor(&kernels.runtime, dims)?);
            }
            Step::Conv { node, x, .. } => {
                let shape = convolution(plan, tape, *node, *x)?;
                self.convolution(*node, *x, &shape, dy)?;
                self.standardized(*node)?;
            }
            Step::Linear { node, x, .. } => {
                let shape = linear(plan, tape, *node, *x)?;
                self.convolution(*node, *x, &shape, dy)?;
            }
            Step::Norm { node, x, residual, relu, out } => {
                let Some(run) = tape.norms.get(node) else { bail!("the engine has no statistics for node {node}") };
                let after = match (*relu, residual) {
                    (false, _) => Activation::None,
                    (true, None) => Activation::Relu,
                    (true, Some(_)) => Activation::AddRelu(tape.value(*out)?),
                };
                let gradients = kernels.norm_backward(run, tape.value(*x)?, &dy, after)?;
                if let Some(residual) = residual {
                    self.contribute(*residual, gradients.residual.unwrap_or(dy))?;
                }
                for (place, gradient) in [(0, gradients.weight), (1, gradients.bias)] {
                    let count = gradient.count();
                    self.parameters.insert((*node, place), gradient.into_tensor(&kernels.runtime, count)?);
                }
                self.contribute(*x, gradients.input)?;
            }
            Step::Relu { x, out } => {
                let gradient = kernels.relu_backward(&dy, tape.value(*out)?)?;
                self.contribute(*x, gradient)?;
            }
            Step::Add { a, b, relu, out } => {
                let gradient = if *relu { kernels.relu_backward(&dy, tape.value(*out)?)? } else { dy };
                self.contribute(*a, gradient.clone())?;
                self.contribute(*b, gradient)?;
            }
            Step::MaxPool { config, x, out } if self.wanted(*x) => {
                let Some(taps) = tape.taps.get(out) else { bail!("the engine lost the maxima of value {out}") };
                let gradient = kernels.max_pool_backward(&dy, taps, config, n, tape.shape(plan, *x))?;
                self.contribute(*x, gradient)?;
            }
            Step::AvgPool { config, x, .. } if self.wanted(*x) => {
                let gradient = kernels.average_pool(&dy, config, n, tape.shape(plan, *x), true)?;
                self.contribute(*x, gradient)?;
            }
            Step::GlobalAvgPool { x, .. } if self.wanted(*x) => {
                let gradient = kernels.pixel_mean_backward(&dy, n, tape.shape(plan, *x))?;
                self.contribute(*x, gradient)?;
            }
            Step::Shortcut { x, out, .. } if self.wanted(*x) => {
                let gradient = kernels.shortcut(&dy, &shortcut(plan, tape, step, *out)?, true)?;
                self.contribute(*x, gradient)?;
            }
            Step::MaxPool { .. } | Step::AvgPool { .. } | Step::GlobalAvgPool { .. } | Step::Shortcut { .. } => {}
            Step::Fallback { node, inputs, out } => self.fallback(*node, inputs, *out, &dy)?,
        }
        Ok(())
    }

    /// The gradients of weight, bias and input of a convolution or linear layer.
    fn convolution(&mut self, node: usize, x: ValueId, shape: &ConvProblem, dy: Array<R>) -> Result<()> {
        let (kernels, tape) = (self.kernels, self.tape);
        let [weight, bias] = self.plan.nodes[node].op.parameters();
        if let Some(weight) = weight.filter(|weight| weight.track_op()) {
            let gradient = kernels.convolve(ConvPass::BackwardFilter, shape, tape.value(x)?, &dy, None)?;
            let dims = [shape.o, shape.c / shape.groups, shape.kh * shape.kw];
            let gradient = kernels.channels_first(&gradient, dims)?;
            self.parameters.insert((node, 0), gradient.into_tensor(&kernels.runtime, weight.shape())?);
        }
        if bias.is_some_and(Tensor::track_op) {
            let gradient = kernels.bias_gradient(&dy, shape.o)?;
            self.parameters.insert((node, 1), gradient.into_tensor(&kernels.runtime, shape.o)?);
        }
        if self.wanted(x) {
            let Some(weight) = tape.weights.get(&node) else { bail!("the engine lost the weight of node {node}") };
            // Where another gradient of this value is there already, and in nobody else's hands, this one is added to it.
            let (into, other) = match self.gradients[x].take() {
                Some(total) if total.is_unique() => (Some(total), None),
                other => (None, other),
            };
            self.gradients[x] = other;
            let fresh = into.is_none();
            let gradient = kernels.convolve(ConvPass::BackwardData, shape, weight, &dy, into)?;
            if fresh {
                self.contribute(x, gradient)?;
            } else {
                self.gradients[x] = Some(gradient);
            }
        }
        Ok(())
    }

    /// From the gradient of the standardised weight to that of the weight.
    fn standardized(&mut self, node: usize) -> Result<()> {
        let Op::Conv { weight, standardize: Some(eps), .. } = &self.plan.nodes[node].op else { return Ok(()) };
        let Some(gradient) = self.parameters.remove(&(node, 0)) else { return Ok(()) };
        let weight = Var::from_tensor(&weight.detach())?;
        let gradients = (standardize_weight(&weight, *eps)? * gradient)?.sum_all()?.backward()?;
        let gradient = gradients.get(&weight).cloned();
        self.parameters.extend(gradient.map(|gradient| ((node, 0), gradient)));
        Ok(())
    }
}
