//! One pass over a parameter's memory: candle in-place ops for contiguous f32 tensors on the CPU.
//!
//! A step made of tensor operations reads and writes each array several times over; memory
//! bandwidth is all that such a step costs, so everything is done while a value is in a register.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Result, Storage, Tensor, bail};
use rayon::prelude::*;

/// Values that one task works on. Shorter tensors are done by the calling thread.
const CHUNK: usize = 1 << 15;

/// Whether the fused kernels can work on this tensor.
pub(super) fn applies(t: &Tensor) -> bool {
    t.device().is_cpu() && t.dtype() == DType::F32 && t.is_contiguous()
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout, op: &str) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(v), Some((start, end))) => Ok(&v[start..end]),
        _ => bail!("{op}: wants contiguous f32 tensors on the CPU"),
    }
}

fn values_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout, op: &str) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(v), Some((start, end))) => Ok(&mut v[start..end]),
        _ => bail!("{op}: wants contiguous f32 tensors on the CPU"),
    }
}

fn for_chunks2(p: &mut [f32], g: &[f32], f: impl Fn(&mut [f32], &[f32]) + Sync) {
    if p.len() <= CHUNK {
        f(p, g);
    } else {
        p.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).for_each(|(p, g)| f(p, g));
    }
}

/// Moves `average` towards the tensor: `average += (1 - decay) * (value - average)`.
pub(super) fn average_into(average: &mut [f32], value: &Tensor, decay: f64) -> Result<()> {
    read(value, "ema", |value| {
        if value.len() != average.len() {
            bail!("ema: {} values averaged with {}", average.len(), value.len());
        }
        let rate = (1.0 - decay) as f32;
        for_chunks2(average, value, |a, v| {
            for (a, v) in a.iter_mut().zip(v) {
                *a += rate * (v - *a);
            }
        });
        Ok(())
    })
}

/// Copies the tensor's values.
pub(super) fn copy_into(to: &mut [f32], value: &Tensor) -> Result<()> {
    read(value, "copy", |value| {
        if value.len() != to.len() {
            bail!("copy: {} values into {}", value.len(), to.len());
        }
        to.copy_from_slice(value);
        Ok(())
    })
}

/// Exchanges a tensor's values with a slice's.
pub(super) struct SwapOp<'a>(Mutex<&'a mut [f32]>);

impl<'a> SwapOp<'a> {
    pub(super) fn new(values: &'a mut [f32]) -> Self {
        Self(Mutex::new(values))
    }
}

impl InplaceOp1 for SwapOp<'_> {
    fn name(&self) -> &'static str {
        "swap"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let p = values_mut(storage, layout, "swap")?;
        let mut v = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if p.len() != v.len() {
            bail!("swap: {} values for {}", v.len(), p.len());
        }
        p.swap_with_slice(&mut v);
        Ok(())
    }
}

fn read<T>(t: &Tensor, op: &str, f: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = t.storage_and_layout();
    match &*storage {
        Storage::Cpu(s) => f(values(s, layout, op)?),
        _ => bail!("{op}: wants a tensor on the CPU"),
    }
}

/// The sum of squares in f64, the same whatever the number of threads: partial sums of fixed chunks
/// are added in order.
pub(super) fn sum_of_squares(t: &Tensor) -> Result<f64> {
    read(t, "norm", |v| {
        let one = |c: &[f32]| c.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        Ok(if v.len() <= CHUNK { one(v) } else { v.par_chunks(CHUNK).map(one).collect::<Vec<_>>().iter().sum() })
    })
}

/// Whether every value is finite.
pub(super) fn all_finite(t: &Tensor) -> Result<bool> {
    read(t, "finite", |v| {
        // An exponent of all ones is infinite or NaN; without an early exit the loop is vectorised.
        let one = |c: &[f32]| c.iter().fold(true, |ok, x| ok & (x.to_bits() & 0x7f80_0000 != 0x7f80_0000));
        Ok(v.par_chunks(CHUNK).all(one))
    })
}
