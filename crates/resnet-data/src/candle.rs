//! Data sets of the `candle-datasets` crate.

use candle_core::{DType, Tensor};
use candle_datasets::vision::Dataset;

use crate::{Error, InMemory, Result};

/// Turns a data set of candle-datasets into its training and its test part.
///
/// Images are f32 from 0 to 1 there, (N, C, H, W) with one or three channels, or (N, H*W) of square grey images
/// (MNIST); they become bytes again. Classes are named by their numbers.
///
/// candle-datasets reads CIFAR-10 from the hub transposed (0.11.1): read it with [`cifar`](crate::cifar) instead.
///
/// # Errors
/// [`Error::Format`] where a tensor has another shape; [`Error::Label`] where a label is no class.
pub fn convert(dataset: &Dataset) -> Result<(InMemory, InMemory)> {
    let classes: Vec<String> = (0..dataset.labels).map(|class| class.to_string()).collect();
    let part = |name: &str, images: &Tensor, labels: &Tensor| {
        let (size, pixels) = pixels(name, images)?;
        let labels = labels.flatten_all()?.to_dtype(DType::U32)?.to_vec1()?;
        InMemory::new(name, size, pixels, labels, classes.clone())
    };
    let train = part("candle-datasets/train", &dataset.train_images, &dataset.train_labels)?;
    Ok((train, part("candle-datasets/test", &dataset.test_images, &dataset.test_labels)?))
}

/// Height, width, and bytes (image, row, column, RGB).
fn pixels(name: &str, images: &Tensor) -> Result<((usize, usize), Vec<u8>)> {
    let images = match *images.dims() {
        [count, area] if area.isqrt().pow(2) == area => images.reshape((count, 1, area.isqrt(), area.isqrt()))?,
        [_, 1 | 3, _, _] => images.clone(),
        ref other => {
            let message = format!("images of shape {other:?}: expected (N, 1 or 3, H, W) or (N, H*W) of squares");
            return Err(Error::format(name, message));
        }
    };
    let (count, channels, height, width) = images.dims4()?;
    let images = if channels == 1 { images.broadcast_as((count, 3, height, width))? } else { images };
    let bytes = ((images.to_dtype(DType::F32)? * 255.0)?.round()?.clamp(0.0, 255.0)?).to_dtype(DType::U8)?;
    Ok(((height, width), bytes.permute((0, 2, 3, 1))?.flatten_all()?.to_vec1()?))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::Dataset as _;

    fn dataset(shape: &[usize]) -> Dataset {
        let count = shape.iter().product::<usize>() as u32;
        let values: Vec<f32> = (0..count).map(|i| (i % 256) as f32 / 255.0).collect();
        let images = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        let labels = Tensor::from_vec((0..shape[0] as u8).collect(), shape[0], &Device::Cpu).unwrap();
        Dataset {
            train_images: images.clone(),
            train_labels: labels.clone(),
            test_images: images,
            test_labels: labels,
            labels: shape[0],
        }
    }

    #[test]
    fn planes_become_pixels() {
        let (train, test) = convert(&dataset(&[2, 3, 2, 4])).unwrap();
        assert_eq!((train.len(), test.len(), train.size()), (2, 2, (2, 4)));
        assert_eq!(train.image(1).unwrap().get(1, 2), Some([24 + 6, 24 + 14, 24 + 22]));
        assert_eq!(test.labels(), [0, 1]);
        let (grey, _) = convert(&dataset(&[2, 9])).unwrap();
        assert_eq!((grey.size(), grey.image(1).unwrap().get(2, 1)), ((3, 3), Some([16; 3])));
        let error = convert(&dataset(&[2, 2, 4, 4])).unwrap_err().to_string();
        assert!(error.contains("[2, 2, 4, 4]"), "{error}");
    }
}
