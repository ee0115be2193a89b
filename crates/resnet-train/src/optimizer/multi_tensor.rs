//! SGD on a CUDA device: every parameter in one launch.

use candle_core::{DType, Tensor};
use resnet_ops::cuda::{SgdParameter, SgdStep, sgd};

use super::SgdConfig;
use super::sgd::{Slot, Velocity};
use crate::Result;

/// Whether the launch can work on this tensor.
pub(super) fn applies(t: &Tensor) -> bool {
    t.device().is_cuda() && t.dtype() == DType::F32 && t.is_contiguous()
}

/// Takes a step on all slots that have a gradient, or none where one of them is elsewhere or of another dtype; says whether
/// it did.
pub(super) fn step(
    slots: &mut [Slot],
    config: SgdConfig,
    gradients: &[Option<Tensor>],
    scale: f64,
    lr: f64,
) -> Result<bool> {
    let work = || slots.iter().zip(gradients).filter_map(|(slot, gradient)| Some((slot, gradient.as_ref()?)));
    let Some((first, _)) = work().next() else { return Ok(false) };
    let device = first.var.device().clone();
    if !work().all(|(slot, g)| applies(&slot.var) && applies(g) && slot.var.device().same_device(&device)) {
        return Ok(false);
    }
    // Velocities that are new have no values yet.
    let mut new = vec![false; slots.len()];
    if config.momentum != 0.0 {
        for ((slot, gradient), new) in slots.iter_mut().zip(gradients).zip(&mut new) {
            if let (Velocity::Device(velocity @ None), Some(_)) = (&mut slot.velocity, gradient) {
                *velocity = Some(slot.var.zeros_like()?);
                *new = true;
            }
        }
    }
    let mut parameters = Vec::with_capacity(slots.len());
    for ((slot, gradient), &first) in slots.iter().zip(gradients).zip(&new) {
        let Some(gradient) = gradient else { continue };
        let velocity = match &slot.velocity {
            Velocity::Device(velocity) => velocity.as_ref(),
            Velocity::Host(_) => None,
        };
        parameters.push(SgdParameter {
            parameter: slot.var.as_tensor(),
            gradient,
            velocity,
            rate: (lr * slot.lr_scale) as f32,
            decay: slot.weight_decay as f32,
            first,
        });
    }
    let step = SgdStep { scale: scale as f32, momentum: config.momentum as f32, nesterov: config.nesterov };
    sgd(&parameters, step)?;
    Ok(true)
}
