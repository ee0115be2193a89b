//! The network: stem, stages of residual blocks, head.

use candle_core::{DType, Result, Tensor};
use candle_nn::{ModuleT, VarBuilder};
use resnet_blocks::{BlockConfig, Conv2d, Layer, Linear, Norm2d, Order, ResidualBlock};
use resnet_ops::{Backend, ConvConfig, Graph, GraphBuilder, PoolConfig, Value};

use crate::{Config, Stem};

/// A residual (or plain) network: images (N, 3, H, W) to logits (N, classes).
///
/// Parameters are named as torchvision names them: `conv1`, `bn1`, `layer1.0.conv1`, …, `fc`. In pre-activation
/// networks `bn1` is the norm after the last block (He et al. 2016, appendix).
#[derive(Debug, Clone)]
pub struct Network {
    config: Config,
    graph: Graph,
    stem: Value,
    blocks: Vec<(String, Value)>,
}

impl Network {
    /// The network of that configuration, with its parameters from `vb`.
    ///
    /// # Errors
    /// If the builder lacks a parameter.
    pub fn new(config: &Config, vb: VarBuilder) -> Result<Self> {
        let mut graph = Graph::builder();
        let stem = stem(config, &mut graph, &vb)?;
        let blocks = stages(config, &mut graph, stem, &vb)?;
        let features = blocks.last().map_or(stem, |(_, output)| *output);
        let logits = head(config, &mut graph, features, &vb)?;
        Ok(Self { config: config.clone(), graph: graph.finish(logits), stem, blocks })
    }

    /// What the network is made of.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The network as a list of operations.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The value that enters the first block.
    pub fn stem(&self) -> Value {
        self.stem
    }

    /// Path (`layer1.0`) and output of every block, in the order of execution. With [`Network::stem`] these are the
    /// places where one value alone passes, so that the network can be cut there ([`Graph::segment`]).
    pub fn blocks(&self) -> &[(String, Value)] {
        &self.blocks
    }

    /// The same network, run by another interpreter.
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.graph = self.graph.with_backend(backend);
        self
    }

    /// The same network with activations in `dtype` (f32 or bf16); parameters and statistics stay as they are.
    pub fn with_compute_dtype(mut self, dtype: DType) -> Self {
        self.graph = self.graph.with_compute_dtype(dtype);
        self
    }
}

fn stem(config: &Config, graph: &mut GraphBuilder, vb: &VarBuilder) -> Result<Value> {
    let (kernel, stride) = match config.stem {
        Stem::Cifar => (3, 1),
        Stem::ImageNet => (7, 2),
    };
    let conv_config = ConvConfig::square(stride, kernel / 2);
    let conv = Conv2d::with_config(3, config.stem_channels, (kernel, kernel), conv_config, vb.pp("conv1"))?;
    let mut x = conv.append(graph, "conv1", Value::default());
    if config.order == Order::Original {
        x = Norm2d::new(config.stem_channels, vb.pp("bn1"))?.append(graph, "bn1", x);
        x = graph.relu(x);
    }
    Ok(match config.stem {
        Stem::Cifar => x,
        Stem::ImageNet => graph.max_pool("maxpool", x, PoolConfig::square(3, 2, 1)),
    })
}

fn stages(config: &Config, graph: &mut GraphBuilder, mut x: Value, vb: &VarBuilder) -> Result<Vec<(String, Value)>> {
    let mut outputs_of = Vec::new();
    let mut inputs = config.stem_channels;
    for (stage, (&blocks, &width)) in config.blocks.iter().zip(&config.widths).enumerate() {
        for block in 0..blocks {
            let outputs = width * config.branch.expansion();
            let first = (stage, block) == (0, 0);
            let block_config = BlockConfig {
                inputs,
                outputs,
                stride: if stage > 0 && block == 0 { 2 } else { 1 },
                branch: config.branch,
                order: config.order,
                shortcut: config.shortcut,
                zero_init_last: config.zero_init_last,
                shared_activation: first,
            };
            let path = format!("layer{}.{block}", stage + 1);
            x = ResidualBlock::new(&block_config, vb.pp(&path))?.append(graph, &path, x);
            outputs_of.push((path, x));
            inputs = outputs;
        }
    }
    Ok(outputs_of)
}

fn head(config: &Config, graph: &mut GraphBuilder, mut x: Value, vb: &VarBuilder) -> Result<Value> {
    let features = config.features();
    if config.order == Order::PreActivation {
        x = Norm2d::new(features, vb.pp("bn1"))?.append(graph, "bn1", x);
        x = graph.relu(x);
    }
    x = graph.global_avg_pool("avgpool", x);
    Ok(Linear::new(features, config.classes, vb.pp("fc"))?.append(graph, "fc", x))
}

impl ModuleT for Network {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.graph.forward_t(x, train)
    }
}
