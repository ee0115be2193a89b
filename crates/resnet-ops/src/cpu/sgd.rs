//! SGD as one pass over a parameter's memory: an in-place op of candle's for contiguous f32 tensors.
//!
//! A step made of tensor operations reads and writes each array several times over; memory bandwidth is all that such a step
//! costs, so everything is done while a value is in a register.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Tensor, Var};
use rayon::prelude::*;

use crate::sgd::SgdStep;

/// Values that one task works on. Shorter tensors are done by the calling thread.
const CHUNK: usize = 1 << 15;

/// Whether the kernel can work on this tensor.
pub(crate) fn applies(t: &Tensor) -> bool {
    t.device().is_cpu() && t.dtype() == DType::F32 && t.is_contiguous()
}

/// Takes a step on one parameter; `velocity` is empty without momentum.
pub(crate) fn step(
    parameter: &Var,
    gradient: &Tensor,
    velocity: &mut [f32],
    (rate, decay): (f64, f64),
    step: SgdStep,
) -> Result<()> {
    let factors = Factors {
        rate: rate as f32,
        momentum: step.momentum as f32,
        nesterov: step.nesterov,
        decay: decay as f32,
        scale: step.scale as f32,
    };
    parameter.inplace_op2(&gradient.contiguous()?, &SgdOp { factors, velocity: Mutex::new(velocity) })
}

#[derive(Debug, Clone, Copy)]
struct Factors {
    rate: f32,
    momentum: f32,
    nesterov: bool,
    decay: f32,
    /// On the gradient: clipping and the mean over accumulated batches.
    scale: f32,
}

/// SGD on (parameter, gradient), with the velocity outside of candle's storages.
struct SgdOp<'a> {
    factors: Factors,
    velocity: Mutex<&'a mut [f32]>,
}

impl InplaceOp2 for SgdOp<'_> {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        let (CpuStorage::F32(p), CpuStorage::F32(g), Some(to), Some(from)) =
            (s1, s2, l1.contiguous_offsets(), l2.contiguous_offsets())
        else {
            bail!("sgd: wants contiguous f32 tensors on the CPU")
        };
        let (p, g) = (&mut p[to.0..to.1], &g[from.0..from.1]);
        let mut v = self.velocity.lock().unwrap_or_else(PoisonError::into_inner);
        // Without momentum PyTorch keeps no velocity, and neither do we.
        if p.len() != g.len() || (!v.is_empty() && v.len() != p.len()) {
            bail!("sgd: parameter, gradient and velocity have {}, {} and {} values", p.len(), g.len(), v.len());
        }
        let factors = self.factors;
        let v: &mut [f32] = &mut v;
        match (v.is_empty(), p.len() <= CHUNK) {
            (true, true) => plain(factors, p, g),
            (true, false) => {
                p.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).for_each(|(p, g)| plain(factors, p, g));
            }
            (false, true) => with_momentum(factors, p, g, v),
            (false, false) => p
                .par_chunks_mut(CHUNK)
                .zip(g.par_chunks(CHUNK))
                .zip(v.par_chunks_mut(CHUNK))
                .for_each(|((p, g), v)| with_momentum(factors, p, g, v)),
        }
        Ok(())
    }
}

fn plain(s: Factors, p: &mut [f32], g: &[f32]) {
    for (p, g) in p.iter_mut().zip(g) {
        *p -= s.rate * (g * s.scale + s.decay * *p);
    }
}

fn with_momentum(s: Factors, p: &mut [f32], g: &[f32], v: &mut [f32]) {
    if s.nesterov {
        for ((p, g), v) in p.iter_mut().zip(g).zip(v) {
            let g = g * s.scale + s.decay * *p;
            *v = s.momentum * *v + g;
            *p -= s.rate * (g + s.momentum * *v);
        }
    } else {
        for ((p, g), v) in p.iter_mut().zip(g).zip(v) {
            let g = g * s.scale + s.decay * *p;
            *v = s.momentum * *v + g;
            *p -= s.rate * *v;
        }
    }
}
