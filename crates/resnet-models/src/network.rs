//! The network: stem, stages of residual blocks, head.

use candle_core::{DType, Result, Tensor};
use candle_nn::{ModuleT, VarBuilder};
use resnet_blocks::{Conv2d, GlobalAvgPool2d, Layer, Linear, Naming, Norm2d, ResidualBlock};
use resnet_ops::graph::DropUnit;
use resnet_ops::{Backend, DropoutRng, Graph, GraphBuilder, Inference, NodeId};

use crate::stem::{Stemmed, stem};
use crate::{Config, Error};

/// A residual (or plain) network: images (N, C, H, W) of C = `in_chans` channels, mostly 3, to logits (N, classes); with
/// `classes` 0, which is how weights without a head are read, to the features (N, F) that a head would classify.
///
/// Parameters are named as torchvision names them: `conv1`, `bn1`, `layer1.0.conv1`, …, `fc`. In pre-activation
/// networks `bn1` is the norm after the last block (He et al. 2016, appendix); timm's have names of their own (see
/// [`Naming`]).
#[derive(Debug, Clone)]
pub struct Network {
    config: Config,
    graph: Graph,
    stem: NodeId,
    blocks: Vec<(String, NodeId)>,
    /// The part of the graph that computes the stem's map, and each stage from the one before.
    stages: Vec<Graph>,
}

impl Network {
    /// The network of that configuration, with its parameters from `vb`.
    ///
    /// # Errors
    /// If the configuration makes no sense ([`Config::check`]) or the builder lacks a parameter.
    pub fn new(config: &Config, vb: VarBuilder) -> Result<Self> {
        config.check().map_err(candle_core::Error::wrap)?;
        let mut graph = Graph::builder();
        let Stemmed { map, pooled: stem } = stem(config, &mut graph, &vb)?;
        let blocks = blocks(config, &mut graph, stem, &vb)?;
        let features = blocks.last().map_or(stem, |(_, output)| *output);
        let logits = head(config, &mut graph, features, &vb)?;
        let graph = graph.finish(logits);
        let ends: Vec<NodeId> = std::iter::once(map).chain(stage_ends(config, &blocks)).collect();
        let begins = std::iter::once(graph.input()).chain(ends.iter().copied());
        let stages = begins.zip(&ends).map(|(from, &to)| graph.subgraph(from, to)).collect::<Result<_>>()?;
        Ok(Self { config: config.clone(), graph, stem, blocks, stages })
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
    pub fn stem(&self) -> NodeId {
        self.stem
    }

    /// Path (`layer1.0`) and output of every block, in the order of execution. With [`Network::stem`] these are the
    /// places where one value alone passes, so that the network can be cut there ([`Graph::subgraph`]).
    pub fn blocks(&self) -> &[(String, NodeId)] {
        &self.blocks
    }

    /// The same network without its head, on the same parameters: images to the features that the head would classify.
    ///
    /// # Errors
    /// If there is no fully connected layer at its end.
    pub fn without_head(&self) -> Result<Self> {
        let graph = self.embedding()?;
        Ok(Self { config: self.config.clone().with_classes(0), graph, ..self.clone() })
    }

    /// The maps after the given stages, counted from 1, for images (N, C, H, W): in the ImageNet networks stage s has
    /// rows and columns of H / 2^(s + 1), that is strides of 4 to 32; stage 0 is the stem's map before its pooling, of
    /// stride 2. As in evaluation; gradients flow.
    ///
    /// # Errors
    /// [`Error::NoStage`], or if the images do not fit.
    pub fn features(&self, x: &Tensor, stages: &[usize]) -> std::result::Result<Vec<Tensor>, Error> {
        self.features_t(x, stages, false)
    }

    /// As [`Network::features`]; in training norms take their batch's statistics and branches are dropped, as a backbone
    /// does that is trained under another head.
    ///
    /// # Errors
    /// As [`Network::features`].
    pub fn features_t(&self, x: &Tensor, stages: &[usize], train: bool) -> std::result::Result<Vec<Tensor>, Error> {
        let last = self.stages.len() - 1;
        if let Some(&asked) = stages.iter().find(|&&stage| stage > last) {
            return Err(Error::NoStage { asked, stages: last });
        }
        let mut maps: Vec<Tensor> = Vec::new();
        for stage in &self.stages[..stages.iter().max().map_or(0, |&most| most + 1)] {
            let map = stage.forward_t(maps.last().unwrap_or(x), train)?;
            maps.push(map);
        }
        Ok(stages.iter().map(|&stage| maps[stage].clone()).collect())
    }

    /// Where dropout and stochastic depth take their random numbers from.
    pub fn dropout_rng(&self) -> &DropoutRng {
        self.graph.dropout_rng()
    }

    /// The same network, run by another interpreter.
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.graph = self.graph.with_backend(backend);
        self.stages = self.stages.into_iter().map(|stage| stage.with_backend(backend)).collect();
        self
    }

    /// The same network that keeps, of a training step, the results of every `every`-th block only, and computes what
    /// lies between again in the backward pass ([`Graph::with_recomputation`]). With 0 it is about the square root of
    /// the number of blocks, which needs the least memory (Chen et al. 2016).
    pub fn with_recomputation(mut self, every: usize) -> Self {
        let every = if every == 0 { (self.blocks.len() as f64).sqrt().round() as usize } else { every };
        let cuts: Vec<NodeId> = self.blocks.iter().skip(every.max(1) - 1).step_by(every.max(1)).map(|b| b.1).collect();
        self.graph = self.graph.with_recomputation(&cuts);
        self
    }

    /// The same network with activations in `dtype` (f32 or bf16, on a CUDA device f16 too); parameters and statistics stay as they are.
    pub fn with_compute_dtype(mut self, dtype: DType) -> Self {
        self.graph = self.graph.with_compute_dtype(dtype);
        self.stages = self.stages.into_iter().map(|stage| stage.with_compute_dtype(dtype)).collect();
        self
    }

    /// The network made ready for inference. On the CPU norms are folded into the convolutions and weights packed once; on
    /// a CUDA device weights and norms are laid out once. Logits are those of evaluation within 1e-4 of the largest. It
    /// holds no gradients, and threads may share it:
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// # fn main() -> candle_core::Result<()> {
    /// let parameters = resnet_models::Parameters::new(0, DType::F32, &Device::Cpu);
    /// let network = resnet_models::create("resnet20", parameters.builder(), None).map_err(candle_core::Error::wrap)?;
    /// let classifier = network.into_inference()?;
    /// let images = Tensor::zeros((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| assert_eq!(classifier.forward(&images).unwrap().dims(), [2, 10]));
    /// });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// After [`Network::with_compute_dtype`] with bf16 it computes in bf16 where the processor multiplies it
    /// (AVX512-BF16): 1.3 to 1.7 times as fast where that was measured, logits within a few hundredths of their largest. On
    /// a CUDA device it computes in bf16 or f16, as asked for.
    ///
    /// # Errors
    /// If a parameter cannot be read.
    pub fn into_inference(self) -> Result<Inference> {
        Inference::new(&self.graph)
    }
}

/// Path and result of every block.
fn blocks(config: &Config, graph: &mut GraphBuilder, mut x: NodeId, vb: &VarBuilder) -> Result<Vec<(String, NodeId)>> {
    let mut blocks = Vec::new();
    for (path, block) in config.block_configs() {
        x = ResidualBlock::new(&block, vb.pp(&path))?.append(graph, x);
        blocks.push((path, x));
    }
    Ok(blocks)
}

/// The result of each stage, which is that of its last block.
fn stage_ends(config: &Config, blocks: &[(String, NodeId)]) -> Vec<NodeId> {
    let mut count = 0;
    let last = config.blocks.iter().take(config.widths.len()).map(|&stage| {
        count += stage;
        blocks[..count.min(blocks.len())].last().map_or_else(NodeId::default, |(_, output)| *output)
    });
    last.collect()
}

fn head(config: &Config, graph: &mut GraphBuilder, mut x: NodeId, vb: &VarBuilder) -> Result<NodeId> {
    if config.block.order.norm_first() && config.final_norm {
        let name = match config.block.naming {
            Naming::Torchvision | Naming::Configurable => "bn1",
            Naming::ResNetV2 => "norm",
        };
        x = Norm2d::of_kind(config.block.norm, config.map_channels(), 1., vb.pp(name))?.append(graph, x);
    }
    if config.block.order.is_pre_activation() && config.final_norm {
        x = config.block.activation.append(graph, x);
    }
    let features = config.features();
    if config.final_features.is_some() {
        let vb = vb.pp("final_conv");
        let conv = Conv2d::new(config.map_channels(), features, 1, 1, vb.pp("conv"))?;
        x = conv.append(graph, x);
        x = Norm2d::of_kind(config.block.norm, features, 1., vb.pp("bn"))?.append(graph, x);
        x = config.block.activation.append(graph, x);
    }
    x = GlobalAvgPool2d::new(vb.pp("avgpool")).append(graph, x);
    if config.classes == 0 {
        return Ok(x);
    }
    x = graph.dropout(x, config.drop_rate, DropUnit::Value);
    let vb = vb.pp(config.head());
    let linear = match config.block.naming {
        Naming::Torchvision | Naming::Configurable => Linear::new(features, config.classes, vb)?,
        Naming::ResNetV2 => Linear::pointwise(features, config.classes, vb)?,
    };
    Ok(linear.append(graph, x))
}

impl ModuleT for Network {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.graph.forward_t(x, train)
    }
}
