//! A graph in segments whose stored values are dropped after the forward pass and computed again in the backward pass, so
//! that memory holds one segment and the values between segments (Chen et al. 2016, "Training deep nets with sublinear memory
//! cost").

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Result, Shape, Storage, Tensor};

use super::autograd::{output, to_map, to_tensors};
use super::backward::Backward;
use super::forward::{Forward, Tape};
use super::plan::Plan;
use crate::Graph;
use crate::cpu::buffer::Buffer;
use crate::cpu::element::{Bf16, Element};
use crate::cpu::isa::Isa;
use crate::cpu::layout::{channels_first, channels_last, with_values};
use crate::engine::{self, ParameterId, autograd};
use crate::graph::{Fit, MapShape, NodeId, Pass};

/// One segment.
struct Segment {
    plan: Plan,
    /// The same without updates of running statistics, for the second time.
    again: Plan,
    /// Position in the whole graph of the segment's input.
    offset: usize,
}

/// A graph cut at some values.
pub(crate) struct Segments(Vec<Segment>);

impl Segments {
    /// `None` where the engine lacks an operation of the graph, or a cut is not passed by one value alone.
    pub(crate) fn new(graph: &Graph, cuts: &[NodeId]) -> Option<Self> {
        let begins = std::iter::once(graph.input()).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([graph.output()]);
        let segment = |(from, to): (NodeId, NodeId)| {
            let segment = graph.subgraph(from, to).ok()?;
            let again = Plan::new(&segment.with_frozen_statistics())?;
            Some(Segment { plan: Plan::new(&segment)?, again, offset: from.index() })
        };
        begins.zip(ends).map(segment).collect::<Option<Vec<_>>>().map(Self)
    }

    fn parameters(&self) -> impl Iterator<Item = (ParameterId, &Tensor)> {
        self.0.iter().flat_map(|segment| {
            let whole = |((node, which), tensor)| ((node + segment.offset, which), tensor);
            engine::parameters(&segment.plan.nodes).map(whole)
        })
    }
}

/// Runs the segments in training on `x` (N, C, H, W), f32 on the CPU.
pub(crate) fn run(segments: &Arc<Segments>, x: &Tensor, fit: &Fit, pass: Pass, compute: DType) -> Result<Tensor> {
    match compute {
        DType::F32 => run_as::<f32>(segments, x, fit.vector, pass),
        DType::BF16 => run_as::<Bf16>(segments, x, fit.vector, pass),
        other => bail!("the CPU engine computes in f32 or bf16, not in {other:?}"),
    }
}

fn run_as<E: Element>(segments: &Arc<Segments>, x: &Tensor, vector: bool, pass: Pass) -> Result<Tensor> {
    autograd::run(x, segments.parameters(), |_| {
        let mut network =
            Recomputed::<E> { segments: segments.clone(), pass, isa: Isa::current(), kept: Mutex::new(None) };
        let (storage, shape) = network.start(x, vector)?;
        Ok(autograd::Forward { storage, shape, backward: network })
    })
}

/// The input of a segment.
struct Boundary<E> {
    value: Arc<Buffer<E>>,
    shape: MapShape,
}

/// What is kept of a forward pass: the inputs of all segments, and all of the last segment, which comes first in the backward
/// pass.
struct Kept<E> {
    n: usize,
    boundaries: Vec<Boundary<E>>,
    last: Tape<E>,
}

struct Recomputed<E> {
    segments: Arc<Segments>,
    pass: Pass,
    isa: Isa,
    kept: Mutex<Option<Kept<E>>>,
}

impl<E: Element> Recomputed<E> {
    fn forward(&self, plan: &Plan, boundary: &Boundary<E>, n: usize, offset: usize, keep: bool) -> Result<Tape<E>> {
        // Dropout is drawn by a node's position in the whole graph, so that segments are not alike.
        let pass = Pass { draw: self.pass.draw.shifted(offset), ..self.pass };
        Forward::run(plan, self.isa, boundary.value.clone(), n, boundary.shape, (pass, keep))
    }

    /// The forward pass through all segments.
    fn start(&mut self, x: &Tensor, vector: bool) -> Result<(Storage, Shape)> {
        let (n, shape, value) = to_map(x)?;
        let mut boundaries = vec![Boundary { value: Arc::new(value), shape }];
        for (i, segment) in self.segments.0.iter().enumerate() {
            let is_last = i + 1 == self.segments.0.len();
            let tape = self.forward(&segment.plan, &boundaries[i], n, segment.offset, is_last)?;
            let shape = tape.output_shape(&segment.plan);
            if is_last {
                let result = (output(&segment.plan, &tape)?, engine::output_shape(n, shape, vector));
                self.kept = Mutex::new(Some(Kept { n, boundaries, last: tape }));
                return Ok(result);
            }
            boundaries.push(Boundary { value: tape.value(segment.plan.schedule.output)?.clone(), shape });
        }
        bail!("a graph without segments")
    }
}

impl<E: Element> autograd::Backward for Recomputed<E> {
    fn backward(&self, x: &Tensor, g: &Tensor) -> Result<autograd::Gradients> {
        let Some(kept) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            bail!("a backward pass through a recomputed network frees its values: it cannot be run twice")
        };
        let Kept { n, mut boundaries, last } = kept;
        let mut last = Some(last);
        let mut dy: Option<Arc<Buffer<E>>> = None;
        let mut parameters = HashMap::new();
        let mut input = MapShape { channels: 0, height: 0, width: 0 };
        for (i, segment) in self.segments.0.iter().enumerate().rev() {
            let Some(boundary) = boundaries.pop() else { bail!("a segment of the network has no input") };
            input = boundary.shape;
            let tape = match last.take() {
                Some(tape) => tape,
                None => self.forward(&segment.again, &boundary, n, segment.offset, true)?,
            };
            let at_output = match dy.take() {
                Some(dy) => dy,
                None => {
                    let shape = tape.output_shape(&segment.plan);
                    Arc::new(with_values(&g.contiguous()?, |g| channels_last::<E>(g, n, shape))?)
                }
            };
            let gradients = Backward::run(&segment.plan, self.isa, &tape, at_output, i > 0 || x.track_op())?;
            for gradient in to_tensors(gradients.parameters, segment.offset) {
                let (id, gradient) = gradient?;
                parameters.insert(id, gradient);
            }
            dy = gradients.input;
            if i > 0 && dy.is_none() {
                bail!("no gradient passes the boundary of a segment");
            }
        }
        let dx = dy.filter(|_| x.track_op());
        let input = dx.map(|dx| Tensor::from_vec(channels_first(&dx, n, input), x.shape(), x.device())).transpose()?;
        Ok(autograd::Gradients { parameters, input })
    }
}
