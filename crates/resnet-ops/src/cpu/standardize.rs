//! Convolutions with standardised weights: the weight on its way into the kernels, and its gradient on the way out.

use candle_core::{Result, Tensor, Var};

use super::layout::read;
use crate::reference::standardize_weight;

/// The weight that a convolution multiplies by.
pub(crate) fn effective(weight: &Tensor, standardize: Option<f64>) -> Result<Tensor> {
    match standardize {
        Some(eps) => standardize_weight(&weight.detach(), eps),
        None => Ok(weight.clone()),
    }
}

/// From the gradient of the standardised weight to that of the weight.
pub(crate) fn gradient(weight: &Tensor, eps: f64, g: Vec<f32>) -> Result<Vec<f32>> {
    let weight = Var::from_tensor(&weight.detach())?;
    let g = Tensor::from_vec(g, weight.shape(), weight.device())?;
    let gradients = (standardize_weight(&weight, eps)? * g)?.sum_all()?.backward()?;
    match gradients.get(&weight) {
        Some(gradient) => read(gradient),
        None => Ok(vec![0.; weight.elem_count()]),
    }
}
