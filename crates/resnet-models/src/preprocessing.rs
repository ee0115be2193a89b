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

/// What becomes of a picture that is no square.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// It keeps its shape, and what is beyond the middle is cut off.
    #[default]
    Crop,
    /// It is resized to a square, whatever its shape.
    Squash,
}

/// The pictures that weights were made for: the shorter side is resized to `size / crop` (or both are, see [`Fit`]), the
/// middle cut out, and every channel becomes `(byte / 255 - mean) / std`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Rows and columns of the network's input, up to [`Self::MAX_SIZE`].
    pub size: usize,
    /// The input's share of the resized picture's shorter side, in (0, 1].
    pub crop: f64,
    /// What becomes of a picture that is no square.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub fit: Fit,
    /// The filter that resizes.
    pub interpolation: Interpolation,
    /// Means of red, green and blue, in units of 255.
    pub mean: [f32; 3],
    /// Deviations of red, green and blue, in units of 255.
    pub std: [f32; 3],
}

fn is_usual(fit: &Fit) -> bool {
    *fit == Fit::default()
}

impl Default for Preprocessing {
    /// torchvision's for ImageNet: 224 of 256 pixels, bilinear, the training set's mean and deviation.
    fn default() -> Self {
        Self {
            size: 224,
            crop: 0.875,
            fit: Fit::Crop,
            interpolation: Interpolation::Bilinear,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }
}

/// A field of a [`Preprocessing`] that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct BadPreprocessing {
    /// The field.
    pub field: &'static str,
    /// What it is, and what it may be.
    pub message: String,
}

impl Preprocessing {
    /// The largest input in rows and columns: what an unknown file says does not decide how much memory is used.
    pub const MAX_SIZE: usize = 4096;
    /// The largest side that pictures are resized to before the middle is cut out.
    pub const MAX_SIDE: usize = 2 * Self::MAX_SIZE;

    /// The side that the picture's shorter one (or both) is resized to: rounded down, as timm does it.
    pub fn side(&self) -> usize {
        (self.size as f64 / self.crop) as usize
    }

    /// Whether all of it can be.
    ///
    /// # Errors
    /// The first field that cannot.
    pub fn check(&self) -> Result<(), BadPreprocessing> {
        let wrong = |field, message| Err(BadPreprocessing { field, message });
        if !(1..=Self::MAX_SIZE).contains(&self.size) {
            return wrong("size", format!("{} is not in 1 to {} pixels", self.size, Self::MAX_SIZE));
        }
        if !(self.crop > 0.0 && self.crop <= 1.0) {
            return wrong("crop", format!("{} is not in (0, 1]", self.crop));
        }
        if self.side() > Self::MAX_SIDE {
            let (side, most) = (self.side(), Self::MAX_SIDE);
            return wrong("crop", format!("{} resizes pictures to {side} pixels, more than {most}", self.crop));
        }
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            return wrong("mean", format!("{:?} are not three numbers", self.mean));
        }
        if !self.std.iter().all(|std| std.is_finite() && *std > 0.0) {
            return wrong("std", format!("{:?} are not three positive numbers", self.std));
        }
        Ok(())
    }
}

/// The share `size / side`, so that [`Preprocessing::side`] gives the side again whatever the rounding.
pub(crate) fn share(size: usize, side: usize) -> f64 {
    let share = size as f64 / side as f64;
    if (size as f64 / share) as usize == side { share } else { size as f64 / (side as f64 + 0.5) }
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
    /// [`resnet_data::Error::Setting`] where a field cannot be, see [`Preprocessing::check`].
    pub fn transform(&self) -> resnet_data::Result<resnet_data::Transform> {
        use resnet_data::{Augment, Error, Normalize, Transform};
        self.check().map_err(|error| Error::Setting { setting: error.field, message: error.message })?;
        let (size, filter) = (self.side(), self.interpolation.into());
        let resize = match self.fit {
            Fit::Crop => Augment::Resize { size, filter },
            Fit::Squash => Augment::Squash { size, filter },
        };
        let steps = vec![resize, Augment::CenterCrop { size: self.size }];
        Transform::new(steps, Normalize::channel(self.mean, self.std))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_limits_and_shares_give_their_side_again() {
        for size in 1..=300 {
            for side in size..size + 300 {
                let own = Preprocessing { size, crop: share(size, side), ..Preprocessing::default() };
                assert_eq!((own.side(), own.check()), (side, Ok(())), "{size} of {side}");
            }
        }
        let field = |own: Preprocessing| own.check().unwrap_err().field;
        let usual = Preprocessing::default();
        assert_eq!(field(Preprocessing { size: 0, ..usual }), "size");
        assert_eq!(field(Preprocessing { size: 4097, ..usual }), "size");
        assert_eq!(field(Preprocessing { crop: f64::NAN, ..usual }), "crop");
        assert_eq!(field(Preprocessing { crop: 1e-9, ..usual }), "crop");
        assert_eq!(field(Preprocessing { mean: [f32::INFINITY; 3], ..usual }), "mean");
        assert_eq!(field(Preprocessing { std: [-1.0; 3], ..usual }), "std");
    }

    /// Files from before there was a `fit` are read, and files that need none are as they were.
    #[test]
    fn the_usual_fit_is_not_written() {
        let usual = Preprocessing::default();
        let text = serde_json::to_string(&usual).unwrap();
        assert!(!text.contains("fit"), "{text}");
        assert_eq!(serde_json::from_str::<Preprocessing>(&text).unwrap(), usual);
        let squash = Preprocessing { fit: Fit::Squash, ..usual };
        let text = serde_json::to_string(&squash).unwrap();
        assert!(text.contains(r#""fit":"squash""#), "{text}");
        assert_eq!(serde_json::from_str::<Preprocessing>(&text).unwrap(), squash);
    }

    #[cfg(feature = "data")]
    #[test]
    fn the_transform_is_what_the_fields_say() {
        use resnet_data::{Augment, Filter};
        let pictures = Preprocessing { crop: 0.95, interpolation: Interpolation::Bicubic, ..Preprocessing::default() };
        let steps = [Augment::Resize { size: 235, filter: Filter::Bicubic }, Augment::CenterCrop { size: 224 }];
        assert_eq!(pictures.transform().unwrap().steps(), steps);
        let steps = [Augment::Squash { size: 235, filter: Filter::Bicubic }, Augment::CenterCrop { size: 224 }];
        assert_eq!(Preprocessing { fit: Fit::Squash, ..pictures }.transform().unwrap().steps(), steps);
        assert!(Preprocessing { crop: 1.5, ..pictures }.transform().is_err());
        assert!(Preprocessing { std: [0.0; 3], ..pictures }.transform().is_err());
    }
}
