//! Every operation and golden value on a device, so that one call on a new machine tells whether it computes right.

mod golden;
mod images;
mod inference;
mod large;
mod operations;
mod training;
mod uploads;

use candle_core::{DType, Device, Result, Tensor};
use resnet_ops::device;
use serde::Serialize;

use crate::stack::with_large_stack;

/// One comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What was compared.
    pub check: String,
    /// How far the device is off: the Euclidean norm of the difference as a share of the result's, at worst.
    pub error: f64,
    /// What is allowed.
    pub tolerance: f64,
    /// Whether it is within.
    pub passed: bool,
}

impl Check {
    fn new(check: impl Into<String>, error: Result<f64>, tolerance: f64) -> Self {
        let check = check.into();
        match error {
            Ok(error) => Self { check, error, tolerance, passed: error <= tolerance },
            Err(reason) => Self { check: format!("{check}: {reason}"), error: f64::INFINITY, tolerance, passed: false },
        }
    }
}

/// What a device may be off by: see [`run`].
#[derive(Debug, Clone, Copy)]
struct Tolerances {
    /// A single operation, forwards and backwards.
    operation: f64,
    /// One with a ReLU behind a norm, where a rounded value may be decided otherwise.
    decision: f64,
}

/// Of convolutions in f16: they are off by 4e-4, and by 2.6e-3 and more in bf16, which must not pass for it.
const F16_TOLERANCE: f64 = 1.5e-3;

/// Runs every operation that networks are made of, forwards and backwards, inference, the loss, the optimizer and the
/// networks with golden values in `dtype` (f32 or bf16) on `device`, and compares with the reference in f64 on the CPU and
/// with PyTorch's results; on CUDA devices also what they alone do. `rounded` allows f32 convolutions to round as TF32 does.
/// `done` sees each check.
///
/// Tolerances of operations: in f32 1e-4, several times that with TF32. bf16 rounds each stored value by up to 2⁻⁹, which some
/// operations add up, and moves values across ReLUs. Those of networks are their own (`golden/allowed.rs`).
///
/// # Errors
/// When the comparison itself fails; a device that fails is a check that did not pass.
pub fn run(device: &Device, dtype: DType, rounded: bool, done: &mut (dyn FnMut(&Check) + Send)) -> crate::Result<bool> {
    let tolerances = match dtype {
        DType::F32 if rounded => Tolerances { operation: 3e-3, decision: 1e-2 },
        DType::F32 => Tolerances { operation: 1e-4, decision: 1e-4 },
        _ => Tolerances { operation: 2e-2, decision: 0.15 },
    };
    with_large_stack(|| {
        let mut passed = true;
        let mut tell = |check: Check| {
            passed &= check.passed;
            done(&check);
        };
        for (name, case) in operations::all() {
            for train in [true, false] {
                let error = operations::error(&case, device, dtype, train);
                let when = if train { "training" } else { "evaluation" };
                let tolerance = if name.contains("+ relu") { tolerances.decision } else { tolerances.operation };
                tell(Check::new(format!("{name}, {when}"), error, tolerance));
            }
        }
        if device.is_cuda() {
            // In the size that ResNet-50 is trained in.
            let error = large::error(device, dtype, 256, 224, 8);
            tell(Check::new("256 images of 224x224, as their parts", error, tolerances.operation));
        }
        let error = inference::error(device, dtype);
        tell(Check::new("a network made ready for inference", error, tolerances.operation));
        training::all(device, &mut tell);
        if device.is_cuda() {
            cuda(device, dtype, tolerances, &mut tell);
        }
        let unsupported = device::unsupported_convolutions();
        golden::all(device, dtype, rounded, &mut tell);
        if device.is_cuda() && device::CUDNN {
            tell(convolutions_of_networks(&unsupported));
        }
        Ok(passed)
    })
}

/// That cuDNN does the convolutions of the networks: direct kernels compute the same, slowly. Linear layers, which are
/// convolutions of one pixel, are too small to count, and ten classes are not a number that tensor cores like.
fn convolutions_of_networks(before: &[String]) -> Check {
    let now = device::unsupported_convolutions();
    let of_maps = |line: &&String| !before.contains(line) && !line.contains("oh: 1, ow: 1");
    let unsupported: Vec<String> = now.iter().filter(of_maps).cloned().collect();
    Check::new(format!("convolutions of networks that cuDNN refuses {unsupported:?}"), Ok(unsupported.len() as f64), 0.)
}

/// What CUDA devices alone do.
fn cuda(device: &Device, dtype: DType, tolerances: Tolerances, tell: &mut dyn FnMut(Check)) {
    // Not the dtype of this run, but one that graphs take on these devices.
    for (name, case) in operations::all() {
        if name.starts_with("conv") {
            let error = operations::error(&case, device, DType::F16, true);
            tell(Check::new(format!("{name}, training, f16"), error, F16_TOLERANCE));
        }
    }
    tell(Check::new("uploads, one right behind the other", uploads::error(device, device::upload), 0.));
    for mean_image in [false, true] {
        for taken in [DType::F32, DType::BF16] {
            let name =
                format!("images, normalised by {}, {taken:?}", if mean_image { "mean image" } else { "channel" });
            let example = images::Example::new(mean_image);
            let error = example.and_then(|example| example.error(&example.take(device, taken)?));
            // A value between two of bf16 may go the other way.
            tell(Check::new(name, error, if taken == DType::F32 { 1e-6 } else { 1e-4 }));
        }
    }
    let trained = images::Example::new(true).and_then(|example| {
        let batch = example.take(device, dtype)?;
        example.trained_error(&batch, dtype)
    });
    tell(Check::new("a training step on images of the device", trained, tolerances.operation));
}

/// Repeatable values in ±1, f32 on the CPU.
fn noise(dims: &[usize], seed: u32) -> Result<Tensor> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608. - 1.
    };
    let values: Vec<f32> = (0..dims.iter().product::<usize>()).map(|_| next()).collect();
    Tensor::from_vec(values, dims, &Device::Cpu)
}

/// The largest [`difference`] of two lists of tensors.
fn worst_difference(ours: &[Tensor], reference: &[Tensor]) -> Result<f64> {
    if ours.len() != reference.len() {
        candle_core::bail!("{} results, the reference has {}", ours.len(), reference.len());
    }
    ours.iter().zip(reference).map(|(a, b)| difference(a, b)).try_fold(0., |worst: f64, d| Ok(worst.max(d?)))
}

/// The norm of the difference as a share of the reference's norm; infinite where a value is not finite.
fn difference(ours: &Tensor, reference: &Tensor) -> Result<f64> {
    let to_cpu = |t: &Tensor| t.to_device(&Device::Cpu)?.to_dtype(DType::F64);
    let (ours, reference) = (to_cpu(ours)?, to_cpu(reference)?);
    let norm = |t: &Tensor| t.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>();
    let error = norm(&(ours - &reference)?)? / norm(&reference)?.max(1e-6);
    Ok(if error.is_finite() { error } else { f64::INFINITY })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_processor_passes() {
        for dtype in [DType::F32, DType::BF16] {
            let mut count = 0;
            let mut see = |check: &Check| {
                count += 1;
                assert!(check.passed, "{dtype:?} {check:?}");
            };
            assert!(run(&Device::Cpu, dtype, false, &mut see).unwrap());
            assert!(count > 90, "{count}");
        }
    }

    #[test]
    fn a_wrong_value_does_not_pass() -> Result<()> {
        let right = noise(&[3, 4], 1)?;
        let mut values = right.flatten_all()?.to_vec1::<f32>()?;
        assert_eq!(difference(&right, &right)?, 0.);
        values[7] = -values[7];
        let wrong = Tensor::from_vec(values.clone(), (3, 4), &Device::Cpu)?;
        assert!(!Check::new("sign", difference(&wrong, &right), 1e-2).passed);
        values[7] = f32::NAN;
        let wrong = Tensor::from_vec(values, (3, 4), &Device::Cpu)?;
        assert!(!Check::new("NaN", difference(&wrong, &right), 1e9).passed);
        Ok(())
    }
}
