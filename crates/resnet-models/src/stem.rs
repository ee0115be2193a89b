//! What stands before the first block.

use candle_core::Result;
use candle_nn::VarBuilder;
use resnet_blocks::{AntiAlias, Conv2d, Layer, Naming, Norm2d};
use resnet_ops::{AvgPoolConfig, ConvConfig, GraphBuilder, PoolConfig, Value};

use crate::{Config, Stem, StemPool};

/// Appends the stem. Its last norm and activation are left to the first block where that begins with them.
pub(crate) fn stem(config: &Config, graph: &mut GraphBuilder, vb: &VarBuilder) -> Result<Value> {
    let layers = match config.stem {
        Stem::Cifar => vec![(config.stem_channels, 3, 1)],
        Stem::ImageNet => vec![(config.stem_channels, 7, 2)],
        Stem::Deep { widths: [first, second] } => {
            let last = if config.stem_pool == StemPool::None { 2 } else { 1 };
            vec![(first, 3, 2), (second, 3, 1), (config.stem_channels, 3, last)]
        }
    };
    let (mut inputs, mut x) = (config.in_chans, Value::default());
    for (i, &(outputs, kernel, stride)) in layers.iter().enumerate() {
        let (conv_name, norm_name) = names(config, i, layers.len());
        x = convolution(config, graph, vb, (&conv_name, x), (inputs, outputs, kernel, stride))?;
        let last = i + 1 == layers.len();
        if !(last && config.order.norm_first()) {
            x = Norm2d::of_kind(config.norm, outputs, 1., vb.pp(&norm_name))?.append(graph, &norm_name, x);
        }
        if !(last && config.order.is_pre_activation()) {
            x = config.activation.append(graph, x);
        }
        inputs = outputs;
    }
    match config.stem {
        Stem::Cifar => Ok(x),
        Stem::Deep { .. } if config.stem_pool == StemPool::None => Ok(x),
        Stem::ImageNet | Stem::Deep { .. } => pool(config, graph, vb, x),
    }
}

/// Convolution and norm of that position.
fn names(config: &Config, position: usize, count: usize) -> (String, String) {
    let number = position + 1;
    match (config.naming, count) {
        (Naming::Torchvision, 1) => ("conv1".into(), "bn1".into()),
        // A sequence of convolutions, norms and ReLUs, whose last norm stands outside.
        (Naming::Torchvision, _) if number == count => (format!("conv1.{}", 3 * position), "bn1".into()),
        (Naming::Torchvision, _) => (format!("conv1.{}", 3 * position), format!("conv1.{}", 3 * position + 1)),
        (Naming::Configurable, 1) => ("stem.conv".into(), "stem.bn".into()),
        (Naming::Configurable, _) => (format!("stem.conv{number}.conv"), format!("stem.conv{number}.bn")),
        (Naming::ResNetV2, 1) => ("stem.conv".into(), "stem.norm".into()),
        (Naming::ResNetV2, _) => (format!("stem.conv{number}"), format!("stem.norm{number}")),
    }
}

fn convolution(
    config: &Config,
    graph: &mut GraphBuilder,
    vb: &VarBuilder,
    (name, x): (&str, Value),
    (inputs, outputs, kernel, stride): (usize, usize, usize, usize),
) -> Result<Value> {
    let conv_config = ConvConfig::square(stride, kernel / 2);
    let conv = Conv2d::with_config(inputs, outputs, (kernel, kernel), conv_config, vb.pp(name))?;
    Ok(conv.with_standardization(config.standardize).append(graph, name, x))
}

fn pool(config: &Config, graph: &mut GraphBuilder, vb: &VarBuilder, mut x: Value) -> Result<Value> {
    let channels = config.stem_channels;
    Ok(match (config.stem_pool, config.anti_alias) {
        (StemPool::Convolution, filter) => {
            let stride = if filter.is_some() { 1 } else { 2 };
            x = convolution(config, graph, vb, ("maxpool.0", x), (channels, channels, 3, stride))?;
            let norm = match filter {
                Some(filter) => {
                    x = filter.append(graph, "maxpool.1", x, 2);
                    "maxpool.2"
                }
                None => "maxpool.1",
            };
            x = Norm2d::of_kind(config.norm, channels, 1., vb.pp(norm))?.append(graph, norm, x);
            config.activation.append(graph, x)
        }
        // The mean stands in for both, the maximum and the filter.
        (_, Some(AntiAlias::Average)) => graph.avg_pool("maxpool", x, AvgPoolConfig::square(2, 2, false)),
        (StemPool::MaxOverZeros, None) => {
            x = graph.zero_pad(x, (1, 1));
            graph.max_pool("maxpool", x, PoolConfig::square(3, 2, 0))
        }
        (_, Some(AntiAlias::Blur)) => {
            x = graph.max_pool("maxpool.0", x, PoolConfig::square(3, 1, 1));
            AntiAlias::Blur.append(graph, "maxpool.1", x, 2)
        }
        (StemPool::Max | StemPool::None, None) => graph.max_pool("maxpool", x, PoolConfig::square(3, 2, 1)),
    })
}
