//! Batches of images out of a set that lies on a device as bytes.

use candle_core::{DType, Result, Tensor};

use crate::reference;

/// What is seen of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageView {
    /// Its place in the set.
    pub image: u32,
    /// Row of the image that the first row of the crop shows; negative above the image.
    pub row: i32,
    /// Column of the image that the first column of the crop shows; negative left of the image.
    pub column: i32,
    /// Whether the crop is mirrored left and right.
    pub flip: bool,
}

/// Normalisation of a batch: `(byte / 255 − mean) / deviation` by channel, or `(byte / 255 − mean) · factor` with a mean
/// image; beyond the edges stands `border`.
#[derive(Debug, Clone)]
pub struct ImageScale {
    /// Means of every place, (3, rows, columns) f32 on the images' device; `mean` counts for nothing then, and `deviation`
    /// is a factor.
    pub mean_image: Option<Tensor>,
    /// Mean of each channel, of values in [0, 1].
    pub mean: [f32; 3],
    /// Standard deviation of each channel.
    pub deviation: [f32; 3],
    /// What the batch holds beyond an image's edges.
    pub border: [f32; 3],
}

/// A batch of images out of a set: `pixels` (images, rows, columns, 3) u8 to (N, 3, `size`) of `dtype` (f32, bf16 or f16),
/// normalised, cropped and mirrored as each view says. On a CUDA device one launch makes it of the bytes that lie there, and
/// the values lie channels-last in memory, as the engine takes them.
///
/// # Errors
/// If a view names no image, or shapes, dtypes or devices do not fit.
pub fn take_images(
    pixels: &Tensor,
    views: &[ImageView],
    size: (usize, usize),
    scale: &ImageScale,
    dtype: DType,
) -> Result<Tensor> {
    check(pixels, views, size, scale)?;
    match pixels.device() {
        #[cfg(feature = "cuda")]
        candle_core::Device::Cuda(device) => crate::cuda::images::batch(device, pixels, views, size, scale, dtype),
        _ => reference::take_images(pixels, views, size, scale)?.to_dtype(dtype),
    }
}

/// # Errors
/// If a view names no image, or a shape does not fit.
pub(crate) fn check(pixels: &Tensor, views: &[ImageView], size: (usize, usize), scale: &ImageScale) -> Result<()> {
    let (count, height, width, channels) = pixels.dims4()?;
    if channels != 3 || views.is_empty() || size.0 == 0 || size.1 == 0 {
        bail!("images: {} views of {size:?} of a set {:?}", views.len(), pixels.dims());
    }
    if let Some(view) = views.iter().find(|view| view.image as usize >= count) {
        bail!("images: there is no image {} in a set of {count}", view.image);
    }
    match &scale.mean_image {
        Some(means) if means.dims() != [3, height, width] => {
            bail!("images: a mean image {:?} of images of {height} x {width}", means.dims())
        }
        _ => Ok(()),
    }
}
