//! Softmax cross-entropy on any device.

use candle_core::{DType, Result, Tensor};

use crate::{cpu, reference};

/// Softmax cross-entropy of `logits` (N, classes): the mean loss, a scalar, with its gradient.
///
/// `targets` are labels (N) of u32, or probabilities (N, classes) of the logits' dtype; `smoothing` is label smoothing
/// (Szegedy et al. 2015, section 7). In f32 it is one operation with a backward pass of its own on the CPU and on CUDA
/// devices; elsewhere a chain of candle's.
///
/// # Errors
/// If shapes, dtypes or devices do not fit, or a label on the CPU is no class. Other devices are not waited for: there such
/// a label makes the loss NaN or the result undefined.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, smoothing: f64) -> Result<Tensor> {
    match logits.device() {
        candle_core::Device::Cpu if logits.dtype() == DType::F32 => {
            cpu::loss::cross_entropy(logits, targets, smoothing as f32)
        }
        #[cfg(feature = "cuda")]
        candle_core::Device::Cuda(device) if logits.dtype() == DType::F32 => {
            crate::cuda::loss::apply(device.clone(), logits, targets, smoothing as f32)
        }
        _ => reference::cross_entropy(logits, targets, smoothing),
    }
}
