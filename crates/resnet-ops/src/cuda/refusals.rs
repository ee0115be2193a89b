//! What cuDNN does not do: direct kernels stand in, which are right and slow, so that it should not pass unseen.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

static REFUSED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The convolutions of this program that cuDNN has had no algorithm for so far, a line each; none without the feature
/// `cudnn`, where direct kernels do them all.
pub fn refused_convolutions() -> Vec<String> {
    REFUSED.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// Takes up another one.
#[cfg(any(feature = "cudnn", test))]
pub(super) fn refuse(convolution: String) {
    REFUSED.lock().unwrap_or_else(PoisonError::into_inner).insert(convolution);
}
