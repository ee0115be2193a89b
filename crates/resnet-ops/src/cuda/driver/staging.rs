//! Batches from the host, while the device works on the one before.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream, DevicePtr, PinnedHostSlice, result};
use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, CudaDevice, CudaStorage, Device, Error, Result, Storage, Tensor};

/// Smaller tensors are taken by the driver at once.
const LEAST_VALUES: usize = 16 << 10;

thread_local! {
    static STAGES: RefCell<HashMap<DeviceId, Stages>> = RefCell::default();
}

/// Two, so that one is filled while the other is copied.
#[derive(Default)]
struct Stages {
    stages: [Option<Stage>; 2],
    next: usize,
}

/// Page-locked memory of the host, and when the copy that it was last filled for is done.
struct Stage {
    memory: PinnedHostSlice<f32>,
    copied: CudaEvent,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The memory must not go while the device reads it. There is nobody to tell of an error.
        let _ = self.copied.synchronize();
    }
}

/// The tensor on that device. Large f32 tensors from the CPU go by page-locked memory: the host fills it and goes on, and
/// the device fetches the values after the work that was submitted before. From other memory the driver would let the host
/// wait for that work.
///
/// # Errors
/// If the device has no memory left.
pub fn upload(tensor: &Tensor, device: &Device) -> Result<Tensor> {
    let Device::Cuda(cuda) = device else { return tensor.to_device(device) };
    let (storage, layout) = tensor.storage_and_layout();
    let values = match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) if end - start >= LEAST_VALUES => {
            &values[start..end]
        }
        _ => {
            drop(storage);
            return tensor.to_device(device);
        }
    };
    let storage = STAGES.with_borrow_mut(|all| all.entry(cuda.id()).or_default().send(values, cuda))?;
    Ok(Tensor::from_storage(Storage::Cuda(storage), tensor.shape(), BackpropOp::none(), false))
}

impl Stages {
    fn send(&mut self, values: &[f32], device: &CudaDevice) -> Result<CudaStorage> {
        let stream = device.cuda_stream();
        self.next = (self.next + 1) % self.stages.len();
        let stage = &mut self.stages[self.next];
        if stage.as_ref().is_none_or(|stage| stage.memory.len() < values.len()) {
            // The old one is given back first.
            *stage = None;
            *stage = Some(Stage::new(&stream, values.len())?);
        }
        let Some(stage) = stage else { bail!("no page-locked memory") };
        // What it was filled with before has reached the device.
        stage.copied.synchronize().map_err(Error::wrap)?;
        let memory = &mut stage.memory.as_mut_slice().map_err(Error::wrap)?[..values.len()];
        memory.copy_from_slice(values);
        // SAFETY: all of it is written by the copy.
        let target = unsafe { device.alloc::<f32>(values.len())? };
        let address = target.device_ptr(&stream).0;
        // SAFETY: both hold so many values; the stage is neither written nor freed before the event that follows.
        unsafe { result::memcpy_htod_async(address, memory, stream.cu_stream()) }.map_err(Error::wrap)?;
        stage.copied.record(&stream).map_err(Error::wrap)?;
        Ok(CudaStorage::wrap_cuda_slice(target, device.clone()))
    }
}

impl Stage {
    fn new(stream: &CudaStream, len: usize) -> Result<Self> {
        let context = stream.context();
        // SAFETY: values of any bits; each is written before the device reads it.
        let memory = unsafe { context.alloc_pinned::<f32>(len) }.map_err(Error::wrap)?;
        Ok(Self { memory, copied: context.new_event(None).map_err(Error::wrap)? })
    }
}
