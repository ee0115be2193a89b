//! Opening a device so that nothing makes the host wait for it.

use candle_core::cuda_backend::cudarc::driver::{result, sys};
use candle_core::{CudaDevice, Device, Error, Result};

/// The CUDA device of that number, with a stream of its own, prepared as by [`adopt`].
///
/// # Errors
/// If there is no such device, or no driver.
pub fn open(ordinal: usize) -> Result<Device> {
    let device = CudaDevice::new_with_stream(ordinal)?;
    // SAFETY: this device object is new, and all its work goes through its one stream.
    unsafe { adopt(&device)? };
    Ok(Device::Cuda(device))
}

/// Turns off what costs time at every operation: the two events that each allocation gets, and giving memory back to the
/// system whenever the host waits.
///
/// # Safety
/// Tensors of this device must not be used on another stream: without events nothing orders one after the other.
///
/// # Errors
/// If the driver refuses.
pub unsafe fn adopt(device: &CudaDevice) -> Result<()> {
    let stream = device.cuda_stream();
    let context = stream.context();
    context.bind_to_thread().map_err(Error::wrap)?;
    // SAFETY: as the caller promises.
    unsafe { device.disable_event_tracking() };
    if context.has_async_alloc() {
        let mut threshold = u64::MAX;
        // SAFETY: the pool is this device's; the attribute is a u64.
        unsafe {
            let pool = result::device::get_default_mem_pool(context.cu_device()).map_err(Error::wrap)?;
            let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            let value = std::ptr::from_mut(&mut threshold).cast();
            result::mem_pool::set_attribute(pool, attribute, value).map_err(Error::wrap)?;
        }
    }
    Ok(())
}
