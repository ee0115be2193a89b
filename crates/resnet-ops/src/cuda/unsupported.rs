//! What cuDNN does not do: direct kernels stand in, which are right and slow, so that it should not pass unseen.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

static UNSUPPORTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The convolutions of this program that cuDNN has had no algorithm for so far, a line each; none without the feature
/// `cudnn`, where direct kernels do them all.
pub(crate) fn unsupported_convolutions() -> Vec<String> {
    UNSUPPORTED.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// Takes up another one.
#[cfg(any(feature = "cudnn", test))]
pub(super) fn record(convolution: String) {
    UNSUPPORTED.lock().unwrap_or_else(PoisonError::into_inner).insert(convolution);
}
