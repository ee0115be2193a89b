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
}

impl Naming {
    /// The block's norm of that number, counted from 1.
    pub(crate) fn norm(self, number: usize) -> String {
        match self {
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
        }
    }
}
