//! What becomes of a picture before a network sees it.

use serde::{Deserialize, Serialize};

/// How pixels between pixels are computed when a picture is resized (with antialiasing, as Pillow does it).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Linear between two pixels.
    #[default]
    Bilinear,
    /// Cubic between four.
    Bicubic,
}

/// The pictures that weights were made for: the shorter side is resized to `size / crop`, the middle cut out, and
/// every channel becomes `(byte / 255 - mean) / std`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Rows and columns of the network's input.
    pub size: usize,
    /// The input's share of the resized picture's shorter side, in (0, 1].
    pub crop: f64,
    /// The filter that resizes.
    pub interpolation: Interpolation,
    /// Means of red, green and blue, in units of 255.
    pub mean: [f32; 3],
    /// Deviations of red, green and blue, in units of 255.
    pub std: [f32; 3],
}

impl Default for Preprocessing {
    /// torchvision's for ImageNet: 224 of 256 pixels, bilinear, the training set's mean and deviation.
    fn default() -> Self {
        Self {
            size: 224,
            crop: 0.875,
            interpolation: Interpolation::Bilinear,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }
}
