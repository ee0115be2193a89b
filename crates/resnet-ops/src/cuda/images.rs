//! Batches of images that lie on the device as bytes.

use candle_core::{DType, Result, Tensor};

use super::array::Array;
use super::launch::Grid;
use super::runtime::{Arg, Element, Module, Runtime};
use crate::images::{ImageScale, ImageView, check};

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
    check(pixels, views, size, scale)?;
    let (_, height, width, _) = pixels.dims4()?;
    // Counts end at 2³¹: see `Array::new`.
    let values = [views.len(), size.0, size.1, 3].into_iter().fold(1, usize::saturating_mul);
    let out = Array::of(runtime, values, element)?;
    let table = runtime.upload(&bytes(views))?;
    let means = scale.mean_image.as_ref().map(|means| runtime.tensor_address(means, DType::F32)).transpose()?;
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
        Arg::Address(means.unwrap_or(0)),
        Arg::Int(i32::from(planes)),
        Arg::Address(out.address()),
    ];
    let kernel = format!("take_images_{}", element.suffix());
    // SAFETY: every view names an image of the set; the kernel reads inside of it only, and `out` has room for all.
    unsafe { runtime.launch(Module::Images, &kernel, Grid::over(out.count()), &args)? };
    Ok(out)
}

/// The same as a tensor (N, 3, size.0, size.1) of that dtype, channels-last in memory.
///
/// # Errors
/// As [`take_images`].
#[cfg(feature = "cuda")]
pub(crate) fn batch(
    device: &candle_core::CudaDevice,
    pixels: &Tensor,
    views: &[ImageView],
    size: (usize, usize),
    scale: &ImageScale,
    dtype: DType,
) -> Result<Tensor> {
    let batch = take_images(device, Element::of(dtype)?, pixels, views, size, scale, false)?;
    batch.into_tensor(device, (views.len(), size.0, size.1, 3))?.permute((0, 3, 1, 2))
}
