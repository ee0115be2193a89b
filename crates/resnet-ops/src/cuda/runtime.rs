//! What the engine asks of a device.

use std::fmt::Debug;

use candle_core::{DType, Result, Storage, Tensor};

use super::conv_problem::{ConvPass, ConvProblem};
use super::launch::Grid;

/// What activations are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Element {
    F32,
    Bf16,
    F16,
}

impl Element {
    pub(crate) fn of(dtype: DType) -> Result<Self> {
        match dtype {
            DType::F32 => Ok(Self::F32),
            DType::BF16 => Ok(Self::Bf16),
            DType::F16 => Ok(Self::F16),
            other => bail!("the CUDA engine computes in f32, bf16 or f16, not in {other:?}"),
        }
    }

    pub(crate) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// The end of the kernels' names.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

/// The file of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Module {
    Conv,
    Elementwise,
    Images,
    Layout,
    Loss,
    Norm,
    Optimizer,
    Pool,
}

/// An argument of a kernel, of the size that its C type has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arg {
    Address(u64),
    Int(i32),
    Float(f32),
    /// `struct Conv`
    Conv([i32; 16]),
    /// `struct Window`
    Window([i32; 12]),
    /// `struct Channels`
    Channels([f32; 9]),
}

/// A device with one queue of work: whatever is submitted runs after what was submitted before, and memory that is given
/// back is reused only by work that is submitted later.
pub(crate) trait Runtime: Clone + Debug + Send + Sync + 'static {
    /// Memory on the device, given back when dropped.
    type Memory: Debug + Send + Sync;

    /// Memory whose values are undefined.
    fn allocate(&self, bytes: usize) -> Result<Self::Memory>;

    /// Memory that holds these bytes.
    fn upload(&self, bytes: &[u8]) -> Result<Self::Memory>;

    /// Where it begins: a multiple of 256.
    fn address(&self, memory: &Self::Memory) -> u64;

    /// The first value of a contiguous tensor of that dtype on this device.
    fn tensor_address(&self, tensor: &Tensor, dtype: DType) -> Result<u64>;

    /// The memory as `count` values of candle's.
    fn storage(&self, memory: Self::Memory, dtype: DType, count: usize) -> Result<Storage>;

    /// Submits a kernel.
    ///
    /// # Safety
    /// The arguments must be those of the kernel, and its memory accesses lie within memory that is alive now.
    unsafe fn launch(&self, module: Module, kernel: &str, grid: Grid, args: &[Arg]) -> Result<()>;

    /// Submits a convolution to a library; false, and nothing done, where the library has none for it. `a` and `b` are the operands in
    /// the order of [`ConvPass`]; with `accumulate` the result is added to what `out` holds.
    ///
    /// # Safety
    /// Operands and result must be of the shape's sizes, and alive.
    unsafe fn convolve(
        &self,
        pass: ConvPass,
        shape: &ConvProblem,
        element: Element,
        operands: [u64; 2],
        out: u64,
        accumulate: bool,
    ) -> Result<bool>;
}
