//! Batches out of a set of images on a CUDA device against the same arithmetic here, and as a training takes them.

use candle_core::{DType, Device, Result, Tensor};
use resnet_ops::{ConvConfig, ImageScale, ImageView, take_images};

use super::operations::{Case, case, results};
use super::{difference, noise, worst_difference};

/// The images of a set: square, in number and size as these.
const IMAGES: usize = 5;
const SIDE: usize = 32;

/// A set, and a batch out of it.
#[derive(Debug, Clone)]
pub(super) struct Example {
    /// (images, rows, columns, 3)
    bytes: Vec<u8>,
    views: Vec<ImageView>,
    size: (usize, usize),
    /// On the CPU.
    scale: ImageScale,
}

impl Example {
    /// Crops that reach over all edges, every second one mirrored, less wide than high.
    pub(super) fn new(mean_image: bool) -> Result<Self> {
        let view = |i: i32| ImageView { image: (i * 3 % 5) as u32, row: i - 4, column: 5 - i, flip: i % 2 == 1 };
        Ok(Self {
            bytes: (0..IMAGES * SIDE * SIDE * 3).map(|i| (i * 37 % 251) as u8).collect(),
            views: (0..9).map(view).collect(),
            size: (SIDE, SIDE - 2),
            scale: ImageScale {
                mean_image: if mean_image { Some(noise(&[3, SIDE, SIDE], 8)?) } else { None },
                mean: [0.5, 0.4, 0.3],
                deviation: [0.2, 0.3, 0.4],
                border: [-1., -2., -3.],
            },
        })
    }

    /// The batch as the device makes it.
    pub(super) fn take(&self, device: &Device, dtype: DType) -> Result<Tensor> {
        let means = self.scale.mean_image.as_ref().map(|means| means.to_device(device)).transpose()?;
        let scale = ImageScale { mean_image: means, ..self.scale };
        let pixels = Tensor::from_slice(&self.bytes, (IMAGES, SIDE, SIDE, 3), device)?;
        take_images(&pixels, &self.views, self.size, &scale, dtype)
    }

    /// The batch, f32 on the CPU.
    fn batch(&self) -> Result<Tensor> {
        self.take(&Device::Cpu, DType::F32)
    }

    /// How far this batch is off. Both sides round the same values, so that hardly one should differ.
    pub(super) fn error(&self, batch: &Tensor) -> Result<f64> {
        difference(batch, &self.batch()?.to_dtype(batch.dtype())?)
    }

    /// How far training on this batch, as it lies on its device, is off from training on the one that is made here.
    pub(super) fn trained_error(&self, batch: &Tensor, compute: DType) -> Result<f64> {
        let wanted = self.batch()?.to_dtype(compute)?.to_dtype(DType::F64)?;
        let layers = layers(batch.dims());
        let reference = results(&layers, &wanted, DType::F64, DType::F32, true)?;
        worst_difference(&results(&layers, batch, DType::F32, compute, true)?, &reference)
    }
}

/// No ReLU, which might decide otherwise on rounded values.
fn layers(dims: &[usize]) -> Case {
    case(dims, |g, v| {
        let x = g.conv("conv1", g.input(), &v.weight(&[16, 3, 3, 3])?, None, ConvConfig::square(1, 1));
        Ok(g.norm("bn1", x, &v.norm(16)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong() -> Result<Vec<(&'static str, Example)>> {
        let mut all = Vec::new();
        for mean_image in [false, true] {
            let change = |name: &'static str, change: &dyn Fn(&mut Example)| {
                let mut example = Example::new(mean_image)?;
                change(&mut example);
                Ok::<_, candle_core::Error>((name, example))
            };
            all.push(change("not mirrored", &|e| e.views.iter_mut().for_each(|view| view.flip = false))?);
            all.push(change("a row further", &|e| e.views.iter_mut().for_each(|view| view.row += 1))?);
            all.push(change("a column further", &|e| e.views.iter_mut().for_each(|view| view.column += 1))?);
            all.push(change("another image", &|e| e.views[8].image = 0)?);
            all.push(change("another border", &|e| e.scale.border[1] = 0.)?);
            all.push(change("deviations in another order", &|e| e.scale.deviation.swap(0, 2))?);
        }
        let mut without = Example::new(true)?;
        without.scale.mean_image = None;
        all.push(("no mean image", without));
        Ok(all)
    }

    #[test]
    fn a_wrong_batch_shows_by_itself_and_in_training() -> Result<()> {
        for mean_image in [false, true] {
            let right = Example::new(mean_image)?;
            for dtype in [DType::F32, DType::BF16] {
                let batch = right.batch()?.to_dtype(dtype)?;
                assert_eq!(right.error(&batch)?, 0.);
                let trained = right.trained_error(&batch.to_dtype(DType::F32)?, dtype)?;
                assert!(trained < if dtype == DType::F32 { 1e-4 } else { 2e-2 }, "{dtype:?} {trained}");
            }
        }
        for (name, example) in wrong()? {
            let right = Example::new(name == "no mean image" || example.scale.mean_image.is_some())?;
            let batch = example.batch()?;
            assert!(right.error(&batch)? > 1e-2, "{name}");
            assert!(right.trained_error(&batch, DType::BF16)? > 2e-2, "{name}");
        }
        Ok(())
    }
}
