//! The residual block: a branch of convolutions, a shortcut, and their sum.

use candle_core::{Result, Tensor};
use candle_nn::{ModuleT, VarBuilder};
use resnet_ops::graph::DropUnit;
use resnet_ops::{ConvConfig, Graph, GraphBuilder, Value};

use crate::layers::{at, join};
use crate::merge::Junction;
use crate::{BlockConfig, Branch, ChannelAttention, Conv2d, Layer, Norm2d, Order, Shortcut, StrideIn};

/// A residual block, `shortcut(x) + branch(x)`, with norms and activations in the configured order.
///
/// Takes (N, inputs, H, W), returns (N, outputs, ⌈H / stride⌉, ⌈W / stride⌉).
#[derive(Debug, Clone)]
pub struct ResidualBlock {
    config: BlockConfig,
    /// `conv1`, `bn1`; `conv2`, `bn2`; …
    stages: Vec<(Conv2d, Norm2d)>,
    attention: Option<ChannelAttention>,
    shortcut: Shortcut,
    junction: Junction,
    graph: Graph,
}

impl ResidualBlock {
    /// The block of that configuration, with its parameters from `vb`.
    ///
    /// # Errors
    /// If the configuration is impossible or the builder lacks a parameter.
    pub fn new(config: &BlockConfig, vb: VarBuilder) -> Result<Self> {
        config.check().map_err(|error| at(&vb, "a residual block", error))?;
        let layout = convolutions(config);
        let mut stages = Vec::with_capacity(layout.len());
        for (i, conv) in layout.iter().enumerate() {
            let number = i + 1;
            let channels = if config.order.norm_first() { conv.inputs } else { conv.outputs };
            let zero = config.zero_init_last && number == layout.len() && config.order == Order::Original;
            let norm = vb.pp(config.naming.norm(number, conv.kernel));
            let norm = Norm2d::of_kind(config.norm, channels, if zero { 0. } else { 1. }, norm)?;
            stages.push((conv.build(config, vb.pp(config.naming.conv(number, conv.kernel)))?, norm));
        }
        let last = layout.last().filter(|_| config.attention_inside);
        let weighed = last.map_or(config.outputs, |conv| conv.inputs);
        let attention = vb.pp(config.naming.attention());
        let attention = config.attention.map(|a| ChannelAttention::new(a, weighed, attention)).transpose()?;
        let (shortcut, junction) = (Shortcut::new(config, vb.clone())?, Junction::new(config, vb)?);
        let graph = Graph::builder().finish(Value::default());
        let mut block = Self { config: *config, stages, attention, shortcut, junction, graph };
        let mut graph = Graph::builder();
        let output = block.append(&mut graph, "", Value::default());
        block.graph = graph.finish(output);
        Ok(block)
    }

    /// The block as a graph of its own.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
}

/// A convolution of the branch.
struct Layout {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
}

impl Layout {
    fn build(&self, config: &BlockConfig, vb: VarBuilder) -> Result<Conv2d> {
        let stride = if config.anti_alias.is_some() { 1 } else { self.stride };
        let conv = ConvConfig { groups: self.groups, ..ConvConfig::square(stride, self.kernel / 2) };
        let conv = Conv2d::with_config(self.inputs, self.outputs, (self.kernel, self.kernel), conv, vb)?;
        Ok(conv.with_standardization(config.standardize))
    }
}

fn convolutions(config: &BlockConfig) -> Vec<Layout> {
    let &BlockConfig { inputs, outputs, inner, entry, groups, stride, .. } = config;
    let conv = |inputs, outputs, kernel, stride, groups| Layout { inputs, outputs, kernel, stride, groups };
    match config.branch {
        Branch::Single => vec![conv(inputs, outputs, 3, stride, groups)],
        Branch::Basic => vec![conv(inputs, inner, 3, stride, groups), conv(inner, outputs, 3, 1, groups)],
        Branch::Bottleneck(stride_in) => {
            let (first, middle) = match stride_in {
                StrideIn::First => (stride, 1),
                StrideIn::Middle => (1, stride),
            };
            vec![conv(inputs, entry, 1, first, 1), conv(entry, inner, 3, middle, groups), conv(inner, outputs, 1, 1, 1)]
        }
    }
}

impl Layer for ResidualBlock {
    fn append(&self, graph: &mut GraphBuilder, path: &str, x: Value) -> Value {
        let BlockConfig { order, activation, naming, attention_inside, .. } = self.config;
        let shared = self.config.shared_activation || self.shortcut.is_projection();
        let layout = convolutions(&self.config);
        let norm_path = |i: usize| join(path, &naming.norm(i + 1, layout[i].kernel));
        let attend = |graph: &mut GraphBuilder, y: Value| match &self.attention {
            Some(attention) => attention.append(graph, &join(path, naming.attention()), y),
            None => y,
        };
        let (mut y, mut start) = (x, x);
        for (i, (conv, norm)) in self.stages.iter().enumerate() {
            let last = i + 1 == self.stages.len();
            if last && attention_inside {
                y = attend(graph, y);
            }
            if order.norm_first() {
                y = norm.append(graph, &norm_path(i), y);
            }
            if order.is_pre_activation() {
                y = activation.append(graph, y);
                if i == 0 && shared {
                    start = y;
                }
            }
            y = conv.append(graph, &join(path, &naming.conv(i + 1, layout[i].kernel)), y);
            if order.norm_follows(last) {
                y = norm.append(graph, &norm_path(i), y);
            }
            if order.activation_follows(last) {
                y = activation.append(graph, y);
            }
            if let (Some(filter), 2..) = (self.config.anti_alias, layout[i].stride) {
                y = filter.append(graph, &join(path, "aa"), y, layout[i].stride);
            }
        }
        if !attention_inside {
            y = attend(graph, y);
        }
        y = graph.dropout(y, self.config.drop_path, DropUnit::Image);
        if let Some(shortcut) = self.shortcut.append(graph, path, start) {
            y = self.junction.append(graph, path, start, (shortcut, y));
        }
        if let (Order::NormAfterAddition, Some((_, norm))) = (order, self.stages.last()) {
            y = norm.append(graph, &norm_path(self.stages.len() - 1), y);
        }
        if order.activation_after_addition() { activation.append(graph, y) } else { y }
    }
}

impl ModuleT for ResidualBlock {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.graph.forward_t(x, train)
    }
}
