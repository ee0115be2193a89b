//! Graphs made from others, on the same parameters.

use candle_core::{Result, Tensor, Var};

use super::{Graph, GraphBuilder, Node, NodeId, NormParameters, Op};

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
        self.with_nodes(nodes, self.output)
    }

    /// The same graph in which nothing is dropped in training either: the mean over all draws, where what follows is linear.
    pub fn without_dropout(&self) -> Self {
        let mut nodes = self.nodes.clone();
        for node in &mut nodes {
            if let Op::Dropout { .. } = node.op {
                node.op = Op::Affine { scale: 1., shift: 0. };
            }
        }
        self.with_nodes(nodes, self.output)
    }

    /// The same graph on copies of its parameters and running statistics as they are now, for evaluation alone: no gradient
    /// flows to them, training is refused, and what an engine makes of them it makes once. On a CUDA device, only the first
    /// pass lays weights out and turns norms into scales and shifts.
    ///
    /// # Errors
    /// If the device has no memory for the copies.
    pub fn frozen(&self) -> Result<Self> {
        let copy = |parameter: &Tensor| parameter.detach().force_contiguous();
        let mut nodes = self.nodes.clone();
        for node in &mut nodes {
            let [weight, bias] = node.op.parameters().map(|parameter| parameter.map(copy).transpose());
            node.op = node.op.with_parameters([weight?, bias?]);
            if let Op::Norm(NormParameters { running_mean, running_var, .. }) = &mut node.op {
                for statistic in [running_mean, running_var] {
                    // A variable made of a tensor that is none holds a copy.
                    *statistic = Var::from_tensor(&statistic.as_detached_tensor())?;
                }
            }
        }
        let mut graph = self.with_nodes(nodes, self.output);
        graph.frozen = true;
        Ok(graph)
    }

    /// A graph of these operations that is run as this one is.
    pub(super) fn with_nodes(&self, nodes: Vec<Node>, output: NodeId) -> Self {
        let mut graph = Self::from_nodes(nodes, output);
        (graph.backend, graph.compute, graph.dropout_rng) = (self.backend, self.compute, self.dropout_rng.clone());
        graph.frozen = self.frozen;
        graph
    }

    /// A builder that goes on after the last operation.
    pub fn into_builder(self) -> GraphBuilder {
        GraphBuilder::going_on(self.nodes)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Result, Tensor, Var};

    use super::*;
    use crate::{Backend, ConvConfig, NormConfig};

    #[test]
    fn a_frozen_graph_evaluates_what_was_there_when_it_was_made() -> Result<()> {
        let ones = |dims: &[usize]| Var::ones(dims, DType::F32, &Device::Cpu);
        let vars =
            [ones(&[4, 3, 3, 3])?, ones(&[4])?, ones(&[4])?, ones(&[4])?, ones(&[4])?, ones(&[4])?, ones(&[1, 1, 3])?];
        let [weight, bias, scale, shift, mean, deviation, gate] = &vars;
        let mut g = Graph::builder();
        let y = g.conv("conv", g.input(), weight, Some(bias), ConvConfig::square(1, 1));
        let parameters = NormParameters {
            weight: Some(scale.as_tensor().clone()),
            bias: Some(shift.as_tensor().clone()),
            running_mean: mean.clone(),
            running_var: deviation.clone(),
            config: NormConfig::default(),
        };
        let y = g.norm("bn", y, &parameters);
        let y = g.global_avg_pool("pool", y);
        let y = g.channel_conv("gate", y, gate);
        let x = Tensor::ones((2, 3, 5, 4), DType::F32, &Device::Cpu)?;
        for backend in [Backend::Auto, Backend::Reference] {
            let graph = g.clone().finish(y).with_backend(backend);
            let values = |graph: &Graph| graph.forward_t(&x, false)?.flatten_all()?.to_vec1::<f32>();
            let before = values(&graph)?;
            let frozen = graph.frozen()?;
            let part = frozen.subgraph_to(y);
            for var in &vars {
                var.set(&(var.as_tensor() * 2.)?)?;
            }
            assert_ne!(values(&graph)?, before);
            for graph in [&frozen, &part] {
                assert_eq!(values(graph)?, before);
                assert!(!graph.forward_t(&x, false)?.track_op());
                assert!(graph.forward_t(&x, true).is_err());
            }
        }
        Ok(())
    }
}
