//! How a recipe says what becomes of the bytes.

use resnet_data::{Dataset, Normalize, OnBroken};
use serde::{Deserialize, Serialize};

use crate::Result;

/// The normalisation of a run. What is taken from the training set is taken once, when training starts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Normalization {
    /// `(byte / 255 - mean) / std` with the training set's own mean and deviation of each channel.
    #[default]
    Dataset,
    /// `(byte / 255 - mean) / std` with these.
    Channel {
        /// Means of red, green and blue, in units of 255.
        mean: [f32; 3],
        /// Deviations of red, green and blue, in units of 255.
        std: [f32; 3],
    },
    /// `byte / 255 - mean` with the training set's mean at each pixel (He et al. 2015, section 4.2).
    MeanImage,
}

impl Normalization {
    /// Replaces [`Normalization::Dataset`] by the numbers it stands for.
    ///
    /// # Errors
    /// When an image of the training set cannot be read, unless such images are to be left out.
    pub fn measured(&self, train: &dyn Dataset, on_broken: OnBroken) -> Result<Self> {
        match self {
            Self::Dataset => {
                let (mean, std) = channel_moments(train, on_broken)?;
                Ok(Self::Channel { mean, std })
            }
            other => Ok(other.clone()),
        }
    }

    /// The normalisation for [`resnet_data::Transform`].
    ///
    /// # Errors
    /// When an image of the training set cannot be read, or its images differ in size and a mean image is wanted.
    pub fn resolve(&self, train: &dyn Dataset) -> Result<Normalize> {
        match self.measured(train, OnBroken::Fail)? {
            Self::Channel { mean, std } => Ok(Normalize::channel(mean, std)),
            Self::Dataset | Self::MeanImage => Ok(Normalize::mean_image(train)?),
        }
    }
}

/// Mean and standard deviation of each channel over all pixels, in units of 255. Sums of integers: exact.
fn channel_moments(set: &dyn Dataset, on_broken: OnBroken) -> Result<([f32; 3], [f32; 3])> {
    let (mut sum, mut squares, mut pixels) = ([0u64; 3], [0u64; 3], 0u64);
    for index in 0..set.len() {
        let image = match set.image(index) {
            Err(error) if on_broken == OnBroken::Skip && error.is_about_an_image() => continue,
            image => image?,
        };
        for pixel in image.pixels.chunks_exact(3) {
            for (c, &byte) in pixel.iter().enumerate() {
                sum[c] += u64::from(byte);
                squares[c] += u64::from(byte) * u64::from(byte);
            }
        }
        pixels += image.pixels.len() as u64 / 3;
    }
    let n = pixels.max(1) as f64;
    let mean = sum.map(|s| s as f64 / n);
    let mut std = [0f32; 3];
    for c in 0..3 {
        let variance = (squares[c] as f64 / n - mean[c] * mean[c]).max(0.0);
        // A channel that never changes must not be divided by nothing.
        std[c] = (variance.sqrt().max(1.0) / 255.0) as f32;
    }
    Ok((mean.map(|m| (m / 255.0) as f32), std))
}
