//! Descriptions of tensors made into tensors, with nothing believed that the bytes do not bear out.

use std::collections::HashMap;
use std::rc::Rc;

use candle_core::Tensor;

use super::Storages;
use crate::weights::element::{self, addressable};
use crate::weights::fault::Fault;
use crate::weights::pickle::TensorRef;

/// A view: storage, dtype, offset, shape, strides. Tied weights are the same view twice.
type View = (Rc<str>, &'static str, i64, Vec<i64>, Vec<i64>);

pub(in crate::weights) struct Materializer {
    /// Bytes that may still be made. Strides of zero and views that overlap make more of a file
    /// than it holds, honest ones a little, hostile ones terabytes.
    budget: usize,
    made: HashMap<View, Tensor>,
}

impl Materializer {
    pub fn new(file_len: usize) -> Self {
        Self { budget: file_len.saturating_mul(4).saturating_add(1 << 16), made: HashMap::new() }
    }

    /// # Errors
    /// When the tensor reaches outside its storage, is of a dtype that is not read, or is larger
    /// than the file can account for.
    pub fn tensor<'a>(
        &mut self,
        tensor: &TensorRef,
        storages: &mut (impl Storages<'a> + ?Sized),
    ) -> Result<Tensor, Fault> {
        let storage = &tensor.storage;
        let view =
            (storage.key.clone(), storage.element.name, tensor.offset, tensor.shape.clone(), tensor.stride.clone());
        if let Some(tensor) = self.made.get(&view) {
            return Ok(tensor.clone());
        }
        let made = self.make(tensor, storages)?;
        self.made.insert(view, made.clone());
        Ok(made)
    }

    fn make<'a>(&mut self, tensor: &TensorRef, storages: &mut (impl Storages<'a> + ?Sized)) -> Result<Tensor, Fault> {
        let damaged =
            |what: &str| Fault::Damaged(format!("{what} (shape {:?}, strides {:?})", tensor.shape, tensor.stride));
        let storage = &tensor.storage;
        let size = storage.element.size;
        let kind = storage
            .element
            .kind
            .ok_or_else(|| Fault::Unsupported(format!("{} is not a dtype that is read", storage.element.name)))?;
        let unsigned = |values: &[i64]| -> Option<Vec<usize>> {
            values.iter().map(|&value| usize::try_from(value).ok()).collect()
        };
        let shape = unsigned(&tensor.shape).filter(|shape| addressable(shape));
        let (Some(shape), Some(stride), Ok(offset)) = (shape, unsigned(&tensor.stride), usize::try_from(tensor.offset))
        else {
            return Err(damaged("its shape, strides or offset are negative or too large"));
        };
        if shape.len() != stride.len() {
            return Err(damaged("it has not as many strides as dimensions"));
        }

        // Elements from the storage's first to one past the last.
        let bytes = storages.bytes(&storage.key)?;
        let outside = || damaged("it reaches outside its storage");
        let first = storage.start.checked_mul(size).ok_or_else(outside)?;
        let length = storage.len.checked_mul(size).ok_or_else(outside)?;
        let bytes = bytes.get(first..).and_then(|bytes| bytes.get(..length)).ok_or_else(outside)?;
        let count: usize = shape.iter().product();
        let last = shape
            .iter()
            .zip(&stride)
            .try_fold(offset, |last, (&size, &stride)| last.checked_add(size.saturating_sub(1).checked_mul(stride)?));
        if count > 0 && last.is_none_or(|last| last >= storage.len) {
            return Err(outside());
        }
        self.budget = count
            .checked_mul(size)
            .and_then(|bytes| self.budget.checked_sub(bytes.max(64)))
            .ok_or_else(|| damaged("the tensors would be many times larger than the file"))?;

        if count == 0 {
            return Ok(element::tensor(kind, &[], &shape)?);
        }
        if is_contiguous(&shape, &stride) {
            let from = offset * size;
            return Ok(element::tensor(kind, &bytes[from..from + count * size], &shape)?);
        }
        Ok(element::tensor(kind, &gather(bytes, size, offset, &shape, &stride, count), &shape)?)
    }
}

fn is_contiguous(shape: &[usize], stride: &[usize]) -> bool {
    let mut expected = 1;
    shape.iter().zip(stride).rev().all(|(&size, &stride)| {
        let fits = size == 1 || stride == expected;
        expected *= size;
        fits
    })
}

/// Elements in row-major order; all of them have been checked to lie within `bytes`.
fn gather(bytes: &[u8], size: usize, offset: usize, shape: &[usize], stride: &[usize], count: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(count * size);
    let mut index = vec![0; shape.len()];
    let mut at = offset;
    for _ in 0..count {
        out.extend_from_slice(&bytes[at * size..(at + 1) * size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += stride[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= index[axis] * stride[axis];
            index[axis] = 0;
        }
    }
    out
}
