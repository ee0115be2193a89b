//! The residual block: a branch of convolutions, a shortcut, and their sum.

use candle_core::{Result, Tensor};
use candle_nn::{ModuleT, VarBuilder};
use resnet_ops::{Graph, GraphBuilder, Value};

use crate::layers::join;
use crate::{BlockConfig, Branch, Conv2d, Layer, Norm2d, Order, Shortcut, StrideIn};

/// A residual block, `shortcut(x) + branch(x)`, with norms and activations in the configured order.
///
/// Takes (N, inputs, H, W), returns (N, outputs, ⌈H / stride⌉, ⌈W / stride⌉).
#[derive(Debug, Clone)]
pub struct ResidualBlock {
    /// `conv1`, `bn1`; `conv2`, `bn2`; …
    stages: Vec<(Conv2d, Norm2d)>,
    shortcut: Shortcut,
    order: Order,
    shared_activation: bool,
    graph: Graph,
}

impl ResidualBlock {
    /// The block of that configuration, with its parameters from `vb`.
    ///
    /// # Errors
    /// If the configuration is impossible or the builder lacks a parameter.
    pub fn new(config: &BlockConfig, vb: VarBuilder) -> Result<Self> {
        let layout = convolutions(config);
        let mut stages = Vec::with_capacity(layout.len());
        for (i, &(inputs, outputs, kernel, stride)) in layout.iter().enumerate() {
            let conv = Conv2d::new(inputs, outputs, kernel, stride, vb.pp(format!("conv{}", i + 1)))?;
            let (channels, zero) = match config.order {
                Order::Original => (outputs, config.zero_init_last && i + 1 == layout.len()),
                Order::PreActivation => (inputs, false),
            };
            let scale = if zero { 0. } else { 1. };
            stages.push((conv, Norm2d::with_scale(channels, scale, vb.pp(format!("bn{}", i + 1)))?));
        }
        let shortcut = Shortcut::new(config, vb)?;
        let shared_activation = config.shared_activation || shortcut.is_projection();
        let mut block = Self { stages, shortcut, order: config.order, shared_activation, graph: empty_graph() };
        let mut graph = Graph::builder();
        let output = block.append(&mut graph, "", Value::default());
        block.graph = graph.finish(output);
        Ok(block)
    }

    fn original(&self, graph: &mut GraphBuilder, path: &str, x: Value) -> Value {
        let mut y = x;
        for (i, (conv, norm)) in self.stages.iter().enumerate() {
            if i > 0 {
                y = graph.relu(y);
            }
            y = conv.append(graph, &join(path, &format!("conv{}", i + 1)), y);
            y = norm.append(graph, &join(path, &format!("bn{}", i + 1)), y);
        }
        if let Some(shortcut) = self.shortcut.append(graph, path, x) {
            y = graph.add(y, shortcut);
        }
        graph.relu(y)
    }

    fn pre_activation(&self, graph: &mut GraphBuilder, path: &str, x: Value) -> Value {
        let (mut y, mut around) = (x, x);
        for (i, (conv, norm)) in self.stages.iter().enumerate() {
            y = norm.append(graph, &join(path, &format!("bn{}", i + 1)), y);
            y = graph.relu(y);
            if i == 0 && self.shared_activation {
                around = y;
            }
            y = conv.append(graph, &join(path, &format!("conv{}", i + 1)), y);
        }
        match self.shortcut.append(graph, path, around) {
            Some(shortcut) => graph.add(y, shortcut),
            None => y,
        }
    }
}

/// (inputs, outputs, kernel, stride) of each convolution of the branch.
fn convolutions(config: &BlockConfig) -> Vec<(usize, usize, usize, usize)> {
    let &BlockConfig { inputs, outputs, stride, .. } = config;
    match config.branch {
        Branch::Basic => vec![(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)],
        Branch::Bottleneck(stride_in) => {
            let inner = outputs / config.branch.expansion();
            let (first, middle) = match stride_in {
                StrideIn::First => (stride, 1),
                StrideIn::Middle => (1, stride),
            };
            vec![(inputs, inner, 1, first), (inner, inner, 3, middle), (inner, outputs, 1, 1)]
        }
    }
}

fn empty_graph() -> Graph {
    Graph::builder().finish(Value::default())
}

impl Layer for ResidualBlock {
    fn append(&self, graph: &mut GraphBuilder, path: &str, x: Value) -> Value {
        match self.order {
            Order::Original => self.original(graph, path, x),
            Order::PreActivation => self.pre_activation(graph, path, x),
        }
    }
}

impl ModuleT for ResidualBlock {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.graph.forward_t(x, train)
    }
}
