//! What all engines share: how a graph's steps live and die, how its gradients reach candle's autograd and the optimizer, and
//! the way through candle where an engine lacks an operation.

pub(crate) mod autograd;
pub(crate) mod fallback;
pub(crate) mod grad_sink;
pub(crate) mod schedule;

use candle_core::{Result, Shape, Tensor};

use crate::graph::{MapShape, Node};

/// A parameter's place: its node, and 0 for the weight or 1 for the bias.
pub(crate) type ParameterId = (usize, usize);

/// All parameters of these operations with their places.
pub(crate) fn parameters(nodes: &[Node]) -> impl Iterator<Item = (ParameterId, &Tensor)> {
    nodes.iter().enumerate().flat_map(|(i, node)| {
        let parameters = node.op.parameters().into_iter().enumerate();
        parameters.filter_map(move |(place, parameter)| parameter.map(|parameter| ((i, place), parameter)))
    })
}

/// Images and shape of a graph's input; vectors (N, C) have one row and one column.
pub(crate) fn input_shape(dims: &[usize]) -> Result<(usize, MapShape)> {
    match *dims {
        [n, channels, height, width] if n > 0 => Ok((n, MapShape { channels, height, width })),
        [n, channels] if n > 0 => Ok((n, MapShape { channels, height: 1, width: 1 })),
        ref dims => bail!("a network takes a batch (N, C, H, W), got {dims:?}"),
    }
}

/// The dimensions of a graph's result: (N, C, H, W) or, a `vector`, (N, C).
pub(crate) fn output_shape(n: usize, shape: MapShape, vector: bool) -> Shape {
    match vector {
        true => Shape::from((n, shape.channels)),
        false => Shape::from((n, shape.channels, shape.height, shape.width)),
    }
}
