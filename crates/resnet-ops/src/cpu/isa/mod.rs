//! Which instructions the kernels use, chosen at run time.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// An instruction set that the kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Isa {
    /// Plain Rust.
    Scalar = 1,
    /// AArch64's 128-bit vectors.
    Neon = 2,
    /// 256-bit vectors with fused multiply-add.
    Avx2 = 3,
    /// 512-bit vectors.
    Avx512 = 4,
}

static FORCED: AtomicU8 = AtomicU8::new(0);

impl Isa {
    /// Every instruction set that this processor can execute, the plainest first.
    pub fn available() -> Vec<Isa> {
        let mut all = vec![Isa::Scalar];
        #[cfg(target_arch = "aarch64")]
        all.push(Isa::Neon);
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Isa::Avx2);
            }
            let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            let more = is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512dq");
            if wide && more && all.contains(&Isa::Avx2) {
                all.push(Isa::Avx512);
            }
        }
        all
    }

    /// The one in use: the forced one (see [`force_isa`]), else the best available. The environment variable
    /// `RESNET_ISA` (`scalar`, `neon`, `avx2`, `avx512`), read once, sets an upper bound.
    pub fn current() -> Isa {
        match FORCED.load(Ordering::Relaxed) {
            1 => Isa::Scalar,
            2 => Isa::Neon,
            3 => Isa::Avx2,
            4 => Isa::Avx512,
            _ => Isa::best(),
        }
    }

    fn best() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let bound = match std::env::var("RESNET_ISA").as_deref() {
                Ok("scalar") => Isa::Scalar,
                Ok("neon") => Isa::Neon,
                Ok("avx2") => Isa::Avx2,
                _ => Isa::Avx512,
            };
            let mut fitting = Isa::available().into_iter().filter(|&isa| isa as u8 <= bound as u8);
            fitting.next_back().unwrap_or(Isa::Scalar)
        })
    }
}

/// Makes all kernels use `isa` (if this processor has it) or, with `None`, the best available again.
///
/// Meant for tests and comparisons; it applies to the whole process.
pub fn force_isa(isa: Option<Isa>) {
    let code = isa.filter(|isa| Isa::available().contains(isa)).map_or(0, |isa| isa as u8);
    FORCED.store(code, Ordering::Relaxed);
}

/// Vectors of 16 f32 lanes, whatever the width of the registers.
///
/// # Safety
/// All methods may be called only where the processor has the instruction set, and pointers must be valid for 16
/// values, or for `n` in the `_part` methods, whose other lanes are zero.
pub(crate) trait Simd: Copy + Sized {
    type V: Copy;
    /// Largest number of rows of a register tile that is 1, 2 or 4 vectors wide (0: not at all).
    const ROWS: [usize; 3];
    /// Whether there are so few registers that tiles are one vector wide: fewer than all of its rows are then not enough
    /// sums to hide how long one takes.
    const FEW_REGISTERS: bool = false;
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    unsafe fn load_part(p: *const f32, n: usize) -> Self::V;
    unsafe fn store_part(p: *mut f32, v: Self::V, n: usize);
    unsafe fn load_bf16(p: *const u16) -> Self::V;
    unsafe fn store_bf16(p: *mut u16, v: Self::V);
    /// Two vectors, one behind the other.
    #[inline(always)]
    unsafe fn store_bf16_pair(p: *mut u16, low: Self::V, high: Self::V) {
        // SAFETY: as the caller promises, of 32 values.
        unsafe {
            Self::store_bf16(p, low);
            Self::store_bf16(p.add(16), high);
        }
    }
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// `v` where `m > 0`, else 0.
    unsafe fn where_positive(m: Self::V, v: Self::V) -> Self::V;
    /// Rows become columns.
    #[inline(always)]
    unsafe fn transpose(rows: &mut [Self::V; 16]) {
        let (mut from, mut to) = ([[0f32; 16]; 16], [[0f32; 16]; 16]);
        for (from, &row) in from.iter_mut().zip(&*rows) {
            // SAFETY: the array holds 16 values.
            unsafe { Self::store(from.as_mut_ptr(), row) };
        }
        for i in 0..16 {
            for j in 0..16 {
                to[i][j] = from[j][i];
            }
        }
        for (row, to) in rows.iter_mut().zip(&to) {
            // SAFETY: the array holds 16 values.
            *row = unsafe { Self::load(to.as_ptr()) };
        }
    }
    /// Asks for the cache line of an address, which need not be valid.
    #[inline(always)]
    fn prefetch(_: *const u8) {}
    /// The same pointer in a register of its own, where that pays: the compiler would reach all that is at a fixed distance
    /// from one register, and instructions with far offsets are long.
    #[inline(always)]
    fn in_register(p: *const f32) -> *const f32 {
        p
    }
    /// Runs a part of a kernel, in a frame of its own where nothing is optimised: there every tile that is inlined has
    /// its own place in its caller's frame, and all of them together do not fit into a thread's stack.
    #[cfg(not(unoptimized))]
    #[inline(always)]
    unsafe fn apart<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: as the caller promises.
        unsafe { kernel.run::<Self>() }
    }
    #[cfg(unoptimized)]
    unsafe fn apart<K: Kernel>(kernel: K) -> K::Output;
    /// `acc` plus the product of two vectors of units: f32 values here, sums over pairs of bf16 in [`SimdBf16`].
    #[inline(always)]
    unsafe fn multiply_add(x: Self::V, w: Self::V, acc: Self::V) -> Self::V {
        // SAFETY: as the caller promises.
        unsafe { Self::fma(x, w, acc) }
    }
}

/// Vectors of 16 units of two bf16 values, multiplied pair by pair into f32 sums.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // other processors have no such instructions
pub(crate) trait SimdBf16: Simd {
    /// 32 values as 16 units: neighbours share a unit.
    unsafe fn neighbours(low: Self::V, high: Self::V) -> Self::V;
    /// The values of `a` and `b` (16 each) as 16 units (a₀, b₀), (a₁, b₁), …
    unsafe fn paired(a: Self::V, b: Self::V) -> Self::V;
    /// The bf16 values of `a` and `b` (32 each) as 32 units (a₀, b₀), (a₁, b₁), …
    unsafe fn interleave(a: Self::V, b: Self::V) -> (Self::V, Self::V);
}

/// What products are computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// f32.
    F32,
    /// Products of bf16 values, summed in f32.
    Bf16Dot,
}

impl Arithmetic {
    /// bf16 products for bf16 activations, where the processor has them.
    pub(crate) fn of<E: 'static>(isa: Isa) -> Self {
        #[cfg(target_arch = "x86_64")]
        if isa == Isa::Avx512
            && std::any::TypeId::of::<E>() == std::any::TypeId::of::<crate::cpu::element::Bf16>()
            && is_x86_feature_detected!("avx512bf16")
        {
            return Self::Bf16Dot;
        }
        let _ = isa;
        Self::F32
    }

    /// Values in one 32-bit unit of a scratch.
    pub(crate) const fn values(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16Dot => 2,
        }
    }
}

/// Code that is compiled once for each instruction set. `run` must be `#[inline(always)]`, with all it calls.
pub(crate) trait Kernel {
    type Output;
    /// # Safety
    /// Only called where the processor has the instruction set of `S`; the kernel's own pointers must be valid.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// A kernel that exists for pairs of bf16 only.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // other processors have no such instructions
pub(crate) trait Bf16Kernel {
    /// # Safety
    /// As [`Kernel::run`].
    unsafe fn run_bf16<S: SimdBf16>(self);
}

/// Runs a kernel that multiplies, in the given arithmetic.
///
/// # Safety
/// The kernel's pointers must be valid, `isa` one of [`Isa::available`]; the arithmetic is one that [`Arithmetic::of`] gave.
pub(crate) unsafe fn launch_in<K: Kernel>(isa: Isa, arithmetic: Arithmetic, kernel: K) -> K::Output {
    // SAFETY: as the caller promises: the processor has the instructions of `isa`, and pairs where they were given.
    unsafe {
        match arithmetic {
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Bf16Dot => avx512::launch_in_bf16_dot(kernel),
            _ => launch(isa, kernel),
        }
    }
}

/// # Safety
/// The kernel's pointers must be valid, and [`Arithmetic::of`] have given [`Arithmetic::Bf16Dot`].
#[allow(unused_variables)] // other processors have none
pub(crate) unsafe fn launch_bf16<K: Bf16Kernel>(kernel: K) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as the caller promises: the processor has the instructions.
    unsafe {
        avx512::launch_bf16(kernel)
    }
}

/// Runs a kernel with an instruction set.
///
/// # Safety
/// The kernel's pointers must be valid, `isa` one of [`Isa::available`], as [`Isa::current`] is.
pub(crate) unsafe fn launch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    // SAFETY: as the caller promises: the processor has the instructions of `isa`.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::launch(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::launch(kernel),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => neon::launch(kernel),
            _ => kernel.run::<scalar::Scalar>(),
        }
    }
}
