//! Batches of images that lie on the device as bytes.

use candle_core::{DType, Result, Tensor};

use super::array::Array;
use super::launch::Grid;
use super::runtime::{Arg, Element, Module, Runtime};

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

fn bytes(views: &[ImageView]) -> Vec<u8> {
    let fields = |view: &ImageView| [view.image as i32, view.row, view.column, i32::from(view.flip)];
    views.iter().flat_map(fields).flat_map(i32::to_le_bytes).collect()
}

/// The views of `pixels` (images, rows, columns, 3) u8 as (N, 3, size.0, size.1) where `planes`, else (N, size.0, size.1, 3).
///
/// # Errors
/// If a view names no image, or `pixels` is of another rank or dtype.
pub(crate) fn take_images<R: Runtime>(
    runtime: &R,
    element: Element,
    pixels: &Tensor,
    views: &[ImageView],
    size: (usize, usize),
    scale: &ImageScale,
    planes: bool,
) -> Result<Array<R>> {
    let (count, height, width, channels) = pixels.dims4()?;
    if channels != 3 || views.is_empty() || size.0 == 0 || size.1 == 0 {
        bail!("images: {} views of {size:?} of a set {:?}", views.len(), pixels.dims());
    }
    if let Some(view) = views.iter().find(|view| view.image as usize >= count) {
        bail!("images: there is no image {} in a set of {count}", view.image);
    }
    // Counts end at 2³¹: see `Array::new`.
    let values = [views.len(), size.0, size.1, 3].into_iter().fold(1, usize::saturating_mul);
    let out = Array::of(runtime, values, element)?;
    let table = runtime.upload(&bytes(views))?;
    let means = match &scale.mean_image {
        Some(means) if means.dims() == [3, height, width] => runtime.tensor_address(means, DType::F32)?,
        Some(means) => bail!("images: a mean image {:?} of images of {height} x {width}", means.dims()),
        None => 0,
    };
    let by: Vec<f32> = [scale.mean, scale.deviation, scale.border].concat();
    let args = [
        Arg::Address(runtime.tensor_address(pixels, DType::U8)?),
        Arg::Int(height as i32),
        Arg::Int(width as i32),
        Arg::Address(runtime.address(&table)),
        Arg::Int(views.len() as i32),
        Arg::Int(size.0 as i32),
        Arg::Int(size.1 as i32),
        Arg::Channels(std::array::from_fn(|i| by[i])),
        Arg::Address(means),
        Arg::Int(i32::from(planes)),
        Arg::Address(out.address()),
    ];
    let kernel = format!("take_images_{}", element.suffix());
    // SAFETY: every view names an image of the set; the kernel reads inside of it only, and `out` has room for all.
    unsafe { runtime.launch(Module::Images, &kernel, Grid::over(out.count()), &args)? };
    Ok(out)
}
