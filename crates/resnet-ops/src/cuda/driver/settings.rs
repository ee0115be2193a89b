//! The program's [`Settings`].

use std::sync::atomic::{AtomicBool, Ordering};

use crate::cuda::settings::Settings;

static TF32: AtomicBool = AtomicBool::new(false);
static SEARCH: AtomicBool = AtomicBool::new(false);

/// Sets them.
pub fn set_settings(settings: Settings) {
    TF32.store(settings.tf32, Ordering::Relaxed);
    SEARCH.store(settings.search, Ordering::Relaxed);
}

/// As they are now.
pub fn settings() -> Settings {
    Settings { tf32: TF32.load(Ordering::Relaxed), search: SEARCH.load(Ordering::Relaxed) }
}
