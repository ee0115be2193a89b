//! What a layer is: something that appends itself to a graph, under the name that it was built with.

use candle_core::{Error, Result, Tensor};
use candle_nn::VarBuilder;
use resnet_ops::{Graph, GraphBuilder, NodeId};

/// A layer or a block: it appends its operations to a network's graph, named as the [`VarBuilder`] named its parameters.
///
/// Every layer is a [`candle_nn::ModuleT`] too, usable without a graph; several appended to one graph run as one fused
/// operation on the CPU.
pub trait Layer {
    /// Appends the operations on `x`, and returns their result.
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId;
}

/// Nothing, where there is no such layer.
impl<L: Layer> Layer for Option<L> {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        self.as_ref().map_or(x, |layer| layer.append(graph, x))
    }
}

/// One layer as a graph of its own.
pub(crate) fn alone(layer: &impl Layer) -> Graph {
    let mut graph = Graph::builder();
    let input = graph.input();
    let output = layer.append(&mut graph, input);
    graph.finish(output)
}

/// What a layer does to a tensor.
pub(crate) fn forward(layer: &impl Layer, x: &Tensor, train: bool) -> Result<Tensor> {
    candle_nn::ModuleT::forward_t(&alone(layer), x, train)
}

/// Makes layers modules of candle.
macro_rules! modules {
    ($($layer:ty),*) => {$(
        impl candle_nn::ModuleT for $layer {
            fn forward_t(&self, x: &candle_core::Tensor, train: bool) -> candle_core::Result<candle_core::Tensor> {
                $crate::layer::forward(self, x, train)
            }
        }
    )*};
}
pub(crate) use modules;

/// The error of a layer whose parameters stand under the builder's path.
pub(crate) fn at(vb: &VarBuilder, layer: &str, error: Error) -> Error {
    let error = match error {
        Error::WithBacktrace { inner, .. } => *inner,
        error => error,
    };
    let path = vb.prefix();
    Error::Msg(if path.is_empty() { format!("{layer}: {error}") } else { format!("{path}: {error}") })
}

/// The name of something within a layer.
pub(crate) fn within(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}
