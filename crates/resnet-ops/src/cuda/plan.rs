//! A graph as steps of the engine: which values are stored, and which operations run as one.
//!
//! A batch norm waits for the addition and the ReLU after it where nothing else reads it, and a subsampling for the zero
//! channels after it: each such chain is one step.

use candle_core::{DType, Device, Tensor};

use crate::engine;
use crate::engine::schedule::{Schedule, ValueId};
use crate::graph::{Node, NormParameters, Op};
use crate::{AvgPoolConfig, Graph, PoolConfig};

/// One step; `out` is the value that it stores.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Constant {
        node: usize,
        out: ValueId,
    },
    Conv {
        node: usize,
        x: ValueId,
        out: ValueId,
    },
    Linear {
        node: usize,
        x: ValueId,
        out: ValueId,
    },
    Norm {
        node: usize,
        x: ValueId,
        residual: Option<ValueId>,
        relu: bool,
        out: ValueId,
    },
    Relu {
        x: ValueId,
        out: ValueId,
    },
    Add {
        a: ValueId,
        b: ValueId,
        relu: bool,
        out: ValueId,
    },
    MaxPool {
        config: PoolConfig,
        x: ValueId,
        out: ValueId,
    },
    AvgPool {
        config: AvgPoolConfig,
        x: ValueId,
        out: ValueId,
    },
    GlobalAvgPool {
        x: ValueId,
        out: ValueId,
    },
    Shortcut {
        x: ValueId,
        stride: (usize, usize),
        before: usize,
        out: ValueId,
    },
    /// Through candle's tensors.
    Fallback {
        node: usize,
        inputs: Vec<ValueId>,
        out: ValueId,
    },
}

impl engine::schedule::Step for Step {
    fn inputs(&self) -> Vec<ValueId> {
        match self {
            Step::Constant { .. } => Vec::new(),
            Step::Conv { x, .. }
            | Step::Linear { x, .. }
            | Step::Relu { x, .. }
            | Step::MaxPool { x, .. }
            | Step::AvgPool { x, .. }
            | Step::GlobalAvgPool { x, .. }
            | Step::Shortcut { x, .. } => vec![*x],
            Step::Norm { x, residual, .. } => std::iter::once(*x).chain(*residual).collect(),
            Step::Add { a, b, .. } => vec![*a, *b],
            Step::Fallback { inputs, .. } => inputs.clone(),
        }
    }

    fn out(&self) -> ValueId {
        match *self {
            Step::Constant { out, .. }
            | Step::Conv { out, .. }
            | Step::Linear { out, .. }
            | Step::Norm { out, .. }
            | Step::Relu { out, .. }
            | Step::Add { out, .. }
            | Step::MaxPool { out, .. }
            | Step::AvgPool { out, .. }
            | Step::GlobalAvgPool { out, .. }
            | Step::Shortcut { out, .. }
            | Step::Fallback { out, .. } => out,
        }
    }
}

/// What the engine executes.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where the parameters lie.
    pub device: Device,
    pub nodes: Vec<Node>,
    pub schedule: Schedule<Step>,
    /// The node whose shape each stored value has; value 0 is the graph's input.
    pub shapes: Vec<usize>,
}

impl Plan {
    /// `None` where a parameter is not f32 or not on `device`.
    pub(crate) fn new(graph: &Graph, device: &Device) -> Option<Self> {
        let nodes = graph.nodes()[..=graph.output().index()].to_vec();
        let fits = |p: &Tensor| p.dtype() == DType::F32 && p.device().same_device(device) && p.is_contiguous();
        for node in &nodes {
            let statistics = match &node.op {
                Op::Norm(NormParameters { running_mean, running_var, .. }) => vec![running_mean, running_var],
                _ => Vec::new(),
            };
            let parameters = node.op.parameters();
            if !parameters.into_iter().flatten().all(fits) || !statistics.into_iter().all(|var| fits(var.as_tensor())) {
                return None;
            }
        }
        let mut lowering = Lowering::new(&nodes);
        for i in 0..nodes.len() {
            lowering.lower(i);
        }
        let output = lowering.stored(graph.output().index());
        let Lowering { steps, shapes, .. } = lowering;
        Some(Self { device: device.clone(), nodes, schedule: Schedule::new(steps, output), shapes })
    }
}

/// What is known of a node's result.
#[derive(Debug, Clone, Copy)]
enum Lowered {
    Stored(ValueId),
    /// A norm whose only reader may take it up.
    Norm {
        node: usize,
        x: ValueId,
        residual: Option<ValueId>,
    },
    /// A sum whose only reader is a ReLU.
    Sum {
        a: ValueId,
        b: ValueId,
    },
    /// A subsampling whose only reader adds zero channels.
    Subsampled {
        x: ValueId,
        stride: (usize, usize),
    },
}

struct Lowering<'a> {
    nodes: &'a [Node],
    /// The node that reads each node's result, where it is one only; the graph's output counts as a reader.
    reader: Vec<Option<usize>>,
    lowered: Vec<Lowered>,
    steps: Vec<Step>,
    shapes: Vec<usize>,
}

impl<'a> Lowering<'a> {
    fn new(nodes: &'a [Node]) -> Self {
        let mut readers = vec![Vec::new(); nodes.len()];
        for (i, node) in nodes.iter().enumerate() {
            for input in &node.inputs {
                readers[input.index()].push(i);
            }
        }
        if let Some(last) = readers.last_mut() {
            last.push(usize::MAX);
        }
        let one = |readers: Vec<usize>| if readers.len() == 1 { Some(readers[0]) } else { None };
        let reader = readers.into_iter().map(one).collect();
        Self { nodes, reader, lowered: Vec::new(), steps: Vec::new(), shapes: Vec::new() }
    }

    fn value(&mut self, node: usize) -> ValueId {
        self.shapes.push(node);
        self.shapes.len() - 1
    }

    /// The stored value of a node's result; what has waited is done now.
    fn stored(&mut self, node: usize) -> ValueId {
        let lowered = self.lowered[node];
        let out = match lowered {
            Lowered::Stored(value) => return value,
            _ => self.value(node),
        };
        self.steps.push(match lowered {
            Lowered::Norm { node, x, residual } => Step::Norm { node, x, residual, relu: false, out },
            Lowered::Sum { a, b } => Step::Add { a, b, relu: false, out },
            Lowered::Subsampled { x, stride } => Step::Shortcut { x, stride, before: 0, out },
            Lowered::Stored(_) => return out,
        });
        self.lowered[node] = Lowered::Stored(out);
        out
    }

    fn step(&mut self, node: usize, step: impl FnOnce(ValueId) -> Step) -> Lowered {
        let out = self.value(node);
        self.steps.push(step(out));
        Lowered::Stored(out)
    }

    fn reader(&self, node: usize) -> Option<&'a Op> {
        self.reader[node].and_then(|reader| self.nodes.get(reader)).map(|node| &node.op)
    }

    fn lower(&mut self, i: usize) {
        let nodes = self.nodes;
        let inputs: Vec<usize> = nodes[i].inputs.iter().map(|value| value.index()).collect();
        let lowered = match (&nodes[i].op, inputs.as_slice()) {
            (Op::Input, []) => Lowered::Stored(self.value(i)),
            (Op::Constant(_), []) => self.step(i, |out| Step::Constant { node: i, out }),
            (Op::Conv { .. }, &[x]) => {
                let x = self.stored(x);
                self.step(i, |out| Step::Conv { node: i, x, out })
            }
            (Op::Linear { .. }, &[x]) => {
                let x = self.stored(x);
                self.step(i, |out| Step::Linear { node: i, x, out })
            }
            (Op::Norm(_), &[x]) => {
                let norm = Lowered::Norm { node: i, x: self.stored(x), residual: None };
                match self.reader(i) {
                    Some(Op::Relu | Op::Add) => norm,
                    _ => self.now(i, norm),
                }
            }
            (Op::Add, &[a, b]) => {
                let sum = self.add(a, b);
                match self.reader(i) {
                    Some(Op::Relu) => sum,
                    _ => self.now(i, sum),
                }
            }
            (Op::Relu, &[x]) => match self.lowered[x] {
                Lowered::Norm { node, x, residual } => {
                    self.step(i, |out| Step::Norm { node, x, residual, relu: true, out })
                }
                Lowered::Sum { a, b } => self.step(i, |out| Step::Add { a, b, relu: true, out }),
                _ => {
                    let x = self.stored(x);
                    self.step(i, |out| Step::Relu { x, out })
                }
            },
            (Op::MaxPool(config), &[x]) if config.kernel.0.saturating_mul(config.kernel.1) <= 255 => {
                let x = self.stored(x);
                self.step(i, |out| Step::MaxPool { config: *config, x, out })
            }
            (Op::AvgPool(config), &[x]) => {
                let x = self.stored(x);
                self.step(i, |out| Step::AvgPool { config: *config, x, out })
            }
            (Op::GlobalAvgPool, &[x]) => {
                let x = self.stored(x);
                self.step(i, |out| Step::GlobalAvgPool { x, out })
            }
            (Op::Subsample { stride }, &[x]) => {
                let subsampled = Lowered::Subsampled { x: self.stored(x), stride: *stride };
                match self.reader(i) {
                    Some(Op::PadChannels { .. }) => subsampled,
                    _ => self.now(i, subsampled),
                }
            }
            (Op::PadChannels { before, .. }, &[x]) => {
                let (x, stride) = match self.lowered[x] {
                    Lowered::Subsampled { x, stride } => (x, stride),
                    _ => (self.stored(x), (1, 1)),
                };
                self.step(i, |out| Step::Shortcut { x, stride, before: *before, out })
            }
            _ => {
                let inputs = inputs.into_iter().map(|x| self.stored(x)).collect();
                self.step(i, |out| Step::Fallback { node: i, inputs, out })
            }
        };
        self.lowered.push(lowered);
    }

    fn now(&mut self, i: usize, lowered: Lowered) -> Lowered {
        self.lowered.push(lowered);
        let value = self.stored(i);
        self.lowered.pop();
        Lowered::Stored(value)
    }

    /// One of the operands may be a norm that takes the other as its residual.
    fn add(&mut self, a: usize, b: usize) -> Lowered {
        for (norm, other) in [(a, b), (b, a)] {
            if let Lowered::Norm { node, x, residual: None } = self.lowered[norm] {
                return Lowered::Norm { node, x, residual: Some(self.stored(other)) };
            }
        }
        Lowered::Sum { a: self.stored(a), b: self.stored(b) }
    }
}
