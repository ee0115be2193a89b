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

#[cfg(feature = "data")]
impl From<Interpolation> for resnet_data::Filter {
    fn from(interpolation: Interpolation) -> Self {
        match interpolation {
            Interpolation::Bilinear => Self::Bilinear,
            Interpolation::Bicubic => Self::Bicubic,
        }
    }
}

#[cfg(feature = "data")]
impl Preprocessing {
    /// What makes a network's input of a picture: f32 (1, 3, size, size). With feature `data`.
    ///
    /// ```
    /// use resnet_data::Image;
    /// use resnet_models::Preprocessing;
    ///
    /// let transform = Preprocessing::default().transform()?;
    /// let photo = Image::filled(300, 400, [124, 116, 104]); // or read_image("photo.jpg")?
    /// assert_eq!(transform.tensor(photo)?.dims(), [1, 3, 224, 224]);
    /// # Ok::<(), resnet_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`resnet_data::Error::Setting`] where the size is 0, the crop not in (0, 1], or a deviation not positive.
    pub fn transform(&self) -> resnet_data::Result<resnet_data::Transform> {
        let normalize = resnet_data::Normalize::channel(self.mean, self.std);
        resnet_data::Transform::center_crop(self.size, self.crop, self.interpolation.into(), normalize)
    }
}

#[cfg(all(test, feature = "data"))]
mod tests {
    use resnet_data::{Augment, Filter};

    use super::*;

    #[test]
    fn the_transform_is_what_the_fields_say() {
        let pictures = Preprocessing { crop: 0.95, interpolation: Interpolation::Bicubic, ..Preprocessing::default() };
        let steps = [Augment::Resize { size: 235, filter: Filter::Bicubic }, Augment::CenterCrop { size: 224 }];
        assert_eq!(pictures.transform().unwrap().steps(), steps);
        assert!(Preprocessing { crop: 1.5, ..pictures }.transform().is_err());
        assert!(Preprocessing { std: [0.0; 3], ..pictures }.transform().is_err());
    }
}
