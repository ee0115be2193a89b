use serde::{Deserialize, Serialize};

/// What the parameters of a block are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Naming {
    /// torchvision's and timm's names: `bn1`, `downsample.0`, `downsample.1`.
    #[default]
    Torchvision,
    /// The names of timm's pre-activation networks: `norm1`, `downsample.conv`.
    ResNetV2,
    /// The names of timm's configurable networks: `conv1_1x1.conv`, `conv1_1x1.bn`, `shortcut.conv`.
    Configurable,
}

impl Naming {
    /// The block's convolution of that number, counted from 1.
    pub(crate) fn conv(self, number: usize, kernel: usize) -> String {
        match self {
            Naming::Torchvision | Naming::ResNetV2 => format!("conv{number}"),
            Naming::Configurable => format!("{}.conv", unit(number, kernel)),
        }
    }

    /// The block's norm of that number, with the kernel of its convolution.
    pub(crate) fn norm(self, number: usize, kernel: usize) -> String {
        match self {
            Naming::Configurable => format!("{}.bn", unit(number, kernel)),
            Naming::Torchvision => format!("bn{number}"),
            Naming::ResNetV2 => format!("norm{number}"),
        }
    }

    /// Convolution and norm of the projection, which a pooling may precede.
    pub(crate) fn projection(self, pooled: bool) -> (&'static str, &'static str) {
        match (self, pooled) {
            (Naming::Torchvision, false) => ("downsample.0", "downsample.1"),
            (Naming::Torchvision, true) => ("downsample.1", "downsample.2"),
            (Naming::ResNetV2, _) => ("downsample.conv", "downsample.norm"),
            (Naming::Configurable, _) => ("shortcut.conv", "shortcut.bn"),
        }
    }

    /// The channel attention.
    pub(crate) fn attention(self) -> &'static str {
        match self {
            Naming::Torchvision | Naming::ResNetV2 => "se",
            Naming::Configurable => "attn",
        }
    }
}

/// A convolution with its norm.
fn unit(number: usize, kernel: usize) -> String {
    if kernel == 1 { format!("conv{number}_1x1") } else { format!("conv{number}_kxk") }
}
