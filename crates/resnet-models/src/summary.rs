//! A network's layers, output sizes, parameters and multiply-adds.

use std::fmt;

use resnet_blocks::Parameters;
use resnet_ops::graph::{MapShape, Op};
use serde::Serialize;

use crate::{Error, Network, entry};

/// One layer with parameters, or a pooling.
#[derive(Debug, Clone, Serialize)]
pub struct LayerSummary {
    /// Dotted path as in the state dict.
    pub name: String,
    /// Kind of layer.
    pub kind: &'static str,
    /// (C, H, W) of its output.
    pub output: [usize; 3],
    /// Number of trainable values.
    pub parameters: usize,
    /// Multiplications that are followed by an addition, for one image.
    pub multiply_adds: u64,
}

/// A whole network.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Name in the registry.
    pub arch: String,
    /// (C, H, W) of one input.
    pub input: [usize; 3],
    /// Number of trainable values.
    pub parameters: usize,
    /// Multiply-adds of the convolutions and the fully connected layer, for one image.
    pub multiply_adds: u64,
    /// What He et al. 2015, Table 1 prints, in 10⁹.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_multiply_adds: Option<f64>,
    /// Layer by layer.
    pub layers: Vec<LayerSummary>,
}

/// The summary of a registered network for images of `size` (rows, columns).
///
/// # Errors
/// If the name is unknown, or the images are too small for the network.
pub fn summary(arch: &str, classes: Option<usize>, size: (usize, usize)) -> Result<Summary, Error> {
    let entry = entry(arch)?;
    let parameters = Parameters::zeros(candle_core::DType::F32, &candle_core::Device::Cpu);
    let network = crate::create(arch, parameters.builder(), classes)?;
    let mut summary = summarise(&network, size)?;
    if size == (network.config().image_size, network.config().image_size) {
        summary.published_multiply_adds = entry.published_multiply_adds;
    }
    Ok(summary)
}

/// The summary of any network for images of `size` (rows, columns).
///
/// # Errors
/// If the images are too small for the network.
pub fn summarise(network: &Network, size: (usize, usize)) -> Result<Summary, Error> {
    let input = MapShape { channels: network.config().in_chans, height: size.0, width: size.1 };
    let shapes = network.graph().shapes(input)?;
    let mut layers = Vec::new();
    for (node, shape) in network.graph().nodes().iter().zip(&shapes) {
        let pixels = (shape.height * shape.width) as u64;
        let bias = |bias: &Option<candle_core::Tensor>| bias.as_ref().map_or(0, |b| b.elem_count());
        let (kind, parameters, multiply_adds) = match &node.op {
            Op::Conv { weight, bias: b, .. } => {
                ("conv", weight.elem_count() + bias(b), weight.elem_count() as u64 * pixels)
            }
            Op::GroupNorm { weight, bias, .. } => ("group_norm", weight.elem_count() + bias.elem_count(), 0),
            Op::ChannelAffine { weight, bias: b } => ("channel_affine", weight.elem_count() + bias(b), 0),
            Op::ChannelFloor { threshold } => ("channel_floor", threshold.elem_count(), 0),
            Op::DivideBySpread { .. } => ("divide_by_spread", 0, 0),
            Op::ChannelConv { weight } => {
                ("channel_conv", weight.elem_count(), (weight.elem_count() * shape.channels) as u64)
            }
            Op::AvgPool(_) => ("avg_pool", 0, 0),
            Op::BlurPool { .. } => ("blur_pool", 0, 0),
            Op::Norm(p) => ("batch_norm", bias(&p.weight) + bias(&p.bias), 0),
            Op::Linear { weight, bias: b } => ("linear", weight.elem_count() + bias(b), weight.elem_count() as u64),
            Op::MaxPool(_) => ("max_pool", 0, 0),
            Op::GlobalAvgPool => ("global_avg_pool", 0, 0),
            _ => continue,
        };
        let output = [shape.channels, shape.height, shape.width];
        layers.push(LayerSummary { name: node.name.clone(), kind, output, parameters, multiply_adds });
    }
    Ok(Summary {
        arch: network.config().name.clone(),
        input: [3, size.0, size.1],
        parameters: layers.iter().map(|layer| layer.parameters).sum(),
        multiply_adds: layers.iter().map(|layer| layer.multiply_adds).sum(),
        published_multiply_adds: None,
        layers,
    })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |s: &[usize; 3]| format!("{} x {} x {}", s[0], s[1], s[2]);
        let width = self.layers.iter().map(|layer| layer.name.len()).max().unwrap_or(0).max(5);
        writeln!(f, "{}  (input {})", self.arch, size(&self.input))?;
        writeln!(
            f,
            "{:width$}  {:15}  {:>16}  {:>12}  {:>15}",
            "layer", "kind", "output", "parameters", "multiply-adds"
        )?;
        for layer in &self.layers {
            let (params, macs) = (grouped(layer.parameters as u64), grouped(layer.multiply_adds));
            writeln!(
                f,
                "{:width$}  {:15}  {:>16}  {params:>12}  {macs:>15}",
                layer.name,
                layer.kind,
                size(&layer.output)
            )?;
        }
        writeln!(f, "parameters     {}", grouped(self.parameters as u64))?;
        write!(f, "multiply-adds  {} ({:.2} x 10^9)", grouped(self.multiply_adds), self.multiply_adds as f64 / 1e9)?;
        match self.published_multiply_adds {
            Some(published) => write!(f, "; He et al. 2015, Table 1: {published:.1} x 10^9"),
            None => Ok(()),
        }
    }
}

/// Digits in groups of three.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
