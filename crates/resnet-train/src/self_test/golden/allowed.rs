//! How far a device may be off from PyTorch's results on a network.

use candle_core::DType;

/// As shares: see `resnet_models::golden`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    pub logits: f64,
    pub running: f64,
    /// The gradient that is farthest off.
    pub gradient: f64,
    /// The root of the mean square of all gradients' differences.
    pub gradients: f64,
    /// Of each training step.
    pub losses: [f64; 3],
}

impl Allowed {
    /// `rounded` is f32 whose convolutions round as TF32 does.
    pub(super) fn of(arch: &str, dtype: DType, rounded: bool) -> Self {
        match dtype {
            DType::F32 if rounded => tf32(arch),
            DType::F32 => f32(arch),
            _ => bf16(arch),
        }
    }
}

/// As the tests of the golden files allow or, where the next device's order of sums may decide, twice what was measured. Some
/// activations lie on the edge of a ReLU: in plain20 and preact_resnet20 inputs changed by 3e-6 turn one, which moves a norm by
/// 0.2 and 0.6 %. ResNet-50's gradients depend on the order of sums by 1.5 %, its later losses by 4 and 11 %.
fn f32(arch: &str) -> Allowed {
    let usual = Allowed { logits: 1e-4, running: 1e-4, gradient: 1e-3, gradients: 3e-4, losses: [1e-3; 3] };
    match arch {
        "plain20" | "preact_resnet20" => Allowed { gradient: 1e-2, gradients: 4e-3, ..usual },
        "resnet50" => Allowed { gradient: 3e-2, gradients: 6e-3, losses: [1e-3, 0.1, 0.2], ..usual },
        _ => usual,
    }
}

/// A third of bf16's: with operands of convolutions rounded to 10 bits of fraction, the kernels for CUDA devices, run on a
/// CPU, turned some ReLUs too, and gave up to half of that (plain20's gradients: 0.09).
fn tf32(arch: &str) -> Allowed {
    let (f32, bf16) = (f32(arch), bf16(arch));
    let between = |f32: f64, bf16: f64| f32.max(bf16 / 3.);
    Allowed {
        logits: between(f32.logits, bf16.logits),
        running: between(f32.running, bf16.running),
        gradient: between(f32.gradient, bf16.gradient),
        gradients: between(f32.gradients, bf16.gradients),
        losses: std::array::from_fn(|i| between(f32.losses[i], bf16.losses[i])),
    }
}

/// About twice the largest of a dozen measurements: by this engine on a CPU, with AVX2 and without vectors, on inputs changed
/// by up to 2e-3 too; and (all but ResNet-50) by the kernels for CUDA devices run on one. Rounding by 2⁻⁹ moves values across
/// ReLUs: networks without shortcuts and norms of few values (ResNet-50: 16 in the last) feel it most. A gradient that
/// is not there is off by 1.
fn bf16(arch: &str) -> Allowed {
    let row = |running, gradient, gradients, losses| Allowed { logits: 1.2e-2, running, gradient, gradients, losses };
    match arch {
        "plain20" => row(4e-3, 0.65, 0.18, [3e-3, 8e-3, 8e-3]),
        "resnet20" => row(3e-3, 0.25, 0.08, [1e-3, 2e-3, 2e-3]),
        "preact_resnet20" => row(2e-3, 0.55, 0.12, [1e-3; 3]),
        "resnet18" => row(6e-2, 0.25, 0.08, [3e-3, 8e-3, 2.5e-2]),
        _ => row(0.4, 0.9, 0.27, [3.5e-2, 0.12, 0.2]),
    }
}
