//! [`Runtime`] on a CUDA device.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, CudaSlice, DevicePtr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, DeviceId};
use candle_core::{CudaDevice, CudaStorage, DType, Error, Result, Storage, Tensor};
use half::{bf16, f16};

use crate::cuda::conv_problem::{ConvPass, ConvProblem};
use crate::cuda::launch::{Grid, THREADS};
use crate::cuda::runtime::{Arg, Element, Module, Runtime};

/// Name and PTX of a module.
fn module(module: Module) -> (&'static str, &'static str) {
    macro_rules! ptx {
        ($name:literal) => {
            (concat!("resnet-ops-", $name), include_str!(concat!(env!("OUT_DIR"), "/", $name, ".ptx")))
        };
    }
    match module {
        Module::Conv => ptx!("conv"),
        Module::Elementwise => ptx!("elementwise"),
        Module::Images => ptx!("images"),
        Module::Layout => ptx!("layout"),
        Module::Loss => ptx!("loss"),
        Module::Norm => ptx!("norm"),
        Module::Optimizer => ptx!("optimizer"),
        Module::Pool => ptx!("pool"),
    }
}

thread_local! {
    static FUNCTIONS: RefCell<HashMap<DeviceId, HashMap<String, CudaFunction>>> = RefCell::default();
}

fn function(device: &CudaDevice, of: Module, kernel: &str) -> Result<CudaFunction> {
    FUNCTIONS.with(|functions| {
        let mut functions = functions.borrow_mut();
        let functions = functions.entry(device.id()).or_default();
        if let Some(function) = functions.get(kernel) {
            return Ok(function.clone());
        }
        let (name, ptx) = module(of);
        let function = device.get_or_load_custom_func(kernel, name, ptx)?.into_cuda_function();
        functions.insert(kernel.to_string(), function.clone());
        Ok(function)
    })
}

fn first<T: CudaDType>(storage: &CudaStorage, offset: usize) -> Result<u64> {
    let slice = storage.as_cuda_slice::<T>()?;
    let stream = storage.device().cuda_stream();
    let (address, _read) = slice.device_ptr(&stream);
    Ok(address + (offset * size_of::<T>()) as u64)
}

impl Runtime for CudaDevice {
    type Memory = CudaSlice<u8>;

    fn allocate(&self, bytes: usize) -> Result<CudaSlice<u8>> {
        // SAFETY: bytes of any value; the engine writes before it reads.
        unsafe { self.alloc::<u8>(bytes) }
    }

    fn upload(&self, bytes: &[u8]) -> Result<CudaSlice<u8>> {
        // From pageable memory: the driver copies the bytes aside before it returns, and does not wait for the device.
        self.clone_htod(bytes)
    }

    fn address(&self, memory: &CudaSlice<u8>) -> u64 {
        let stream = self.cuda_stream();
        let (address, _read) = memory.device_ptr(&stream);
        address
    }

    fn tensor_address(&self, tensor: &Tensor, dtype: DType) -> Result<u64> {
        let (storage, layout) = tensor.storage_and_layout();
        let Some((start, _)) = layout.contiguous_offsets() else { bail!("a tensor is not contiguous") };
        let Storage::Cuda(storage) = &*storage else { bail!("a tensor is not on the CUDA device") };
        if storage.device().id() != self.id() {
            bail!("a tensor is on another CUDA device");
        }
        match dtype {
            DType::F32 => first::<f32>(storage, start),
            DType::BF16 => first::<bf16>(storage, start),
            DType::F16 => first::<f16>(storage, start),
            DType::U32 => first::<u32>(storage, start),
            DType::U8 => first::<u8>(storage, start),
            other => bail!("the CUDA engine does not read {other:?}"),
        }
    }

    fn storage(&self, memory: CudaSlice<u8>, dtype: DType, count: usize) -> Result<Storage> {
        if memory.len() < count * dtype.size_in_bytes() {
            bail!("{} bytes do not hold {count} values of {dtype:?}", memory.len());
        }
        let stream = self.cuda_stream();
        let address = memory.leak();
        // SAFETY: the allocation is ours, large enough, and every bit pattern is a value of these types. It is freed as a
        // whole: the driver knows its size by the address.
        let storage = unsafe {
            match dtype {
                DType::F32 => {
                    CudaStorage::wrap_cuda_slice(stream.upgrade_device_ptr::<f32>(address, count), self.clone())
                }
                DType::BF16 => {
                    CudaStorage::wrap_cuda_slice(stream.upgrade_device_ptr::<bf16>(address, count), self.clone())
                }
                DType::F16 => {
                    CudaStorage::wrap_cuda_slice(stream.upgrade_device_ptr::<f16>(address, count), self.clone())
                }
                other => {
                    drop(stream.upgrade_device_ptr::<u8>(address, count));
                    bail!("the CUDA engine does not make {other:?}")
                }
            }
        };
        Ok(Storage::Cuda(storage))
    }

    unsafe fn launch(&self, of: Module, kernel: &str, grid: Grid, args: &[Arg]) -> Result<()> {
        let function = function(self, of, kernel)?;
        let stream = self.cuda_stream();
        let mut builder = stream.launch_builder(&function);
        for arg in args {
            match arg {
                Arg::Address(value) => builder.arg(value),
                Arg::Int(value) => builder.arg(value),
                Arg::Float(value) => builder.arg(value),
                Arg::Conv(value) => builder.arg(value),
                Arg::Window(value) => builder.arg(value),
                Arg::Channels(value) => builder.arg(value),
            };
        }
        let config = LaunchConfig {
            grid_dim: (grid.x as u32, grid.y as u32, 1),
            block_dim: (THREADS as u32, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: as the caller promises; addresses stay valid because memory is freed in the order of this stream.
        unsafe { builder.launch(config) }.map_err(|error| Error::wrap(error).context(format!("kernel {kernel}")))?;
        Ok(())
    }

    #[cfg(feature = "cudnn")]
    unsafe fn convolve(
        &self,
        pass: ConvPass,
        shape: &ConvProblem,
        element: Element,
        operands: [u64; 2],
        out: u64,
        accumulate: bool,
    ) -> Result<bool> {
        // SAFETY: as the caller promises.
        unsafe { super::cudnn::convolve(self, pass, shape, element, operands, out, accumulate) }
    }

    #[cfg(not(feature = "cudnn"))]
    unsafe fn convolve(&self, _: ConvPass, _: &ConvProblem, _: Element, _: [u64; 2], _: u64, _: bool) -> Result<bool> {
        Ok(false)
    }
}
