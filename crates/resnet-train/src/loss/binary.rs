//! Binary cross-entropy: every class a question of its own (Wightman et al. 2021, section 2.3).

use candle_core::{DType, Tensor};

use crate::{Error, Result};

/// Binary cross-entropy of logits, averaged over images and classes, as timm's `BinaryCrossEntropy`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use resnet_train::loss::BinaryCrossEntropy;
/// let logits = Tensor::new(&[[0.5f32, -1.0, 2.0], [10.0, 0.0, -3.0]], &Device::Cpu)?;
/// let targets = Tensor::new(&[[0f32, 0.0, 1.0], [0.0, 1.0, 0.0]], &Device::Cpu)?;
/// let loss = BinaryCrossEntropy::default().forward(&logits, &targets)?.to_scalar::<f32>()?;
/// assert!((loss - 2.02600789).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BinaryCrossEntropy {
    /// Targets above this become 1 and all others 0; without it they stay as they are.
    pub target_threshold: Option<f64>,
}

impl BinaryCrossEntropy {
    /// The mean loss, a scalar of the logits' dtype; f32 for half precision.
    ///
    /// `logits` and `targets` are (N, classes), targets from 0 to 1.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn forward(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        if logits.dims() != targets.dims() || logits.rank() != 2 {
            let (x, t) = (logits.dims(), targets.dims());
            return Err(Error::Invalid(format!("binary cross-entropy: logits of shape {x:?}, targets of shape {t:?}")));
        }
        let logits = match logits.dtype() {
            DType::BF16 | DType::F16 => &logits.to_dtype(DType::F32)?,
            _ => logits,
        };
        let targets = match self.target_threshold {
            Some(threshold) => &targets.gt(threshold)?,
            None => targets,
        };
        let targets = targets.to_dtype(logits.dtype())?;
        let x = logits.detach();
        // log(1 + exp(x)) - x t, in a form that does not overflow.
        let tail = ((x.abs()?.neg()?.exp()? + 1.0)?).log()?;
        let value = ((x.relu()? - (&x * &targets)?)? + tail)?.mean_all()?;
        // The gradient is known, (sigmoid(x) - t) / n; taken through the form above it would be wrong at 0.
        let gradient = ((candle_nn::ops::sigmoid(&x)? - targets)? / logits.elem_count() as f64)?;
        Ok((value + ((logits - &x)? * gradient)?.sum_all()?)?)
    }
}
