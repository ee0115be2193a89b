//! Which shape every value has, and whether a graph can run on an input at all.
//!
//! All sizes are computed here, with checked arithmetic, before anything is allocated. Whatever runs a graph asks
//! [`Graph::fit`] first, so that all engines take the same inputs and give results of the same shapes.

use candle_core::{DType, Device, Result, Tensor};

use super::{Backend, Graph, Node, NodeId, Op};
use crate::config::{MOST, in_range};
use crate::error::named;
use crate::memory;

/// Channels, rows and columns of a value, without the batch; vectors (N, C) have one row and one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MapShape {
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl MapShape {
    /// Values an image: channels × rows × columns; `usize::MAX` where that is too small for it.
    pub fn count(&self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }

    /// # Errors
    /// If a direction is empty, or has more than can be counted.
    pub(super) fn check(&self, op: &str) -> Result<()> {
        in_range(op, "channels", self.channels, (1, MOST))?;
        in_range(op, "rows", self.height, (1, MOST))?;
        in_range(op, "columns", self.width, (1, MOST))
    }

    /// Bytes of a batch; no direction has 2³¹ of anything.
    fn bytes(&self, n: usize, dtype: DType) -> u128 {
        let sizes = [n, self.channels, self.height, self.width, dtype.size_in_bytes()];
        sizes.into_iter().map(|size| size as u128).product()
    }
}

/// A graph and an input that fit together.
#[derive(Debug)]
pub(crate) struct Fit {
    /// Of every value up to the output.
    pub shapes: Vec<MapShape>,
    /// Whether the result is (N, C), not (N, C, H, W).
    pub vector: bool,
}

impl Graph {
    /// The shape of every value for an input of the given one.
    ///
    /// # Errors
    /// If an operation has impossible parameters or does not fit its inputs; the message names it.
    pub fn shapes(&self, input: MapShape) -> Result<Vec<MapShape>> {
        self.check_parameters(&self.nodes)?;
        shapes(&self.nodes, input)
    }

    /// What is known before anything runs.
    ///
    /// # Errors
    /// If the input's dtype, device or shape does not fit the graph, or a result would not fit into memory; the message
    /// names the operation, the parameter and its value.
    pub(crate) fn fit(&self, x: &Tensor, train: bool) -> Result<Fit> {
        let nodes = self.needed()?;
        self.check_parameters(nodes)?;
        check_float("graph", "the input", x)?;
        let (n, input) = match *x.dims() {
            [n, channels, height, width] => (n, MapShape { channels, height, width }),
            [n, channels] => (n, MapShape { channels, height: 1, width: 1 }),
            ref dims => bail!("graph: an input {dims:?}; (N, C, H, W) is needed, or (N, C)"),
        };
        in_range("graph: an input", "images", n, (1, MOST))?;
        let shapes = shapes(nodes, input)?;
        let dtype = if self.backend == Backend::Auto && x.dtype() == DType::F32 { self.compute } else { x.dtype() };
        for (i, node) in nodes.iter().enumerate() {
            let check = || {
                for parameter in node.op.tensors() {
                    check_device(&node.op, parameter, x.device())?;
                }
                check_batch(&node.op, n, shapes[i], train)?;
                check_memory(node, n, &shapes, i, dtype, x.device())
            };
            check().map_err(|error| named(&node.name, error))?;
        }
        Ok(Fit { shapes, vector: is_vector(nodes, x.rank() == 2) })
    }

    /// The operations up to the output.
    ///
    /// # Errors
    /// If one reads what comes after it, as a value of another graph may do, or there is no such output.
    pub(crate) fn needed(&self) -> Result<&[Node]> {
        let Some(nodes) = self.nodes.get(..=self.output.0) else {
            bail!("graph: there is no node {}: the output is a value of another graph", self.output.0)
        };
        for (i, node) in nodes.iter().enumerate() {
            if let Some(NodeId(input)) = node.inputs.iter().find(|input| input.0 >= i) {
                let name = if node.name.is_empty() { node.op.name() } else { &node.name };
                bail!("graph: node {i} ({name}) reads node {input}, which is not there yet");
            }
        }
        Ok(nodes)
    }

    /// # Errors
    /// If a parameter of an operation is impossible, whatever the input.
    pub(crate) fn check_parameters(&self, nodes: &[Node]) -> Result<()> {
        nodes.iter().try_for_each(|node| node.op.check().map_err(|error| named(&node.name, error)))
    }
}

/// The shapes of all values of these operations, whose parameters are possible.
///
/// # Errors
/// If an operation does not fit its inputs; the message names it.
pub(crate) fn shapes(nodes: &[Node], input: MapShape) -> Result<Vec<MapShape>> {
    let mut shapes: Vec<MapShape> = Vec::with_capacity(nodes.len());
    for (i, node) in nodes.iter().enumerate() {
        let shape = |value: &NodeId| shapes.get(value.0).copied();
        let shape = match node.inputs.as_slice() {
            [] => infer(&node.op, &[], input),
            [a] => shape(a).map_or_else(|| not_there(i), |a| infer(&node.op, &[a], input)),
            [a, b] => match (shape(a), shape(b)) {
                (Some(a), Some(b)) => infer(&node.op, &[a, b], input),
                _ => not_there(i),
            },
            more => no_operands(&node.op, more.len()),
        };
        shapes.push(shape.map_err(|error| named(&node.name, error))?);
    }
    Ok(shapes)
}

fn not_there<T>(i: usize) -> Result<T> {
    bail!("graph: node {i} reads a value that is not there yet")
}

fn no_operands<T>(op: &Op, count: usize) -> Result<T> {
    bail!("{}: {count} inputs", op.name())
}

/// The shape that an operation gives, its parameters being possible.
pub(crate) fn infer(op: &Op, inputs: &[MapShape], input: MapShape) -> Result<MapShape> {
    let name = op.name();
    let channels = |of: &str, wanted: usize, x: MapShape| -> Result<MapShape> {
        if wanted != x.channels {
            bail!("{name}: a {of} of {wanted} channels does not fit an input of {} channels", x.channels);
        }
        Ok(x)
    };
    let divided = |groups: usize, x: MapShape| -> Result<MapShape> {
        if !x.channels.is_multiple_of(groups) {
            bail!("{name}: groups = {groups} do not divide {} channels", x.channels);
        }
        Ok(x)
    };
    let shape = match (op, inputs) {
        (Op::Input, []) => input,
        (Op::Constant(map), []) => {
            let (_, channels, height, width) = map.dims4()?;
            MapShape { channels, height, width }
        }
        (Op::Conv { weight, config, .. }, &[x]) => {
            let (o, cg, kh, kw) = weight.dims4()?;
            if cg * config.groups != x.channels {
                bail!(
                    "{name}: a weight {:?} with groups = {} takes {} channels; the input has {}",
                    weight.dims(),
                    config.groups,
                    cg * config.groups,
                    x.channels
                );
            }
            let (height, width) = config.output_size((x.height, x.width), (kh, kw))?;
            MapShape { channels: o, height, width }
        }
        (Op::Norm(p), &[x]) => channels("norm", p.running_mean.elem_count(), x)?,
        (Op::Relu | Op::Affine { .. } | Op::Sigmoid | Op::Dropout { .. }, &[x]) => x,
        (Op::Add, &[a, b]) => {
            if a != b {
                bail!("{name}: {a:?} and {b:?} differ");
            }
            a
        }
        (Op::MaxPool(config), &[x]) => {
            let (height, width) = config.output_size((x.height, x.width))?;
            MapShape { height, width, ..x }
        }
        (Op::GlobalAvgPool, &[x]) => MapShape { height: 1, width: 1, ..x },
        (Op::Linear { weight, .. }, &[x]) => {
            let (o, i) = weight.dims2()?;
            if (x.channels, x.height, x.width) != (i, 1, 1) {
                bail!("{name}: a weight {:?} does not fit {x:?}", weight.dims());
            }
            MapShape { channels: o, height: 1, width: 1 }
        }
        (Op::Subsample { stride }, &[x]) => {
            MapShape { height: x.height.div_ceil(stride.0), width: x.width.div_ceil(stride.1), ..x }
        }
        (Op::PadChannels { before, after }, &[x]) => {
            MapShape { channels: x.channels.saturating_add(*before).saturating_add(*after), ..x }
        }
        (Op::Mul, &[a, b]) => {
            let fits = (b.channels == a.channels || b.channels == 1) && (b.height, b.width) == (a.height, a.width);
            if !fits && (b.channels, b.height, b.width) != (a.channels, 1, 1) {
                bail!("{name}: a gate {b:?} does not fit {a:?}");
            }
            a
        }
        (Op::AvgPool(config), &[x]) => {
            let (height, width) = config.output_size((x.height, x.width))?;
            MapShape { height, width, ..x }
        }
        (Op::GroupNorm { weight, groups, .. }, &[x]) => divided(*groups, channels("norm", weight.elem_count(), x)?)?,
        (Op::BlurPool { stride }, &[x]) => {
            if x.height < 2 || x.width < 2 {
                bail!("{name}: {} rows and {} columns; it takes two of each at least", x.height, x.width);
            }
            MapShape { height: x.height.div_ceil(*stride), width: x.width.div_ceil(*stride), ..x }
        }
        (Op::ChannelConv { weight }, &[x]) => {
            if (x.height, x.width) != (1, 1) {
                bail!("{name}: a kernel {:?} takes one row and column, not {x:?}", weight.dims());
            }
            x
        }
        (Op::ZeroPad { padding }, &[x]) => {
            let around = |size: usize, padding: usize| size.saturating_add(padding.saturating_mul(2));
            MapShape { height: around(x.height, padding.0), width: around(x.width, padding.1), ..x }
        }
        (Op::DivideBySpread { groups, .. }, &[x]) => divided(*groups, x)?,
        (Op::ChannelAffine { weight, .. }, &[x]) => channels("weight", weight.elem_count(), x)?,
        (Op::ChannelFloor { threshold }, &[x]) => channels("threshold", threshold.elem_count(), x)?,
        (op, inputs) => return no_operands(op, inputs.len()),
    };
    shape.check(name)?;
    Ok(shape)
}

/// Refuses what depends on the batch.
fn check_batch(op: &Op, n: usize, shape: MapShape, train: bool) -> Result<()> {
    match op {
        Op::Norm(_) if train && (n, shape.height, shape.width) == (1, 1, 1) => {
            let dims = [n, shape.channels, 1, 1];
            bail!("{}: training needs more than one value a channel, got an input {dims:?}", op.name())
        }
        Op::Constant(map) if map.dims().first() != Some(&n) => {
            bail!("{}: a map {:?} does not fit a batch of {n}", op.name(), map.dims())
        }
        _ => Ok(()),
    }
}

/// Refuses a result that does not fit into memory with what it is made of.
fn check_memory(node: &Node, n: usize, shapes: &[MapShape], i: usize, dtype: DType, device: &Device) -> Result<()> {
    let inputs = node.inputs.iter().map(|input| shapes[input.0]);
    // What keeps its shape may be computed where it lies.
    let other = inputs.filter(|input| *input != shapes[i]).map(|input| input.bytes(n, dtype)).sum::<u128>();
    let MapShape { channels, height, width } = shapes[i];
    let (name, dims) = (node.op.name(), [n, channels, height, width]);
    memory::check(format_args!("{name}: a result {dims:?}"), shapes[i].bytes(n, dtype) + other, device)
}

/// Refuses a tensor whose values are no floating-point numbers.
pub(crate) fn check_float(op: &str, what: &str, tensor: &Tensor) -> Result<()> {
    match tensor.dtype() {
        DType::F32 | DType::F64 | DType::BF16 | DType::F16 => Ok(()),
        other => bail!("{op}: {what} is {other:?}; f32, f64, bf16 or f16 is needed"),
    }
}

fn check_device(op: &Op, parameter: &Tensor, device: &Device) -> Result<()> {
    if !parameter.device().same_device(device) {
        let (at, wanted) = (parameter.device().location(), device.location());
        bail!("{}: a parameter {:?} is on {at:?}, the input on {wanted:?}", op.name(), parameter.dims());
    }
    Ok(())
}

impl Op {
    /// Whether it gives a vector (N, C), where that of its inputs is known: what takes each value or channel for itself
    /// leaves a vector one; windows and constant maps are (N, C, H, W).
    pub(crate) fn gives_vector(&self, inputs: impl IntoIterator<Item = bool>) -> bool {
        match self {
            Op::GlobalAvgPool | Op::Linear { .. } => true,
            Op::Constant(_)
            | Op::Conv { .. }
            | Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::BlurPool { .. }
            | Op::Subsample { .. }
            | Op::ZeroPad { .. } => false,
            _ => inputs.into_iter().all(|vector| vector),
        }
    }
}

/// Whether the last of these operations gives a vector, with or without one as the input.
pub(crate) fn is_vector(nodes: &[Node], input: bool) -> bool {
    let mut vectors: Vec<bool> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let vector = match node.op {
            Op::Input => input,
            ref op => op.gives_vector(node.inputs.iter().map(|input| vectors[input.0])),
        };
        vectors.push(vector);
    }
    vectors.last().copied().unwrap_or(input)
}
