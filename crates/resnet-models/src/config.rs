//! A network as data: what the registry's names stand for.

use resnet_blocks::{Branch, Order, ShortcutKind};
use serde::{Deserialize, Serialize};

/// What stands before the first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// 3×3 convolution, stride 1 (He et al. 2015, 4.2).
    Cifar,
    /// 7×7 convolution, stride 2, then a 3×3 max-pool, stride 2 (He et al. 2015, Table 1).
    ImageNet,
}

/// Everything that decides a network's graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Name in the registry.
    pub name: String,
    /// What stands before the first block.
    pub stem: Stem,
    /// Channels of the stem.
    pub stem_channels: usize,
    /// Blocks of each stage.
    pub blocks: Vec<usize>,
    /// Inner channels of each stage's blocks; their outputs are wider by the branch's expansion.
    pub widths: Vec<usize>,
    /// The convolutions of a block.
    pub branch: Branch,
    /// Where norms and activations stand.
    pub order: Order,
    /// The shortcuts.
    pub shortcut: ShortcutKind,
    /// Whether each block's last norm begins with scale 0 (original order only).
    pub zero_init_last: bool,
    /// Number of classes.
    pub classes: usize,
    /// Rows and columns of the images that the network was published for.
    pub image_size: usize,
}

impl Config {
    /// The same network with another number of classes.
    pub fn with_classes(mut self, classes: usize) -> Self {
        self.classes = classes;
        self
    }

    /// Channels of the features that the head classifies.
    pub fn features(&self) -> usize {
        self.widths.last().map_or(self.stem_channels, |width| width * self.branch.expansion())
    }
}
