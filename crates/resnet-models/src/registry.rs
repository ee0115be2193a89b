//! The networks by name, in one table.

use resnet_blocks::{BlockOptions, Branch, Order, ShortcutKind, StrideIn};

use crate::weights::nearest;
use crate::{Config, Error, Stem, old_names, timm};

pub(crate) use old_names::renamed;

use Branch::{Basic, Bottleneck, Single};
use ShortcutKind::{A, B, None as Plain};

/// One row: a name, what it stands for, and what was published of it.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Name in the registry.
    pub name: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// Published multiply-adds in 10⁹ as printed (He et al. 2015, Table 1).
    pub published_multiply_adds: Option<f64>,
    family: Family,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Family {
    /// A network of timm's, from parts.
    Timm(timm::Row),
    /// Stages of 64, 128, 256, 512 inner channels on 224×224 images.
    ImageNet { blocks: [usize; 4], branch: Branch, shortcut: ShortcutKind },
    /// The same with a 3×3 stem of stride 1 and no pooling, on 32×32 images of ten classes.
    ImageNetOnCifar { blocks: [usize; 4], branch: Branch, order: Order },
    /// Stages of 16, 32, 64 inner channels, equally deep, on 32×32 images.
    Cifar { blocks: usize, branch: Branch, order: Order, shortcut: ShortcutKind },
}

const fn from_timm(row: timm::Row) -> Entry {
    Entry { name: row.name, source: row.source(), published_multiply_adds: None, family: Family::Timm(row) }
}

const fn imagenet(
    name: &'static str,
    published: f64,
    blocks: [usize; 4],
    branch: Branch,
    shortcut: ShortcutKind,
) -> Entry {
    let source = "He et al. 2015, Table 1";
    Entry {
        name,
        source,
        published_multiply_adds: Some(published),
        family: Family::ImageNet { blocks, branch, shortcut },
    }
}

/// Stride in the 3×3: what torchvision and timm call by these names. The paper prints no multiply-adds for it.
const fn torchvision(name: &'static str, blocks: [usize; 4]) -> Entry {
    let family = Family::ImageNet { blocks, branch: Bottleneck(StrideIn::Middle), shortcut: B };
    Entry { name, source: "torchvision (stride in the 3x3)", published_multiply_adds: None, family }
}

/// ImageNet's networks as most tutorials train them on CIFAR.
const fn on_cifar(name: &'static str, blocks: [usize; 4], branch: Branch) -> Entry {
    let family = Family::ImageNetOnCifar { blocks, branch, order: Order::Original };
    Entry { name, source: "He et al. 2015, Table 1, 3x3 stem", published_multiply_adds: None, family }
}

/// Likewise with pre-activation and without a norm after the last block (as in kuangliu's pytorch-cifar).
const fn preact_on_cifar(name: &'static str, blocks: [usize; 4], branch: Branch) -> Entry {
    let family = Family::ImageNetOnCifar { blocks, branch, order: Order::PreActivation };
    Entry { name, source: "pre-activation, 3x3 stem", published_multiply_adds: None, family }
}

const fn cifar(name: &'static str, blocks: usize, shortcut: ShortcutKind) -> Entry {
    cifar_of(name, blocks, Basic, shortcut)
}

const fn cifar_of(name: &'static str, blocks: usize, branch: Branch, shortcut: ShortcutKind) -> Entry {
    let family = Family::Cifar { blocks, branch, order: Order::Original, shortcut };
    Entry { name, source: "He et al. 2015, 4.2", published_multiply_adds: None, family }
}

const fn preact(name: &'static str, blocks: usize, branch: Branch, shortcut: ShortcutKind) -> Entry {
    let family = Family::Cifar { blocks, branch, order: Order::PreActivation, shortcut };
    Entry { name, source: "He et al. 2016, Table 3", published_multiply_adds: None, family }
}

/// All networks: the papers', then timm's.
pub const NETWORKS: &[Entry] = &{
    let mut all = [PAPERS[0]; PAPERS.len() + timm::ROWS.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = if i < PAPERS.len() { PAPERS[i] } else { from_timm(timm::ROWS[i - PAPERS.len()]) };
        i += 1;
    }
    all
};

const PAPERS: &[Entry] = &[
    imagenet("resnet18", 1.8, [2, 2, 2, 2], Basic, B),
    imagenet("resnet34", 3.6, [3, 4, 6, 3], Basic, B),
    torchvision("resnet50", [3, 4, 6, 3]),
    torchvision("resnet101", [3, 4, 23, 3]),
    torchvision("resnet152", [3, 8, 36, 3]),
    imagenet("resnet50_v1", 3.8, [3, 4, 6, 3], Bottleneck(StrideIn::First), B),
    imagenet("resnet101_v1", 7.6, [3, 4, 23, 3], Bottleneck(StrideIn::First), B),
    imagenet("resnet152_v1", 11.3, [3, 8, 36, 3], Bottleneck(StrideIn::First), B),
    imagenet("plain18", 1.8, [2, 2, 2, 2], Basic, Plain),
    imagenet("plain34", 3.6, [3, 4, 6, 3], Basic, Plain),
    on_cifar("resnet18_cifar", [2, 2, 2, 2], Basic),
    on_cifar("resnet34_cifar", [3, 4, 6, 3], Basic),
    on_cifar("resnet50_cifar", [3, 4, 6, 3], Bottleneck(StrideIn::Middle)),
    on_cifar("resnet101_cifar", [3, 4, 23, 3], Bottleneck(StrideIn::Middle)),
    on_cifar("resnet152_cifar", [3, 8, 36, 3], Bottleneck(StrideIn::Middle)),
    preact_on_cifar("preact_resnet18", [2, 2, 2, 2], Basic),
    preact_on_cifar("preact_resnet34", [3, 4, 6, 3], Basic),
    preact_on_cifar("preact_resnet50", [3, 4, 6, 3], Bottleneck(StrideIn::Middle)),
    preact_on_cifar("preact_resnet101", [3, 4, 23, 3], Bottleneck(StrideIn::Middle)),
    preact_on_cifar("preact_resnet152", [3, 8, 36, 3], Bottleneck(StrideIn::Middle)),
    cifar("resnet20", 3, A),
    cifar("resnet32", 5, A),
    cifar("resnet44", 7, A),
    cifar("resnet56", 9, A),
    cifar("resnet110", 18, A),
    cifar("resnet1202", 200, A),
    Entry { source: "He et al. 2016, Table 3", ..cifar_of("resnet110_1layer", 36, Single, A) },
    cifar("plain20", 3, Plain),
    cifar("plain32", 5, Plain),
    cifar("plain44", 7, Plain),
    cifar("plain56", 9, Plain),
    cifar("plain110", 18, Plain),
    preact("preact_resnet20", 3, Basic, A),
    preact("preact_resnet32", 5, Basic, A),
    preact("preact_resnet44", 7, Basic, A),
    preact("preact_resnet56", 9, Basic, A),
    preact("preact_resnet110", 18, Basic, A),
    preact("preact_resnet110_1layer", 36, Single, A),
    preact("preact_resnet164", 18, Bottleneck(StrideIn::First), B),
    preact("preact_resnet1001", 111, Bottleneck(StrideIn::First), B),
];

/// The names of all networks, in the order of the table.
pub fn names() -> Vec<&'static str> {
    NETWORKS.iter().map(|entry| entry.name).collect()
}

/// The table's row of that name. What follows a dot names weights, not a network: `resnet50.a1_in1k` is `resnet50`. Names
/// that timm gave up (`gluon_resnet50_v1d`) are those that it has for them now.
///
/// # Errors
/// [`Error::UnknownNetwork`] with the nearest name.
pub fn entry(name: &str) -> Result<&'static Entry, Error> {
    let name = renamed(name).unwrap_or(name);
    let name = name.split_once('.').map_or(name, |(network, _)| network);
    NETWORKS.iter().find(|entry| entry.name == name).ok_or_else(|| Error::UnknownNetwork {
        name: name.to_string(),
        nearest: nearest(name, NETWORKS.iter().map(|entry| entry.name)).map(str::to_string),
    })
}

/// The configuration of that name.
///
/// # Errors
/// [`Error::UnknownNetwork`] with the nearest name.
pub fn config(name: &str) -> Result<Config, Error> {
    Ok(entry(name)?.config())
}

impl Entry {
    /// What the name stands for.
    pub fn config(&self) -> Config {
        let name = self.name.to_string();
        match self.family {
            Family::Timm(row) => row.config(),
            Family::ImageNet { blocks, branch, shortcut } => {
                let block = BlockOptions { shortcut, ..BlockOptions::default() };
                Config { name, blocks: blocks.to_vec(), branch, block, ..Config::default() }
            }
            Family::ImageNetOnCifar { blocks, branch, order } => Config {
                name,
                blocks: blocks.to_vec(),
                branch,
                block: BlockOptions { order, ..BlockOptions::default() },
                stem: Stem::Cifar,
                final_norm: false,
                shared_first_activation: false,
                classes: 10,
                image_size: 32,
                ..Config::default()
            },
            Family::Cifar { blocks, branch, order, shortcut } => {
                let block = BlockOptions { order, shortcut, ..BlockOptions::default() };
                Config { branch, block, ..Config::cifar(&name, blocks) }
            }
        }
    }
}
