//! A graph as steps of the fused engine: which values are stored, and what is applied to them on the way.

use std::collections::HashMap;

use candle_core::{DType, Result, Tensor};

use crate::cpu::conv::problem::ConvProblem;
use crate::engine::schedule::{self, Schedule, ValueId};
use crate::graph::{MapShape, Node, NormParameters, Op};
use crate::{AvgPoolConfig, Graph, PoolConfig};

/// A stored value as a consumer sees it: normalised, rectified, subsampled, with zero channels around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    pub tensor: usize,
    /// Node of the batch norm on the way.
    pub norm: Option<usize>,
    pub relu: bool,
    pub stride: (usize, usize),
    /// Zero channels in front, where there are any around it.
    pub pad: Option<usize>,
    /// Node whose shape the view has.
    pub node: usize,
    /// Where its gradient is collected.
    pub slot: usize,
}

impl View {
    pub(crate) fn reshaped(&self) -> bool {
        self.stride != (1, 1) || self.pad.is_some()
    }
}

/// A stored value.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// Node whose shape it has.
    pub node: usize,
    /// Whether no value is negative, because a ReLU is applied before storing.
    pub rectified: bool,
    /// Norms that are taken of it.
    pub norms: Vec<usize>,
    /// Slots that collect its gradient.
    pub slots: Vec<usize>,
}

/// Collects the gradient of a stored value as seen through one norm and ReLU.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub tensor: usize,
    pub norm: Option<usize>,
    pub relu: bool,
    /// Consumers that contribute.
    pub contributions: usize,
}

/// One operation of the engine; `out` is a stored value.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Constant {
        node: usize,
        out: usize,
    },
    Conv {
        node: usize,
        input: View,
        out: usize,
    },
    Linear {
        node: usize,
        input: View,
        out: usize,
    },
    Add {
        a: View,
        b: View,
        relu: bool,
        out: usize,
    },
    Copy {
        input: View,
        out: usize,
    },
    MaxPool {
        config: PoolConfig,
        input: View,
        out: usize,
    },
    GlobalAvgPool {
        input: View,
        out: usize,
    },
    AveragePool {
        config: AvgPoolConfig,
        input: View,
        out: usize,
    },
    /// One value of each operand at a time.
    Pointwise {
        node: usize,
        a: View,
        b: Option<View>,
        out: usize,
    },
    /// Through candle's tensors.
    Fallback {
        node: usize,
        inputs: Vec<View>,
        out: usize,
    },
}

impl schedule::Step for Step {
    fn inputs(&self) -> Vec<ValueId> {
        self.views().iter().map(|view| view.tensor).collect()
    }

    fn out(&self) -> ValueId {
        match *self {
            Step::Constant { out, .. }
            | Step::Conv { out, .. }
            | Step::Linear { out, .. }
            | Step::Add { out, .. }
            | Step::Copy { out, .. }
            | Step::MaxPool { out, .. }
            | Step::GlobalAvgPool { out, .. }
            | Step::AveragePool { out, .. }
            | Step::Pointwise { out, .. }
            | Step::Fallback { out, .. } => out,
        }
    }
}

impl Step {
    fn views(&self) -> Vec<View> {
        match *self {
            Step::Constant { .. } => Vec::new(),
            Step::Add { a, b, .. } => vec![a, b],
            Step::Conv { input, .. }
            | Step::Linear { input, .. }
            | Step::Copy { input, .. }
            | Step::MaxPool { input, .. }
            | Step::GlobalAvgPool { input, .. }
            | Step::AveragePool { input, .. } => vec![input],
            Step::Pointwise { a, b, .. } => std::iter::once(a).chain(b).collect(),
            Step::Fallback { ref inputs, .. } => inputs.clone(),
        }
    }
}

/// What the engine executes.
#[derive(Debug)]
pub(crate) struct Plan {
    pub nodes: Vec<Node>,
    pub stored: Vec<Stored>,
    pub slots: Vec<Slot>,
    /// Its output is a stored value without anything on the way.
    pub schedule: Schedule<Step>,
}

impl Plan {
    /// `None` where a parameter is not f32 on the CPU.
    pub(crate) fn new(graph: &Graph) -> Option<Self> {
        let nodes = graph.nodes()[..=graph.output().index()].to_vec();
        let fits = |p: &Tensor| p.dtype() == DType::F32 && p.device().is_cpu();
        if !nodes.iter().flat_map(|node| node.op.parameters()).flatten().all(fits) {
            return None;
        }
        let mut lowering = Lowering::new(&nodes, graph.output().index());
        for i in 0..nodes.len() {
            let view = lowering.lower(i);
            lowering.views.push(view);
        }
        let view = lowering.views[graph.output().index()];
        let output = lowering.plain(view).tensor;
        let Lowering { stored, slots, steps, .. } = lowering;
        let mut plan = Self { nodes, stored, slots, schedule: Schedule::new(steps, output) };
        for view in plan.schedule.steps.iter().flat_map(Step::views) {
            plan.slots[view.slot].contributions += 1;
        }
        // The gradient of the output enters here.
        let slot = plan.slots.iter().position(|slot| slot.tensor == output && slot.norm.is_none() && !slot.relu);
        if let Some(slot) = slot {
            plan.slots[slot].contributions += 1;
        }
        Some(plan)
    }

    pub(crate) fn norm(&self, node: usize) -> Option<&NormParameters> {
        match &self.nodes[node].op {
            Op::Norm(parameters) => Some(parameters),
            _ => None,
        }
    }

    /// The sizes of a convolution step on a batch of `n`.
    pub(crate) fn conv_shape(&self, node: usize, input: MapShape, output: MapShape, n: usize) -> Result<ConvProblem> {
        let Op::Conv { weight, config, .. } = &self.nodes[node].op else {
            bail!("graph: node {node} is no convolution")
        };
        let (o, _, kh, kw) = weight.dims4()?;
        let MapShape { channels: c, height: h, width: w } = input;
        let (oh, ow) = (output.height, output.width);
        Ok(ConvProblem { n, h, w, c, o, kh, kw, oh, ow, config: *config }.with_short_strides())
    }
}

struct Lowering<'a> {
    nodes: &'a [Node],
    consumers: Vec<usize>,
    views: Vec<View>,
    stored: Vec<Stored>,
    slots: Vec<Slot>,
    index: HashMap<(usize, Option<usize>, bool), usize>,
    steps: Vec<Step>,
}

impl<'a> Lowering<'a> {
    fn new(nodes: &'a [Node], output: usize) -> Self {
        let mut consumers = vec![0; nodes.len()];
        consumers[output] += 1;
        for input in nodes.iter().flat_map(|node| &node.inputs) {
            consumers[input.index()] += 1;
        }
        let (views, stored, slots, steps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { nodes, consumers, views, stored, slots, index: HashMap::new(), steps }
    }

    fn lower(&mut self, i: usize) -> View {
        let node = &self.nodes[i];
        let inputs: Vec<View> = node.inputs.iter().map(|v| self.views[v.index()]).collect();
        match (&node.op, inputs.as_slice()) {
            (Op::Input, []) => self.store(i, false),
            (Op::Constant(_), []) => {
                let view = self.store(i, false);
                self.steps.push(Step::Constant { node: i, out: view.tensor });
                view
            }
            (Op::Conv { weight, config, .. }, &[x]) => {
                if !ConvProblem::supported(weight, config) {
                    return self.fallback(i, inputs);
                }
                let input = self.unshaped(x);
                let view = self.store(i, false);
                self.steps.push(Step::Conv { node: i, input, out: view.tensor });
                view
            }
            (Op::Linear { .. }, &[x]) => {
                let input = self.plain(x);
                let view = self.store(i, false);
                self.steps.push(Step::Linear { node: i, input, out: view.tensor });
                view
            }
            (Op::Norm(_), &[x]) => {
                let x = self.plain(x);
                self.stored[x.tensor].norms.push(i);
                self.view(View { norm: Some(i), node: i, ..x })
            }
            (Op::Relu, &[x]) => {
                let x = self.unshaped(x);
                self.view(View { relu: true, node: i, ..x })
            }
            (Op::Add, &[a, b]) => {
                let relu = self.consumers[i] == 1 && self.read_by_relu(i);
                let view = self.store(i, relu);
                self.steps.push(Step::Add { a, b, relu, out: view.tensor });
                view
            }
            (Op::MaxPool(config), &[x]) => {
                if config.kernel.0.saturating_mul(config.kernel.1) > 255 {
                    return self.fallback(i, inputs);
                }
                let input = self.unshaped(x);
                let view = self.store(i, false);
                self.steps.push(Step::MaxPool { config: *config, input, out: view.tensor });
                view
            }
            (Op::GlobalAvgPool, &[x]) => {
                let input = self.unshaped(x);
                let view = self.store(i, false);
                self.steps.push(Step::GlobalAvgPool { input, out: view.tensor });
                view
            }
            (Op::Subsample { stride }, &[x]) => {
                let x = self.unshaped(x);
                View { stride: *stride, node: i, ..x }
            }
            (Op::PadChannels { before, .. }, &[x]) => {
                let x = if x.pad.is_some() { self.copy(x) } else { x };
                View { pad: Some(*before), node: i, ..x }
            }
            (Op::AvgPool(config), &[x]) => {
                let input = self.unshaped(x);
                let view = self.store(i, false);
                self.steps.push(Step::AveragePool { config: *config, input, out: view.tensor });
                view
            }
            (Op::Affine { .. } | Op::Sigmoid | Op::Dropout { .. }, &[x]) => {
                let a = self.unshaped(x);
                self.pointwise(i, a, None)
            }
            (Op::Mul, &[a, b]) => {
                let (a, b) = (self.unshaped(a), self.unshaped(b));
                self.pointwise(i, a, Some(b))
            }
            _ => self.fallback(i, inputs),
        }
    }

    fn pointwise(&mut self, node: usize, a: View, b: Option<View>) -> View {
        let view = self.store(node, false);
        self.steps.push(Step::Pointwise { node, a, b, out: view.tensor });
        view
    }

    fn fallback(&mut self, node: usize, inputs: Vec<View>) -> View {
        let inputs = inputs.into_iter().map(|x| self.plain(x)).collect();
        let view = self.store(node, false);
        self.steps.push(Step::Fallback { node, inputs, out: view.tensor });
        view
    }

    fn read_by_relu(&self, i: usize) -> bool {
        self.nodes.iter().any(|n| matches!(n.op, Op::Relu) && n.inputs.first().is_some_and(|v| v.index() == i))
    }

    fn store(&mut self, node: usize, rectified: bool) -> View {
        let tensor = self.stored.len();
        self.stored.push(Stored { node, rectified, norms: Vec::new(), slots: Vec::new() });
        self.view(View { tensor, norm: None, relu: false, stride: (1, 1), pad: None, node, slot: 0 })
    }

    /// The view with its slot; rectifying what is rectified changes nothing.
    fn view(&mut self, mut view: View) -> View {
        if view.norm.is_none() && self.stored[view.tensor].rectified {
            view.relu = false;
        }
        let key = (view.tensor, view.norm, view.relu);
        view.slot = *self.index.entry(key).or_insert_with(|| {
            self.slots.push(Slot { tensor: view.tensor, norm: view.norm, relu: view.relu, contributions: 0 });
            self.slots.len() - 1
        });
        if !self.stored[view.tensor].slots.contains(&view.slot) {
            self.stored[view.tensor].slots.push(view.slot);
        }
        view
    }

    /// A view without subsampling or padding.
    fn unshaped(&mut self, x: View) -> View {
        if x.reshaped() { self.copy(x) } else { x }
    }

    /// A view of a stored value as it is.
    fn plain(&mut self, x: View) -> View {
        if x.reshaped() || x.norm.is_some() || x.relu { self.copy(x) } else { x }
    }

    fn copy(&mut self, input: View) -> View {
        let view = self.store(input.node, false);
        self.steps.push(Step::Copy { input, out: view.tensor });
        view
    }
}
