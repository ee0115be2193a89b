//! What lies beyond an image's edges.

use serde::{Deserialize, Serialize};

/// What lies beyond an image's edges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// Bytes of 0, normalised like all others: what torchvision's `RandomCrop(padding=4)` before `Normalize` does.
    /// (With a mean image it is the same as `Mean`.)
    #[default]
    Black,
    /// Zeros in the network's input, which is the mean colour: what He et al. 2015 do, who pad after the mean is
    /// subtracted.
    Mean,
}
