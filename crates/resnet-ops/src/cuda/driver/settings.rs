//! The program's [`CudaSettings`].

use std::sync::atomic::{AtomicBool, Ordering};

use crate::device::CudaSettings;

static TF32: AtomicBool = AtomicBool::new(false);
static SEARCH: AtomicBool = AtomicBool::new(false);

/// Sets them.
pub fn set_settings(settings: CudaSettings) {
    TF32.store(settings.tf32, Ordering::Relaxed);
    SEARCH.store(settings.search, Ordering::Relaxed);
}

/// As they are now.
pub fn settings() -> CudaSettings {
    CudaSettings { tf32: TF32.load(Ordering::Relaxed), search: SEARCH.load(Ordering::Relaxed) }
}
