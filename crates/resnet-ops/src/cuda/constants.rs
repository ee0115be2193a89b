//! What follows from parameters that do not change: made by the first pass that reads it, and kept.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Result;

use super::array::Array;
use super::kernels::NormCoefficients;
use super::runtime::{Element, Runtime};

/// The constants of a graph, by node.
#[derive(Debug)]
pub(crate) struct Constants<R: Runtime> {
    /// Weights as they are multiplied by.
    pub weights: Kept<(usize, Element), Array<R>>,
    /// Norms by their running statistics.
    pub norms: Kept<usize, Arc<NormCoefficients<R>>>,
}

impl<R: Runtime> Default for Constants<R> {
    fn default() -> Self {
        Self { weights: Kept(Mutex::default()), norms: Kept(Mutex::default()) }
    }
}

#[derive(Debug)]
pub(crate) struct Kept<K, V>(Mutex<HashMap<K, V>>);

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    /// The value of that key; made if it is not there.
    ///
    /// # Errors
    /// As `make`.
    pub(crate) fn get(&self, key: K, make: impl FnOnce() -> Result<V>) -> Result<V> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = kept.get(&key) {
            return Ok(value.clone());
        }
        let value = make()?;
        kept.insert(key, value.clone());
        Ok(value)
    }
}
