//! The objects of cuDNN's graph API: made, given attributes, finalized.

use std::ffi::c_void;

use candle_core::cuda_backend::cudarc::cudnn::result::CudnnResult;
use candle_core::cuda_backend::cudarc::cudnn::sys;

use sys::cudnnBackendAttributeName_t as Name;
use sys::cudnnBackendAttributeType_t as Type;

/// Notes that an engine may have; ten are known.
const MOST_NOTES: usize = 32;

/// One of them, destroyed when dropped. What a graph or a plan was made of must stay alive as long.
#[derive(Debug)]
pub(super) struct Descriptor(sys::cudnnBackendDescriptor_t);

/// What attributes are made of, as cuDNN reads it in memory.
pub(super) trait Value: Copy {
    const TYPE: Type;
}

/// An address on the device.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(super) struct Address(pub u64);

macro_rules! values {
    ($($value:ty: $kind:ident),* $(,)?) => {
        $(impl Value for $value {
            const TYPE: Type = Type::$kind;
        })*
    };
}

values! {
    i64: CUDNN_TYPE_INT64,
    f32: CUDNN_TYPE_FLOAT,
    Address: CUDNN_TYPE_VOID_PTR,
    sys::cudnnHandle_t: CUDNN_TYPE_HANDLE,
    sys::cudnnDataType_t: CUDNN_TYPE_DATA_TYPE,
    sys::cudnnConvolutionMode_t: CUDNN_TYPE_CONVOLUTION_MODE,
    sys::cudnnBackendHeurMode_t: CUDNN_TYPE_HEUR_MODE,
}

impl Descriptor {
    pub(super) fn new(kind: sys::cudnnBackendDescriptorType_t) -> CudnnResult<Self> {
        let mut descriptor = std::ptr::null_mut();
        // SAFETY: the descriptor is written where it is made.
        unsafe { sys::cudnnBackendCreateDescriptor(kind, &mut descriptor) }.result()?;
        Ok(Self(descriptor))
    }

    pub(super) fn set<T: Value>(self, name: Name, values: &[T]) -> CudnnResult<Self> {
        // SAFETY: so many values of that type are there.
        unsafe { self.set_raw(name, T::TYPE, values.len(), values.as_ptr().cast()) }
    }

    pub(super) fn set_descriptors(self, name: Name, values: &[&Self]) -> CudnnResult<Self> {
        let values: Vec<_> = values.iter().map(|value| value.0).collect();
        // SAFETY: as above.
        unsafe { self.set_raw(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, values.len(), values.as_ptr().cast()) }
    }

    unsafe fn set_raw(self, name: Name, kind: Type, count: usize, values: *const c_void) -> CudnnResult<Self> {
        // SAFETY: as the caller promises.
        unsafe { sys::cudnnBackendSetAttribute(self.0, name, kind, count as i64, values) }.result()?;
        Ok(self)
    }

    pub(super) fn finalize(self) -> CudnnResult<Self> {
        // SAFETY: it is alive.
        unsafe { sys::cudnnBackendFinalize(self.0) }.result()?;
        Ok(self)
    }

    /// An attribute of one integer.
    pub(super) fn integer(&self, name: Name) -> CudnnResult<i64> {
        let (mut count, mut value) = (0, 0i64);
        let room = (&raw mut value).cast();
        // SAFETY: there is room for one integer.
        unsafe { sys::cudnnBackendGetAttribute(self.0, name, i64::TYPE, 1, &mut count, room) }.result()?;
        Ok(value)
    }

    /// An engine's numerical notes, as numbers: later releases know more of them.
    pub(super) fn numerical_notes(&self) -> CudnnResult<Vec<u32>> {
        let (name, kind) = (Name::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, Type::CUDNN_TYPE_NUMERICAL_NOTE);
        let (mut count, mut notes) = (0, [0u32; MOST_NOTES]);
        let room = notes.as_mut_ptr().cast();
        // SAFETY: there is room for so many, each of which has 32 bits.
        unsafe { sys::cudnnBackendGetAttribute(self.0, name, kind, MOST_NOTES as i64, &mut count, room) }.result()?;
        Ok(notes[..(count.max(0) as usize).min(MOST_NOTES)].to_vec())
    }

    /// An attribute of descriptors, all of that kind.
    pub(super) fn descriptors(
        &self,
        name: Name,
        kind: sys::cudnnBackendDescriptorType_t,
        most: usize,
    ) -> CudnnResult<Vec<Self>> {
        let all = (0..most).map(|_| Self::new(kind)).collect::<CudnnResult<Vec<_>>>()?;
        let mut raw: Vec<_> = all.iter().map(|descriptor| descriptor.0).collect();
        let (mut count, kind) = (0, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR);
        // SAFETY: cuDNN fills the descriptors that the array names; there are `most`.
        unsafe {
            sys::cudnnBackendGetAttribute(self.0, name, kind, most as i64, &mut count, raw.as_mut_ptr().cast())
                .result()?;
        }
        Ok(all.into_iter().take(count.max(0) as usize).collect())
    }

    /// How many descriptors an attribute has.
    pub(super) fn count(&self, name: Name) -> CudnnResult<usize> {
        let (mut count, kind) = (0, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR);
        // SAFETY: nothing is written but the count.
        unsafe { sys::cudnnBackendGetAttribute(self.0, name, kind, 0, &mut count, std::ptr::null_mut()) }.result()?;
        Ok(count.max(0) as usize)
    }

    /// Submits this plan, with the addresses of that variant pack.
    ///
    /// # Safety
    /// The handle is alive, and the addresses hold what the plan's tensors say.
    pub(super) unsafe fn execute(&self, handle: sys::cudnnHandle_t, pack: &Self) -> CudnnResult<()> {
        // SAFETY: as the caller promises.
        unsafe { sys::cudnnBackendExecute(handle, self.0, pack.0) }.result()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it is destroyed once. There is nobody to tell of an error.
        let _ = unsafe { sys::cudnnBackendDestroyDescriptor(self.0) };
    }
}
