//! What is traded for speed.

/// How convolutions on CUDA devices are computed; for the whole program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Settings {
    /// Lets convolutions of f32 round their operands to TF32 (10 bits of fraction), as PyTorch does by default. It
    /// concerns f32 alone: bf16 and f16 always use the tensor cores.
    pub tf32: bool,
    /// Measures the first plans of cuDNN's estimate at the first convolution of each shape and takes the fastest, as
    /// PyTorch's `cudnn.benchmark`: from run to run results may then differ in their last bits. Without it the estimate
    /// decides, among the plans that give the same bits every time where there is one.
    pub search: bool,
}
