//! Stochastic gradient descent with momentum (Sutskever et al. 2013, as PyTorch writes it) on any device.

#[cfg(feature = "cuda")]
use candle_core::DType;
use candle_core::{Device, Result, Tensor, Var};

use crate::{cpu, reference};

/// One parameter of a step.
#[derive(Debug)]
pub struct SgdParameter<'a> {
    /// Is written.
    pub parameter: &'a Var,
    /// Has the parameter's shape.
    pub gradient: &'a Tensor,
    /// Is written, with momentum.
    pub velocity: &'a mut Velocity,
    /// Learning rate.
    pub rate: f64,
    /// Weight decay.
    pub decay: f64,
}

/// What all parameters of a step share.
#[derive(Debug, Clone, Copy)]
pub struct SgdStep {
    /// Factor on the gradients.
    pub scale: f64,
    /// Momentum.
    pub momentum: f64,
    /// Nesterov's momentum.
    pub nesterov: bool,
}

/// A parameter's velocity, kept where the kernel of its device wants it.
#[derive(Debug)]
pub struct Velocity(Values);

#[derive(Debug)]
enum Values {
    /// Of f32 on the CPU: beside the parameter, not inside candle. Empty without momentum.
    Host(Vec<f32>),
    /// Of every other device and dtype; made by the first step.
    Tensor(Option<Tensor>),
}

impl Velocity {
    /// That of a parameter before its first step.
    pub fn new(parameter: &Var, momentum: f64) -> Self {
        Self(match cpu::sgd::applies(parameter) {
            true if momentum == 0. => Values::Host(Vec::new()),
            true => Values::Host(vec![0.; parameter.elem_count()]),
            false => Values::Tensor(None),
        })
    }

    /// Whether there is one before the first step too, as zeros.
    pub fn begins_as_zeros(&self) -> bool {
        matches!(&self.0, Values::Host(values) if !values.is_empty())
    }

    /// A copy, in the parameter's shape; none without momentum, or before there is one.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn to_tensor(&self, parameter: &Var) -> Result<Option<Tensor>> {
        match &self.0 {
            Values::Host(values) if values.is_empty() => Ok(None),
            Values::Host(values) => Tensor::from_slice(values, parameter.shape(), &Device::Cpu).map(Some),
            // A step may write velocities in place.
            Values::Tensor(values) => values.as_ref().map(Tensor::copy).transpose(),
        }
    }

    /// Takes up what [`Self::to_tensor`] gave, of the parameter's shape.
    ///
    /// # Errors
    /// If it has another number of values.
    pub fn set(&mut self, parameter: &Var, saved: Option<&Tensor>) -> Result<()> {
        match (&mut self.0, saved) {
            (Values::Host(values), _) if values.is_empty() => {}
            (Values::Host(values), Some(saved)) => {
                let saved: Vec<f32> = saved.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
                if saved.len() != values.len() {
                    bail!("sgd: a velocity of {} values for a parameter of {}", saved.len(), values.len());
                }
                *values = saved;
            }
            (Values::Host(values), None) => values.fill(0.),
            (Values::Tensor(values), saved) => {
                let own = |saved: &Tensor| saved.to_dtype(parameter.dtype())?.to_device(parameter.device())?.copy();
                *values = saved.map(own).transpose()?;
            }
        }
        Ok(())
    }
}

/// One step of SGD for all parameters: on a CUDA device as one launch, in f32 on the CPU as one pass over each parameter's
/// memory, elsewhere out of candle's operations. Parameters and velocities are written in place.
///
/// ```text
/// g = scale * gradient + decay * p
/// v = momentum * v + g          (the first step: v = g)
/// p -= rate * (nesterov ? g + momentum * v : v)
/// ```
///
/// # Errors
/// If shapes, dtypes or devices do not fit.
pub fn sgd(parameters: &mut [SgdParameter], step: SgdStep) -> Result<()> {
    #[cfg(feature = "cuda")]
    if let Some(device) = cuda_device(parameters) {
        return on_cuda(&device, parameters, step);
    }
    for SgdParameter { parameter, gradient, velocity, rate, decay } in parameters {
        match &mut velocity.0 {
            Values::Host(velocity) => cpu::sgd::step(parameter, gradient, velocity, (*rate, *decay), step)?,
            Values::Tensor(velocity) => reference::sgd(parameter, gradient, velocity, (*rate, *decay), step)?,
        }
    }
    Ok(())
}

/// The one CUDA device of all parameters and gradients, if the kernel can work on them.
#[cfg(feature = "cuda")]
fn cuda_device(parameters: &[SgdParameter]) -> Option<candle_core::CudaDevice> {
    let first = parameters.first()?.parameter.device();
    let fits = |t: &Tensor| t.dtype() == DType::F32 && t.is_contiguous() && t.device().same_device(first);
    let all = parameters.iter().all(|p| fits(p.parameter) && fits(p.gradient));
    if all { first.as_cuda_device().ok().cloned() } else { None }
}

#[cfg(feature = "cuda")]
fn on_cuda(device: &candle_core::CudaDevice, parameters: &mut [SgdParameter], step: SgdStep) -> Result<()> {
    use crate::cuda::sgd::{SgdRow, sgd};
    // Velocities that are new have no values yet.
    let mut new = vec![false; parameters.len()];
    if step.momentum != 0. {
        for (p, new) in parameters.iter_mut().zip(&mut new) {
            if let Values::Tensor(velocity @ None) = &mut p.velocity.0 {
                *velocity = Some(p.parameter.zeros_like()?);
                *new = true;
            }
        }
    }
    let rows: Vec<SgdRow> = parameters
        .iter()
        .zip(&new)
        .map(|(p, &first)| SgdRow {
            parameter: p.parameter.as_tensor(),
            gradient: p.gradient,
            velocity: match &p.velocity.0 {
                Values::Tensor(velocity) => velocity.as_ref(),
                Values::Host(_) => None,
            },
            rate: p.rate as f32,
            decay: p.decay as f32,
            first,
        })
        .collect();
    sgd(device, &rows, step)
}
