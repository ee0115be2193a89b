//! `--crop`: which parts of an image a network sees in evaluation.

use clap::ValueEnum;
use resnet_train::multi_crop;
pub use resnet_train::multi_crop::MultiCrop;

/// What `--crop` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Crop {
    /// The middle, after the shorter side is resized to 8/7 of the crop; small images of the right size as they are
    Center,
    /// Corners and middle, each mirrored too; probabilities averaged (Krizhevsky et al. 2012)
    Ten,
    /// Whole images at five scales, each mirrored too; probabilities averaged (He et al. 2015)
    Multiscale,
}

impl From<Crop> for multi_crop::Crop {
    fn from(crop: Crop) -> Self {
        match crop {
            Crop::Center => Self::Center,
            Crop::Ten => Self::Ten,
            Crop::Multiscale => Self::Multiscale,
        }
    }
}
