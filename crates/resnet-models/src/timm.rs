//! timm's ResNet family by its names: each row adds parts to a plain network.

use resnet_blocks::{Activation, AntiAlias, Attention, Branch, Naming, NormKind, Order, Projection, StrideIn};

use crate::{Config, Stem, StemPool, pruned};

use Branch::Basic;
use Part::*;

const BOTTLENECK: Branch = Branch::Bottleneck(StrideIn::Middle);

/// What a network has beyond a plain one.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// Three 3×3 convolutions of w, w and 2w channels in place of the 7×7.
    Deep(usize),
    /// Likewise, of 3w/4, w and 2w channels.
    Tiered(usize),
    /// A convolution in place of the max-pool.
    ConvPool,
    /// Average pooling in the projections.
    AvgDown,
    /// Groups of the 3×3 convolutions, and the width of each for every 64 channels.
    Groups(usize, usize),
    /// So many times fewer channels in front of the 3×3 convolutions.
    ReduceFirst(usize),
    /// 3×3 convolutions in the projections.
    Down3x3,
    /// Squeeze and excitation with that reduction.
    Se(usize),
    /// Efficient channel attention.
    Eca,
    /// Blur pooling in place of strides.
    Blur,
    /// Average pooling in place of strides.
    Average,
    /// Group norm in 32 groups.
    GroupNorm,
    /// Groups of so many channels.
    GroupSize(usize),
    /// The stem's last convolution has the stride of its pooling.
    NoPool,
    /// The widths of the last two stages.
    Widths(usize, usize),
    /// A 1×1 convolution before the head.
    Final(usize),
    /// So many times as many channels everywhere.
    Wide(usize),
    /// Group norm, standardised weights, zeros around the max-pool (Kolesnikov et al. 2020).
    Bit,
    /// EvoNorm-S0 in 32 groups, activation included.
    EvoNorm,
    /// Filter response norm with thresholded linear units.
    FilterResponse,
    /// Fewer channels than the rest of the row says.
    Pruned(&'static [[usize; 3]]),
    /// Stages of other branches and widths.
    Stages([Branch; 4], [usize; 4]),
}

/// The module of timm's, which decides order and names.
#[derive(Debug, Clone, Copy)]
enum Module {
    ResNet,
    ResNetV2,
    ByobNet,
}

/// One network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    module: Module,
    blocks: [usize; 4],
    branch: Branch,
    parts: &'static [Part],
}

const fn v1(name: &'static str, blocks: [usize; 4], branch: Branch, parts: &'static [Part]) -> Row {
    Row { name, module: Module::ResNet, blocks, branch, parts }
}

const fn v2(name: &'static str, blocks: [usize; 4], branch: Branch, parts: &'static [Part]) -> Row {
    Row { name, module: Module::ResNetV2, blocks, branch, parts }
}

const fn byob(name: &'static str, blocks: [usize; 4], parts: &'static [Part]) -> Row {
    Row { name, module: Module::ByobNet, blocks, branch: BOTTLENECK, parts }
}

/// All of them; what torchvision and the papers have too stands in the registry.
#[rustfmt::skip] // a row a line
pub(crate) const ROWS: &[Row] = &[
    v1("resnet10t", [1, 1, 1, 1], Basic, &[Tiered(32), AvgDown]),
    v1("resnet14t", [1, 1, 1, 1], BOTTLENECK, &[Tiered(32), AvgDown]),
    v1("resnet18d", [2, 2, 2, 2], Basic, &[Deep(32), AvgDown]),
    v1("resnet34d", [3, 4, 6, 3], Basic, &[Deep(32), AvgDown]),
    v1("resnet26", [2, 2, 2, 2], BOTTLENECK, &[]),
    v1("resnet26t", [2, 2, 2, 2], BOTTLENECK, &[Tiered(32), AvgDown]),
    v1("resnet26d", [2, 2, 2, 2], BOTTLENECK, &[Deep(32), AvgDown]),
    v1("resnet50c", [3, 4, 6, 3], BOTTLENECK, &[Deep(32)]),
    v1("resnet50d", [3, 4, 6, 3], BOTTLENECK, &[Deep(32), AvgDown]),
    v1("resnet50s", [3, 4, 6, 3], BOTTLENECK, &[Deep(64)]),
    v1("resnet50t", [3, 4, 6, 3], BOTTLENECK, &[Tiered(32), AvgDown]),
    v1("resnet101c", [3, 4, 23, 3], BOTTLENECK, &[Deep(32)]),
    v1("resnet101d", [3, 4, 23, 3], BOTTLENECK, &[Deep(32), AvgDown]),
    v1("resnet101s", [3, 4, 23, 3], BOTTLENECK, &[Deep(64)]),
    v1("resnet152c", [3, 8, 36, 3], BOTTLENECK, &[Deep(32)]),
    v1("resnet152d", [3, 8, 36, 3], BOTTLENECK, &[Deep(32), AvgDown]),
    v1("resnet152s", [3, 8, 36, 3], BOTTLENECK, &[Deep(64)]),
    v1("resnet200", [3, 24, 36, 3], BOTTLENECK, &[]),
    v1("resnet200d", [3, 24, 36, 3], BOTTLENECK, &[Deep(32), AvgDown]),
    v1("wide_resnet50_2", [3, 4, 6, 3], BOTTLENECK, &[Groups(1, 128)]),
    v1("wide_resnet101_2", [3, 4, 23, 3], BOTTLENECK, &[Groups(1, 128)]),
    v1("resnet50_gn", [3, 4, 6, 3], BOTTLENECK, &[GroupNorm]),
    v1("resnext50_32x4d", [3, 4, 6, 3], BOTTLENECK, &[Groups(32, 4)]),
    v1("resnext50d_32x4d", [3, 4, 6, 3], BOTTLENECK, &[Deep(32), AvgDown, Groups(32, 4)]),
    v1("resnext101_32x4d", [3, 4, 23, 3], BOTTLENECK, &[Groups(32, 4)]),
    v1("resnext101_32x8d", [3, 4, 23, 3], BOTTLENECK, &[Groups(32, 8)]),
    v1("resnext101_32x16d", [3, 4, 23, 3], BOTTLENECK, &[Groups(32, 16)]),
    v1("resnext101_32x32d", [3, 4, 23, 3], BOTTLENECK, &[Groups(32, 32)]),
    v1("resnext101_64x4d", [3, 4, 23, 3], BOTTLENECK, &[Groups(64, 4)]),
    v1("ecaresnet26t", [2, 2, 2, 2], BOTTLENECK, &[Tiered(32), AvgDown, Eca]),
    v1("ecaresnet50d", [3, 4, 6, 3], BOTTLENECK, &[Deep(32), AvgDown, Eca]),
    v1("ecaresnet50d_pruned", [3, 4, 6, 3], BOTTLENECK, &[Deep(32), AvgDown, Eca, Pruned(pruned::ECA_50D)]),
    v1("ecaresnet50t", [3, 4, 6, 3], BOTTLENECK, &[Tiered(32), AvgDown, Eca]),
    v1("ecaresnetlight", [1, 1, 11, 3], BOTTLENECK, &[AvgDown, Eca]),
    v1("ecaresnet101d", [3, 4, 23, 3], BOTTLENECK, &[Deep(32), AvgDown, Eca]),
    v1("ecaresnet101d_pruned", [3, 4, 23, 3], BOTTLENECK, &[Deep(32), AvgDown, Eca, Pruned(pruned::ECA_101D)]),
    v1("ecaresnet200d", [3, 24, 36, 3], BOTTLENECK, &[Deep(32), AvgDown, Eca]),
    v1("ecaresnet269d", [3, 30, 48, 8], BOTTLENECK, &[Deep(32), AvgDown, Eca]),
    v1("ecaresnext26t_32x4d", [2, 2, 2, 2], BOTTLENECK, &[Tiered(32), AvgDown, Groups(32, 4), Eca]),
    v1("ecaresnext50t_32x4d", [3, 4, 6, 3], BOTTLENECK, &[Tiered(32), AvgDown, Groups(32, 4), Eca]),
    v1("seresnet18", [2, 2, 2, 2], Basic, &[Se(16)]),
    v1("seresnet34", [3, 4, 6, 3], Basic, &[Se(16)]),
    v1("seresnet50", [3, 4, 6, 3], BOTTLENECK, &[Se(16)]),
    v1("seresnet50t", [3, 4, 6, 3], BOTTLENECK, &[Tiered(32), AvgDown, Se(16)]),
    v1("seresnet101", [3, 4, 23, 3], BOTTLENECK, &[Se(16)]),
    v1("seresnet152", [3, 8, 36, 3], BOTTLENECK, &[Se(16)]),
    v1("seresnet152d", [3, 8, 36, 3], BOTTLENECK, &[Deep(32), AvgDown, Se(16)]),
    v1("seresnet200d", [3, 24, 36, 3], BOTTLENECK, &[Deep(32), AvgDown, Se(16)]),
    v1("seresnet269d", [3, 30, 48, 8], BOTTLENECK, &[Deep(32), AvgDown, Se(16)]),
    v1("seresnext26d_32x4d", [2, 2, 2, 2], BOTTLENECK, &[Deep(32), AvgDown, Groups(32, 4), Se(16)]),
    v1("seresnext26t_32x4d", [2, 2, 2, 2], BOTTLENECK, &[Tiered(32), AvgDown, Groups(32, 4), Se(16)]),
    v1("seresnext50_32x4d", [3, 4, 6, 3], BOTTLENECK, &[Groups(32, 4), Se(16)]),
    v1("seresnext101_32x4d", [3, 4, 23, 3], BOTTLENECK, &[Groups(32, 4), Se(16)]),
    v1("seresnext101_32x8d", [3, 4, 23, 3], BOTTLENECK, &[Groups(32, 8), Se(16)]),
    v1("seresnext101d_32x8d", [3, 4, 23, 3], BOTTLENECK, &[Deep(32), AvgDown, Groups(32, 8), Se(16)]),
    v1("seresnext101_64x4d", [3, 4, 23, 3], BOTTLENECK, &[Groups(64, 4), Se(16)]),
    v1("senet154", [3, 8, 36, 3], BOTTLENECK, &[Deep(64), Groups(64, 4), ReduceFirst(2), Down3x3, Se(16)]),
    v1("resnetblur18", [2, 2, 2, 2], Basic, &[Blur]),
    v1("resnetblur50", [3, 4, 6, 3], BOTTLENECK, &[Blur]),
    v1("resnetblur50d", [3, 4, 6, 3], BOTTLENECK, &[Deep(32), AvgDown, Blur]),
    v1("resnetblur101d", [3, 4, 23, 3], BOTTLENECK, &[Deep(32), AvgDown, Blur]),
    v1("resnetaa34d", [3, 4, 6, 3], Basic, &[Deep(32), AvgDown, Average]),
    v1("resnetaa50", [3, 4, 6, 3], BOTTLENECK, &[Average]),
    v1("resnetaa50d", [3, 4, 6, 3], BOTTLENECK, &[Deep(32), AvgDown, Average]),
    v1("resnetaa101d", [3, 4, 23, 3], BOTTLENECK, &[Deep(32), AvgDown, Average]),
    v1("seresnetaa50d", [3, 4, 6, 3], BOTTLENECK, &[Deep(32), AvgDown, Se(16), Average]),
    v1("seresnextaa101d_32x8d", [3, 4, 23, 3], BOTTLENECK, &[Deep(32), AvgDown, Groups(32, 8), Se(16), Average]),
    v1("seresnextaa201d_32x8d", [3, 24, 36, 4], BOTTLENECK, &[Deep(64), AvgDown, Groups(32, 8), Se(16), Average]),
    v1("resnetrs50", [3, 4, 6, 3], BOTTLENECK, &[Deep(32), ConvPool, AvgDown, Se(4)]),
    v1("resnetrs101", [3, 4, 23, 3], BOTTLENECK, &[Deep(32), ConvPool, AvgDown, Se(4)]),
    v1("resnetrs152", [3, 8, 36, 3], BOTTLENECK, &[Deep(32), ConvPool, AvgDown, Se(4)]),
    v1("resnetrs200", [3, 24, 36, 3], BOTTLENECK, &[Deep(32), ConvPool, AvgDown, Se(4)]),
    v1("resnetrs270", [4, 29, 53, 4], BOTTLENECK, &[Deep(32), ConvPool, AvgDown, Se(4)]),
    v1("resnetrs350", [4, 36, 72, 4], BOTTLENECK, &[Deep(32), ConvPool, AvgDown, Se(4)]),
    v1("resnetrs420", [4, 44, 87, 4], BOTTLENECK, &[Deep(32), ConvPool, AvgDown, Se(4)]),
    v1("test_resnet", [1, 1, 1, 1], Basic, &[Deep(16), AvgDown, Stages([Basic, Basic, BOTTLENECK, Basic], [32, 48, 48, 96])]),
    v2("resnetv2_50x1_bit", [3, 4, 6, 3], BOTTLENECK, &[Wide(1), Bit]),
    v2("resnetv2_50x3_bit", [3, 4, 6, 3], BOTTLENECK, &[Wide(3), Bit]),
    v2("resnetv2_101x1_bit", [3, 4, 23, 3], BOTTLENECK, &[Wide(1), Bit]),
    v2("resnetv2_101x3_bit", [3, 4, 23, 3], BOTTLENECK, &[Wide(3), Bit]),
    v2("resnetv2_152x2_bit", [3, 8, 36, 3], BOTTLENECK, &[Wide(2), Bit]),
    v2("resnetv2_152x4_bit", [3, 8, 36, 3], BOTTLENECK, &[Wide(4), Bit]),
    v2("resnetv2_18", [2, 2, 2, 2], Basic, &[]),
    v2("resnetv2_18d", [2, 2, 2, 2], Basic, &[Deep(32), AvgDown]),
    v2("resnetv2_34", [3, 4, 6, 3], Basic, &[]),
    v2("resnetv2_34d", [3, 4, 6, 3], Basic, &[Deep(32), AvgDown]),
    v2("resnetv2_50", [3, 4, 6, 3], BOTTLENECK, &[]),
    v2("resnetv2_50d", [3, 4, 6, 3], BOTTLENECK, &[Deep(32), AvgDown]),
    v2("resnetv2_50t", [3, 4, 6, 3], BOTTLENECK, &[Tiered(32), AvgDown]),
    v2("resnetv2_101", [3, 4, 23, 3], BOTTLENECK, &[]),
    v2("resnetv2_101d", [3, 4, 23, 3], BOTTLENECK, &[Deep(32), AvgDown]),
    v2("resnetv2_152", [3, 8, 36, 3], BOTTLENECK, &[]),
    v2("resnetv2_152d", [3, 8, 36, 3], BOTTLENECK, &[Deep(32), AvgDown]),
    v2("resnetv2_50d_gn", [3, 4, 6, 3], BOTTLENECK, &[Deep(32), AvgDown, GroupNorm]),
    v2("resnetv2_50d_evos", [3, 4, 6, 3], BOTTLENECK, &[Deep(32), AvgDown, EvoNorm]),
    v2("resnetv2_50d_frn", [3, 4, 6, 3], BOTTLENECK, &[Deep(32), AvgDown, FilterResponse]),
    byob("resnext26ts", [2, 2, 2, 2], &[Tiered(32), GroupSize(32)]),
    byob("seresnext26ts", [2, 2, 2, 2], &[Tiered(32), GroupSize(32), Se(16)]),
    byob("eca_resnext26ts", [2, 2, 2, 2], &[Tiered(32), GroupSize(32), Eca]),
    byob("resnet32ts", [2, 3, 3, 2], &[Tiered(32), NoPool, Widths(384, 384)]),
    byob("resnet33ts", [2, 3, 3, 2], &[Tiered(32), NoPool, Widths(384, 384), Final(1280)]),
    byob("seresnet33ts", [2, 3, 3, 2], &[Tiered(32), NoPool, Widths(384, 384), Final(1280), Se(16)]),
    byob("eca_resnet33ts", [2, 3, 3, 2], &[Tiered(32), NoPool, Widths(384, 384), Final(1280), Eca]),
];

impl Row {
    pub(crate) const fn source(&self) -> &'static str {
        match self.module {
            Module::ResNet => "timm, resnet",
            Module::ResNetV2 => "timm, resnetv2",
            Module::ByobNet => "timm, byobnet",
        }
    }

    pub(crate) fn config(&self) -> Config {
        let mut config =
            Config { name: self.name.into(), blocks: self.blocks.to_vec(), branch: self.branch, ..Config::default() };
        match self.module {
            Module::ResNet => {}
            Module::ResNetV2 => {
                config.shared_first_activation = false;
                (config.block.order, config.block.naming) = (Order::PreActivation, Naming::ResNetV2);
            }
            Module::ByobNet => {
                config.block.activation = Activation::Silu;
                (config.block.attn_last, config.block.naming) = (false, Naming::Configurable);
            }
        }
        self.parts.iter().for_each(|part| part.add_to(&mut config));
        config
    }
}

impl Part {
    fn add_to(self, config: &mut Config) {
        let block = &mut config.block;
        match self {
            Deep(w) => (config.stem, config.stem_channels) = (Stem::Deep { widths: [w, w] }, 2 * w),
            Tiered(w) => (config.stem, config.stem_channels) = (Stem::Deep { widths: [3 * w / 4, w] }, 2 * w),
            ConvPool => config.stem_pool = StemPool::Convolution,
            AvgDown => block.projection = Projection::Pooled,
            Groups(groups, group_width) => (config.groups, config.group_width) = (groups, group_width),
            ReduceFirst(times) => config.reduce_first = times,
            Down3x3 => block.projection = Projection::Strided3x3,
            Se(reduction) => block.attention = Some(Attention::SqueezeExcitation { reduction }),
            Eca => block.attention = Some(Attention::EfficientChannel),
            Blur => block.anti_alias = Some(AntiAlias::Blur),
            Average => block.anti_alias = Some(AntiAlias::Average),
            GroupSize(size) => config.group_size = Some(size),
            NoPool => config.stem_pool = StemPool::None,
            Widths(third, fourth) => config.widths[2..].copy_from_slice(&[third, fourth]),
            Final(features) => config.final_features = Some(features),
            GroupNorm => block.norm = NormKind::Group { groups: 32 },
            Wide(factor) => {
                config.stem_channels *= factor;
                config.widths.iter_mut().for_each(|width| *width *= factor);
            }
            Bit => {
                (block.norm, block.standardize) = (NormKind::Group { groups: 32 }, Some(1e-8));
                config.stem_pool = StemPool::MaxOverZeros;
            }
            EvoNorm => (block.norm, block.activation) = (NormKind::EvoS0 { groups: 32 }, Activation::None),
            FilterResponse => (block.norm, block.activation) = (NormKind::FilterResponse, Activation::None),
            Pruned(blocks) => config.pruned = blocks.to_vec(),
            Stages(branches, widths) => (config.branches, config.widths) = (branches.to_vec(), widths.to_vec()),
        }
    }
}
