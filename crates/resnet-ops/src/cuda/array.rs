//! Values on the device.

use std::sync::Arc;

use candle_core::{DType, Result, Shape, Storage, Tensor, op::BackpropOp};

use super::runtime::{Element, Runtime};

/// Kernels count in 32 bits.
const MOST_VALUES: usize = i32::MAX as usize;

fn countable(count: usize) -> Result<()> {
    if count > MOST_VALUES {
        bail!("a map of {count} values is too large for the CUDA engine: take a smaller batch");
    }
    Ok(())
}

/// Whose memory it is.
#[derive(Debug)]
enum Owner<R: Runtime> {
    Engine(R::Memory),
    /// candle's, which is only read; the tensor keeps it alive.
    #[expect(dead_code, reason = "held, not read")]
    Tensor(Tensor),
}

/// So many values of one type; clones share the memory.
#[derive(Debug)]
pub(crate) struct Array<R: Runtime> {
    memory: Arc<Owner<R>>,
    address: u64,
    count: usize,
    dtype: DType,
}

impl<R: Runtime> Clone for Array<R> {
    fn clone(&self) -> Self {
        Self { memory: self.memory.clone(), ..*self }
    }
}

impl<R: Runtime> Array<R> {
    /// Values that are not set yet.
    ///
    /// # Errors
    /// If there are too many, or the device has no memory left.
    pub(crate) fn new(runtime: &R, count: usize, dtype: DType) -> Result<Self> {
        countable(count)?;
        let memory = runtime.allocate((count * dtype.size_in_bytes()).max(1))?;
        let address = runtime.address(&memory);
        Ok(Self { memory: Arc::new(Owner::Engine(memory)), address, count, dtype })
    }

    pub(crate) fn of(runtime: &R, count: usize, element: Element) -> Result<Self> {
        Self::new(runtime, count, element.dtype())
    }

    /// The values of a contiguous tensor of that dtype, where they lie.
    ///
    /// # Errors
    /// If it is on another device, of another dtype, too large, or not contiguous.
    pub(crate) fn borrow(runtime: &R, tensor: &Tensor, dtype: DType) -> Result<Self> {
        countable(tensor.elem_count())?;
        let address = runtime.tensor_address(tensor, dtype)?;
        Ok(Self { memory: Arc::new(Owner::Tensor(tensor.clone())), address, count: tensor.elem_count(), dtype })
    }

    /// Where value `offset` lies.
    pub(crate) fn at(&self, offset: usize) -> u64 {
        self.address + (offset * self.dtype.size_in_bytes()) as u64
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether nothing else reads this memory any more, so that it may be written.
    pub(crate) fn is_unique(&self) -> bool {
        Arc::strong_count(&self.memory) == 1 && matches!(*self.memory, Owner::Engine(_))
    }

    /// The values as a tensor.
    ///
    /// # Errors
    /// If the memory is shared, or the shape does not hold so many values.
    pub(crate) fn into_tensor(self, runtime: &R, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        if shape.elem_count() != self.count {
            bail!("{} values are no {shape:?}", self.count);
        }
        Ok(Tensor::from_storage(self.into_storage(runtime)?, shape, BackpropOp::none(), false))
    }

    /// The values as candle's.
    ///
    /// # Errors
    /// If the memory is shared.
    pub(crate) fn into_storage(self, runtime: &R) -> Result<Storage> {
        let Ok(Owner::Engine(memory)) = Arc::try_unwrap(self.memory) else { bail!("the memory of a result is shared") };
        runtime.storage(memory, self.dtype, self.count)
    }
}

impl Element {
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}
