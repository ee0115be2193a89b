//! Buffers for activations and gradients that go back to a pool when dropped: fresh pages cost more than a pass.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Freed blocks by length, in units of 64 bytes.
static POOL: Mutex<Option<HashMap<usize, Vec<Vec<Line>>>>> = Mutex::new(None);

/// A cache line, for its alignment.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; 64]);

/// Values that may lie in recycled memory.
///
/// # Safety
/// Every bit pattern must be a value, the alignment at most 64 bytes.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: every bit pattern is a number, or none of them (NaN).
unsafe impl Plain for f32 {}
// SAFETY: every bit pattern is a number.
unsafe impl Plain for u8 {}

/// A block of `len` values of type `E`, aligned to 64 bytes, whose content is whatever was there before.
pub(crate) struct Buffer<E> {
    lines: Vec<Line>,
    len: usize,
    _element: std::marker::PhantomData<E>,
}

impl<E: Plain> Buffer<E> {
    /// Unspecified content.
    pub(crate) fn new(len: usize) -> Self {
        let lines = (len * size_of::<E>()).div_ceil(64);
        let reused = {
            let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
            pool.get_or_insert_default().get_mut(&lines).and_then(Vec::pop)
        };
        let lines = reused.unwrap_or_else(|| vec![Line([0; 64]); lines]);
        Self { lines, len, _element: std::marker::PhantomData }
    }

    pub(crate) fn zeroed(len: usize) -> Self
    where
        E: Default,
    {
        let mut buffer = Self::new(len);
        buffer.as_mut_slice().fill(E::default());
        buffer
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn as_slice(&self) -> &[E] {
        // SAFETY: the block holds at least `len` values; it was zeroed once, and every bit pattern is an `E`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [E] {
        // SAFETY: as above; `&mut self` makes the access unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }

    pub(crate) fn as_ptr(&self) -> *const E {
        self.lines.as_ptr().cast()
    }

    /// For kernels whose threads write disjoint parts.
    pub(crate) fn shared(&mut self) -> Shared<E> {
        Shared(self.lines.as_mut_ptr().cast())
    }
}

impl<E> Drop for Buffer<E> {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() {
            return;
        }
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = pool.get_or_insert_default().entry(lines.len()).or_default();
        if blocks.len() < 64 {
            blocks.push(lines);
        }
    }
}

/// A scratch that grows to the largest that was asked for.
#[derive(Default)]
pub(crate) struct Growing(Option<Buffer<f32>>);

impl Growing {
    /// Room for `len` values, whose content is unspecified.
    pub(crate) fn get(&mut self, len: usize) -> *mut f32 {
        if self.0.as_ref().is_none_or(|buffer| buffer.len() < len) {
            self.0 = Some(Buffer::new(len));
        }
        self.0.as_mut().map_or(std::ptr::null_mut(), |buffer| buffer.as_mut_slice().as_mut_ptr())
    }
}

/// A pointer that threads share, each writing only its own part.
pub(crate) struct Shared<E>(pub(crate) *mut E);

impl<E> Clone for Shared<E> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<E> Copy for Shared<E> {}

// SAFETY: the users write disjoint ranges and read only what no one writes.
unsafe impl<E: Send> Send for Shared<E> {}
// SAFETY: as above.
unsafe impl<E: Sync> Sync for Shared<E> {}

impl<E> Shared<E> {
    /// The pointer (a method, so that closures capture the whole wrapper).
    #[inline(always)]
    pub(crate) fn get(self) -> *mut E {
        self.0
    }
}
