//! Tensors of candle as maps of the engine, channels-last, and back.

use candle_core::{Result, Tensor};

use super::buffer::Buffer;
use super::element::Element;
use super::threads;
use crate::graph::MapShape;

/// The values of an f32 tensor on the CPU.
pub(crate) fn read(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

/// The values of a tensor of another dtype too.
pub(crate) fn read_f32(tensor: &Tensor) -> Result<Vec<f32>> {
    read(&tensor.to_dtype(candle_core::DType::F32)?)
}

/// Calls `f` with the tensor's values, without a copy where they are contiguous.
pub(crate) fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    if let (candle_core::Storage::Cpu(cpu), Some((start, end))) = (&*storage, layout.contiguous_offsets()) {
        return Ok(f(&cpu.as_slice::<f32>()?[start..end]));
    }
    drop(storage);
    Ok(f(&read(tensor)?))
}

/// A batch (N, C, H, W) as a stored map.
pub(crate) fn channels_last<E: Element>(x: &[f32], n: usize, shape: MapShape) -> Buffer<E> {
    let mut buffer = Buffer::<E>::new(n * shape.count());
    let (pixels, count, shared) = (shape.height * shape.width, shape.count(), buffer.shared());
    threads::static_partition(n, |chunk| {
        for image in chunk {
            // SAFETY: every chunk writes its own images.
            let to = unsafe { std::slice::from_raw_parts_mut(shared.get().add(image * count), count) };
            to_channels_last(&x[image * count..(image + 1) * count], shape.channels, pixels, to);
        }
    });
    buffer
}

/// A stored map as a batch (N, C, H, W).
pub(crate) fn channels_first<E: Element>(values: &Buffer<E>, n: usize, shape: MapShape) -> Vec<f32> {
    let mut out = vec![0f32; n * shape.count()];
    for (image, to) in out.chunks_exact_mut(shape.count().max(1)).enumerate() {
        let from = &values.as_slice()[image * shape.count()..(image + 1) * shape.count()];
        to_channels_first(from, shape.channels, shape.height * shape.width, to);
    }
    out
}

/// (channels, pixels) to (pixels, channels).
pub(crate) fn to_channels_last<E: Element>(x: &[f32], channels: usize, pixels: usize, out: &mut [E]) {
    // Blocks of pixels, so that the strided side stays in the cache.
    for first in (0..pixels).step_by(64) {
        let end = (first + 64).min(pixels);
        for c in 0..channels {
            for p in first..end {
                out[p * channels + c] = E::from_f32(x[c * pixels + p]);
            }
        }
    }
}

/// (pixels, channels) to (channels, pixels).
pub(crate) fn to_channels_first<E: Element>(x: &[E], channels: usize, pixels: usize, out: &mut [f32]) {
    for first in (0..pixels).step_by(64) {
        let end = (first + 64).min(pixels);
        for c in 0..channels {
            for p in first..end {
                out[c * pixels + p] = x[p * channels + c].to_f32();
            }
        }
    }
}
