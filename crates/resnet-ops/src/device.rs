//! Which devices this build has, how they are opened, and how tensors reach them.

use candle_core::{Device, Result, Tensor};

/// Whether this build has CUDA devices (feature `cuda`).
pub const CUDA: bool = cfg!(feature = "cuda");

/// Whether convolutions on CUDA devices are cuDNN's (feature `cudnn`).
pub const CUDNN: bool = cfg!(feature = "cudnn");

/// Whether this build has Apple's graphics processors (feature `metal`).
pub const METAL: bool = cfg!(feature = "metal");

/// How convolutions on CUDA devices are computed; for the whole program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CudaSettings {
    /// Lets convolutions of f32 round their operands to TF32 (10 bits of fraction), as PyTorch does by default. It
    /// concerns f32 alone: bf16 and f16 always use the tensor cores.
    pub tf32: bool,
    /// Measures the first plans of cuDNN's estimate at the first convolution of each shape and takes the fastest, as
    /// PyTorch's `cudnn.benchmark`: from run to run results may then differ in their last bits. Without it the estimate
    /// decides, among the plans that give the same bits every time where there is one.
    pub search: bool,
}

/// The CUDA device of that number, with a stream of its own, on which nothing makes the host wait.
///
/// # Errors
/// If this build has none, there is no such device, or no driver.
pub fn open_cuda(ordinal: usize) -> Result<Device> {
    #[cfg(feature = "cuda")]
    return crate::cuda::open(ordinal);
    #[cfg(not(feature = "cuda"))]
    bail!("cuda:{ordinal}: this program was built without CUDA (feature `cuda`)");
}

/// Sets how convolutions on CUDA devices are computed.
pub fn set_cuda_settings(settings: CudaSettings) {
    #[cfg(feature = "cuda")]
    crate::cuda::set_settings(settings);
    #[cfg(not(feature = "cuda"))]
    let CudaSettings { .. } = settings;
}

/// The convolutions of this program that cuDNN has had no algorithm for so far, a line each: slow kernels stood in. None
/// without the feature `cudnn`, where direct kernels do them all.
pub fn unsupported_convolutions() -> Vec<String> {
    #[cfg(feature = "cuda")]
    return crate::cuda::unsupported_convolutions();
    #[cfg(not(feature = "cuda"))]
    Vec::new()
}

/// What a CUDA device calls itself.
pub fn model(device: &Device) -> Option<String> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => cuda.cuda_stream().context().name().ok(),
        _ => None,
    }
}

/// The tensor on that device. A CUDA device fetches large f32 tensors after the work that was submitted before, and the host
/// goes on meanwhile.
///
/// # Errors
/// If the device has no memory left.
pub fn upload(tensor: &Tensor, device: &Device) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    return crate::cuda::upload(tensor, device);
    #[cfg(not(feature = "cuda"))]
    tensor.to_device(device)
}
