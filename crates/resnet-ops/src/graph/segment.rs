//! Parts of a graph as graphs of their own, on the same parameters.

use candle_core::{Result, bail};

use super::{Graph, GraphBuilder, Node, Op, Value};

impl Graph {
    /// The part that computes `to` from `from`: its input is the value `from`, its output `to`.
    ///
    /// Between two blocks of a residual network one value alone passes, so that a chain of such parts computes what
    /// the whole does: for gradients in the middle of a network, and for activations that are computed again in the
    /// backward pass instead of kept.
    ///
    /// # Errors
    /// If `to` does not come after `from`, or the part reads another value from before it.
    pub fn segment(&self, from: Value, to: Value) -> Result<Self> {
        if from >= to || to.0 >= self.nodes.len() {
            bail!("graph: no part leads from value {} to value {}", from.0, to.0);
        }
        let mut nodes = vec![Node { name: String::new(), op: Op::Input, inputs: Vec::new() }];
        for (i, node) in self.nodes[..=to.0].iter().enumerate().skip(from.0 + 1) {
            let Some(inputs) = node.inputs.iter().map(|v| v.0.checked_sub(from.0).map(Value)).collect() else {
                bail!("graph: node {i} ({}) reads a value from before value {}", node.name, from.0)
            };
            nodes.push(Node { inputs, ..node.clone() });
        }
        let mut segment = Self::from_nodes(nodes, Value(to.0 - from.0));
        (segment.backend, segment.compute) = (self.backend, self.compute);
        Ok(segment)
    }

    /// The same graph whose batch norms leave their running statistics alone in training: for passes that are made to
    /// look at a network, or made a second time.
    pub fn with_frozen_statistics(&self) -> Self {
        self.with_momentum(0.)
    }

    /// The same graph with another weight of the new batch in all running statistics; see
    /// [`NormConfig`](crate::NormConfig).
    pub fn with_momentum(&self, momentum: f64) -> Self {
        let mut nodes = self.nodes.clone();
        for node in &mut nodes {
            if let Op::Norm(parameters) = &mut node.op {
                parameters.config.momentum = momentum;
            }
        }
        let mut graph = Self::from_nodes(nodes, self.output);
        (graph.backend, graph.compute) = (self.backend, self.compute);
        graph
    }

    /// A builder that goes on after the last operation.
    pub fn into_builder(self) -> GraphBuilder {
        GraphBuilder::going_on(self.nodes)
    }
}
