//! A graph as steps of inference: norms are folded into the convolutions before them, additions and ReLUs go into their
//! ends.

use candle_core::Result;

use super::weights::Weights;
use crate::PoolConfig;
use crate::cpu::isa::Arithmetic;
use crate::cpu::norm::{NormCoefficients, constant_norm};
use crate::cpu::standardize::effective;
use crate::engine::schedule::{self, Schedule, ValueId};
use crate::graph::{Graph, Op};

/// One pass over activations; `out` is a value that no step wrote before.
pub(super) enum Step {
    Conv {
        input: ValueId,
        weights: Box<Weights>,
        residual: Option<ValueId>,
        relu: bool,
        out: ValueId,
    },
    /// `x · scale + shift`, by channel.
    Affine {
        input: ValueId,
        scale: Vec<f32>,
        shift: Vec<f32>,
        relu: bool,
        out: ValueId,
    },
    /// `a + b`, or `a` alone.
    Add {
        a: ValueId,
        b: Option<ValueId>,
        relu: bool,
        out: ValueId,
    },
    MaxPool {
        config: PoolConfig,
        input: ValueId,
        out: ValueId,
    },
    GlobalAvgPool {
        input: ValueId,
        out: ValueId,
    },
    /// The last step: its result is no map.
    Linear {
        input: ValueId,
        weights: Box<Weights>,
        out: ValueId,
    },
    /// Every stride-th pixel, with zero channels around.
    Shortcut {
        input: ValueId,
        stride: (usize, usize),
        before: usize,
        out: ValueId,
    },
}

impl schedule::Step for Step {
    fn out(&self) -> ValueId {
        match *self {
            Step::Conv { out, .. }
            | Step::Affine { out, .. }
            | Step::Add { out, .. }
            | Step::MaxPool { out, .. }
            | Step::GlobalAvgPool { out, .. }
            | Step::Linear { out, .. }
            | Step::Shortcut { out, .. } => out,
        }
    }

    fn inputs(&self) -> Vec<ValueId> {
        match *self {
            Step::Conv { input: a, residual: b, .. } | Step::Add { a, b, .. } => std::iter::once(a).chain(b).collect(),
            Step::Affine { input, .. }
            | Step::MaxPool { input, .. }
            | Step::GlobalAvgPool { input, .. }
            | Step::Linear { input, .. }
            | Step::Shortcut { input, .. } => vec![input],
        }
    }
}

/// The steps, whose values are named by the nodes that they stand for; `None` where the graph has an operation that inference
/// lacks.
pub(super) fn lower(graph: &Graph) -> Result<Option<Schedule<Step>>> {
    let nodes = &graph.nodes()[..=graph.output().index()];
    let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        node.inputs.iter().for_each(|input| consumers[input.index()].push(i));
    }
    // The one operation that reads a value, if there is one.
    let only = |value: usize| match consumers[value].as_slice() {
        &[consumer] if value != graph.output().index() => Some(consumer),
        _ => None,
    };
    // Where each node's value is kept, once it is.
    let mut kept: Vec<Option<ValueId>> = vec![None; nodes.len()];
    kept[0] = Some(0);
    // Nodes whose work is part of another's step.
    let mut absorbed = vec![false; nodes.len()];
    let mut steps = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        if kept[i].is_some() || absorbed[i] {
            continue;
        }
        let inputs: Option<Vec<ValueId>> = node.inputs.iter().map(|input| kept[input.index()]).collect();
        let Some(inputs) = inputs else { bail!("graph: node {i} reads a value that is not there") };
        let relu_after = |value: usize| only(value).filter(|&next| matches!(nodes[next].op, Op::Relu));
        // The node whose value the step gives, and those on the way to it.
        let mut out = i;
        let mut absorb = |out: &mut usize, next: usize| {
            absorbed[next] = true;
            *out = next;
        };
        let step = match (&node.op, inputs.as_slice()) {
            (Op::Conv { weight, bias, config, standardize }, &[input]) => {
                let mut weights = Weights::new(&effective(weight, *standardize)?, bias.as_ref(), *config)?;
                if let Some(next) = only(out)
                    && let Op::Norm(norm) = &nodes[next].op
                {
                    let NormCoefficients { scale, shift, .. } = constant_norm(norm)?;
                    weights.fold(&scale, &shift);
                    absorb(&mut out, next);
                }
                let mut residual = None;
                if let Some(next) = only(out)
                    && let (Op::Add, [a, b]) = (&nodes[next].op, nodes[next].inputs.as_slice())
                    && a != b
                {
                    let other = if a.index() == out { b } else { a };
                    residual = kept[other.index()];
                    if residual.is_some() {
                        absorb(&mut out, next);
                    }
                }
                let relu = relu_after(out);
                relu.into_iter().for_each(|next| absorb(&mut out, next));
                if !weights.supported(Arithmetic::F32) {
                    return Ok(None);
                }
                Step::Conv { input, weights: Box::new(weights), residual, relu: relu.is_some(), out }
            }
            (Op::Norm(norm), &[input]) => {
                let NormCoefficients { scale, shift, .. } = constant_norm(norm)?;
                let relu = relu_after(out);
                relu.into_iter().for_each(|next| absorb(&mut out, next));
                Step::Affine { input, scale, shift, relu: relu.is_some(), out }
            }
            (Op::Relu, &[input]) => Step::Add { a: input, b: None, relu: true, out },
            (Op::Add, &[a, b]) => {
                let relu = relu_after(out);
                relu.into_iter().for_each(|next| absorb(&mut out, next));
                Step::Add { a, b: Some(b), relu: relu.is_some(), out }
            }
            (Op::MaxPool(config), &[input]) => Step::MaxPool { config: *config, input, out },
            (Op::GlobalAvgPool, &[input]) => Step::GlobalAvgPool { input, out },
            (Op::Linear { weight, bias }, &[input]) => {
                let (o, c) = weight.dims2()?;
                let weights = Weights::new(&weight.reshape((o, c, 1, 1))?, bias.as_ref(), Default::default())?;
                let weights = Box::new(weights);
                match i == graph.output().index() {
                    true => Step::Linear { input, weights, out },
                    // Something follows: a convolution of one pixel leaves a map.
                    false => Step::Conv { input, weights, residual: None, relu: false, out },
                }
            }
            (Op::Subsample { stride }, &[input]) => Step::Shortcut { input, stride: *stride, before: 0, out },
            (Op::PadChannels { before, .. }, &[input]) => {
                Step::Shortcut { input, stride: (1, 1), before: *before, out }
            }
            _ => return Ok(None),
        };
        kept[out] = Some(out);
        steps.push(step);
    }
    Ok(Some(Schedule::new(steps, graph.output().index())))
}
