//! What stands before the first block.

use candle_core::Result;
use candle_nn::VarBuilder;
use resnet_blocks::{AntiAlias, AntiAliasPool, AvgPool2d, Conv2d, Layer, MaxPool2d, Naming, Norm2d};
use resnet_ops::{AvgPoolConfig, GraphBuilder, NodeId, PoolConfig};

use crate::{Config, Stem, StemPool};

/// What a stem gives.
pub(crate) struct Stemmed {
    /// The map before the pooling.
    pub map: NodeId,
    /// What the first block takes.
    pub pooled: NodeId,
}

/// Appends the stem. Its last norm and activation are left to the first block where that begins with them.
pub(crate) fn stem(config: &Config, graph: &mut GraphBuilder, vb: &VarBuilder) -> Result<Stemmed> {
    let layers = match config.stem {
        Stem::Cifar => vec![(config.stem_channels, 3, 1)],
        Stem::ImageNet => vec![(config.stem_channels, 7, 2)],
        Stem::Deep { widths: [first, second] } => {
            let last = if config.stem_pool == StemPool::None { 2 } else { 1 };
            vec![(first, 3, 2), (second, 3, 1), (config.stem_channels, 3, last)]
        }
    };
    let (mut inputs, mut x) = (config.in_chans, NodeId::default());
    for (i, &(outputs, kernel, stride)) in layers.iter().enumerate() {
        let (conv_name, norm_name) = names(config, i, layers.len());
        x = convolution(config, [inputs, outputs], kernel, stride, vb.pp(conv_name))?.append(graph, x);
        let last = i + 1 == layers.len();
        if !(last && config.block.order.norm_first()) {
            x = Norm2d::of_kind(config.block.norm, outputs, 1., vb.pp(norm_name))?.append(graph, x);
        }
        if !(last && config.block.order.is_pre_activation()) {
            x = config.block.activation.append(graph, x);
        }
        inputs = outputs;
    }
    let pooled = match config.stem {
        Stem::Cifar => x,
        Stem::Deep { .. } if config.stem_pool == StemPool::None => x,
        Stem::ImageNet | Stem::Deep { .. } => pool(config, graph, vb, x)?,
    };
    Ok(Stemmed { map: x, pooled })
}

/// Convolution and norm of that position.
fn names(config: &Config, position: usize, count: usize) -> (String, String) {
    let number = position + 1;
    match (config.block.naming, count) {
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
    [inputs, outputs]: [usize; 2],
    kernel: usize,
    stride: usize,
    vb: VarBuilder,
) -> Result<Conv2d> {
    Ok(Conv2d::new(inputs, outputs, kernel, stride, vb)?.with_standardization(config.block.standardize))
}

fn pool(config: &Config, graph: &mut GraphBuilder, vb: &VarBuilder, x: NodeId) -> Result<NodeId> {
    let (channels, vb) = (config.stem_channels, vb.pp("maxpool"));
    let max = |stride, padding, vb| MaxPool2d::new(PoolConfig::square(3, stride, padding), vb);
    Ok(match (config.stem_pool, config.block.anti_alias) {
        (StemPool::Convolution, filter) => {
            let (stride, norm) = if filter.is_some() { (1, "2") } else { (2, "1") };
            let x = convolution(config, [channels; 2], 3, stride, vb.pp("0"))?.append(graph, x);
            let x = filter.map(|filter| AntiAliasPool::new(filter, 2, vb.pp("1"))).append(graph, x);
            let x = Norm2d::of_kind(config.block.norm, channels, 1., vb.pp(norm))?.append(graph, x);
            config.block.activation.append(graph, x)
        }
        // The mean stands in for both, the maximum and the filter.
        (_, Some(AntiAlias::Average)) => AvgPool2d::new(AvgPoolConfig::square(2, 2, false), vb).append(graph, x),
        (StemPool::MaxOverZeros, None) => {
            let x = graph.zero_pad(x, (1, 1));
            max(2, 0, vb).append(graph, x)
        }
        (_, Some(AntiAlias::Blur)) => {
            let x = max(1, 1, vb.pp("0")).append(graph, x);
            AntiAliasPool::new(AntiAlias::Blur, 2, vb.pp("1")).append(graph, x)
        }
        (StemPool::Max | StemPool::None, None) => max(2, 1, vb).append(graph, x),
    })
}
