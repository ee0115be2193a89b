//! Graphs made from others, on the same parameters.

use super::{Graph, GraphBuilder, Op};

impl Graph {
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
        (graph.backend, graph.compute, graph.noise) = (self.backend, self.compute, self.noise.clone());
        graph
    }

    /// A builder that goes on after the last operation.
    pub fn into_builder(self) -> GraphBuilder {
        GraphBuilder::going_on(self.nodes)
    }
}
