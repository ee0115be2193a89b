//! Batches of images out of a set of bytes.

use candle_core::{Result, Tensor};

use crate::images::{ImageScale, ImageView};

/// The views of `pixels` (images, rows, columns, 3) u8 as (N, 3, `size`) f32: what [`take_images`](crate::take_images)
/// checks holds.
pub(crate) fn take_images(
    pixels: &Tensor,
    views: &[ImageView],
    size: (usize, usize),
    scale: &ImageScale,
) -> Result<Tensor> {
    let (_, height, width, _) = pixels.dims4()?;
    let bytes = pixels.flatten_all()?.to_vec1::<u8>()?;
    let means = scale.mean_image.as_ref().map(|means| means.flatten_all()?.to_vec1::<f32>()).transpose()?;
    let (rows, columns) = size;
    let mut values = Vec::new();
    for view in views {
        for at in 0..3 * rows * columns {
            let (c, i, j) = (at / rows / columns, at / columns % rows, at % columns);
            let j = if view.flip { columns - 1 - j } else { j };
            let (row, column) = (i64::from(view.row) + i as i64, i64::from(view.column) + j as i64);
            let inside = (0..height as i64).contains(&row) && (0..width as i64).contains(&column);
            let (row, column) = (row as usize, column as usize);
            values.push(if inside {
                let value = f32::from(bytes[((view.image as usize * height + row) * width + column) * 3 + c]) / 255.;
                match &means {
                    Some(means) => (value - means[(c * height + row) * width + column]) * scale.deviation[c],
                    None => (value - scale.mean[c]) / scale.deviation[c],
                }
            } else {
                scale.border[c]
            });
        }
    }
    Tensor::from_vec(values, (views.len(), 3, rows, columns), pixels.device())
}
