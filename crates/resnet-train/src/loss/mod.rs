//! Losses of classifiers: softmax cross-entropy and, for recipes that ask for it, binary cross-entropy.

mod binary;
mod targets;
mod weighted;

use candle_core::{DType, Tensor};

pub use binary::BinaryCrossEntropy;
pub use targets::{mixed, one_hot};
pub(crate) use weighted::weighted_cross_entropy;

use crate::{Error, Result};

/// Softmax cross-entropy, averaged over the batch, as PyTorch's `cross_entropy`.
///
/// With targets `q`, smoothed by `s` to `q' = (1 - s) q + s / classes`, the loss of an image is
/// `-sum_c q'_c log softmax(logits)_c` (Szegedy et al. 2015, section 7).
///
/// On the CPU and on CUDA devices it is one operation with a backward pass of its own; elsewhere a chain of candle's.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use resnet_train::loss::CrossEntropy;
/// let logits = Tensor::new(&[[0.5f32, -1.0, 2.0], [10.0, 0.25, -3.0]], &Device::Cpu)?;
/// let labels = Tensor::new(&[2u32, 1], &Device::Cpu)?;
/// let loss = CrossEntropy::default().forward(&logits, &labels)?.to_scalar::<f32>()?;
/// assert!((loss - 4.99568558).abs() < 1e-5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CrossEntropy {
    /// Share of the target spread evenly over all classes, 0 for none.
    pub label_smoothing: f64,
}

impl CrossEntropy {
    /// The mean loss, a scalar of the logits' dtype; f32 for half precision.
    ///
    /// `logits` are (N, classes); `targets` are either labels (N,) of u32 or probabilities (N, classes).
    ///
    /// # Errors
    /// When shapes do not fit, or a label is not below the number of classes; on other devices than the CPU, which are not
    /// waited for, such a label makes the loss NaN or the result undefined.
    pub fn forward(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let (n, classes) = logits.dims2()?;
        if n == 0 || classes == 0 {
            return Err(Error::Invalid(format!("cross-entropy of logits of shape ({n}, {classes})")));
        }
        let hard = targets.rank() == 1;
        let fits = if hard { targets.dims() == [n] } else { targets.dims() == [n, classes] };
        if !fits {
            return Err(Error::Invalid(format!(
                "cross-entropy: logits of shape ({n}, {classes}) want targets of shape ({n},) or ({n}, {classes}), \
                 these have {:?}",
                targets.dims()
            )));
        }
        // Half precision holds neither a sum of many exponentials nor a mean over a batch.
        let logits = match logits.dtype() {
            DType::BF16 | DType::F16 => &logits.to_dtype(DType::F32)?,
            _ => logits,
        };
        let targets = targets.to_dtype(if hard { DType::U32 } else { logits.dtype() })?;
        if hard && targets.device().is_cpu() {
            let labels = targets.to_vec1::<u32>()?;
            if let Some(label) = labels.iter().find(|&&l| l as usize >= classes) {
                return Err(Error::Invalid(format!("label {label} is not below {classes}, the number of classes")));
            }
        }
        Ok(resnet_ops::cross_entropy(logits, &targets, self.label_smoothing)?)
    }
}

#[cfg(test)]
mod tests;
