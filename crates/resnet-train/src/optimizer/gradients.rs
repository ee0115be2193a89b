//! The gradients of one optimizer step: of one batch, or summed over several.

use candle_core::{DType, Tensor, Var, backprop::GradStore};

use super::fused;
use crate::Result;

/// One gradient a parameter, in the parameters' order; none for a parameter that the loss does not reach.
///
/// Gradients of several batches are summed with the batches' sizes as weights, so that [`Gradients::scale`]
/// makes the mean over all images out of the sum: the gradient of one batch of them all (batch
/// statistics apart).
#[derive(Debug, Default)]
pub struct Gradients {
    tensors: Vec<Option<Tensor>>,
    images: usize,
    batches: usize,
}

impl Gradients {
    /// No gradient yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of one batch.
    pub fn of(parameters: &[(String, Var)], store: &GradStore) -> Self {
        let tensors = parameters.iter().map(|(_, var)| store.get(var).cloned()).collect();
        Self { tensors, images: 1, batches: 1 }
    }

    /// Adds the gradients of a mean loss over `images` images.
    pub fn add(&mut self, parameters: &[(String, Var)], mut store: GradStore, images: usize) -> Result<()> {
        let new: Vec<Option<Tensor>> = parameters.iter().map(|(_, var)| store.remove(var)).collect();
        if self.batches == 0 {
            self.tensors = new;
        } else {
            if self.batches == 1 {
                // The first batch is scaled only now: with one batch a step, no pass over it is needed.
                for t in self.tensors.iter_mut().flatten() {
                    *t = (&*t * self.images as f64)?;
                }
            }
            for (sum, new) in self.tensors.iter_mut().zip(new) {
                *sum = match (sum.take(), new) {
                    (Some(sum), Some(new)) => Some((sum + (new * images as f64)?)?),
                    (None, Some(new)) => Some((new * images as f64)?),
                    (sum, None) => sum,
                };
            }
        }
        self.images += images;
        self.batches += 1;
        Ok(())
    }

    /// Batches summed so far.
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// The factor that makes the mean over all images out of [`Gradients::tensors`].
    pub fn scale(&self) -> f64 {
        if self.batches <= 1 { 1.0 } else { 1.0 / self.images as f64 }
    }

    /// The gradients, to be multiplied by [`Gradients::scale`].
    pub fn tensors(&self) -> &[Option<Tensor>] {
        &self.tensors
    }

    /// The Euclidean norm of all gradients together, scale included, as PyTorch's `clip_grad_norm_`
    /// takes it.
    pub fn norm(&self) -> Result<f64> {
        let mut sum = 0f64;
        // On other devices all sums are read at once: the device is waited for once.
        let mut elsewhere = Vec::new();
        for t in self.tensors.iter().flatten() {
            if fused::applies(t) {
                sum += fused::sum_of_squares(t)?;
            } else {
                elsewhere.push(t.to_dtype(DType::F32)?.sqr()?.sum_all()?);
            }
        }
        if !elsewhere.is_empty() {
            sum += Tensor::stack(&elsewhere, 0)?.to_vec1::<f32>()?.into_iter().map(f64::from).sum::<f64>();
        }
        Ok(sum.sqrt() * self.scale())
    }

    /// The scale that also shortens the gradients to a norm of at most `max_norm`, and the norm before.
    /// PyTorch's formula: `max_norm / (norm + 1e-6)`, at most 1.
    pub fn clipped_scale(&self, max_norm: f64) -> Result<(f64, f64)> {
        let norm = self.norm()?;
        Ok((self.scale() * (max_norm / (norm + 1e-6)).min(1.0), norm))
    }
}
