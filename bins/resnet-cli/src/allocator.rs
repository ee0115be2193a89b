//! The program's allocator, and how it treats pages that are free.

use std::ffi::c_int;

/// Training allocates and frees large tensors at every step, which this allocator does much faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's `mi_option_t`, in its second and third version; the bindings do not name it.
const PURGE_DELAY: c_int = 15;

/// Lets free pages stay with the process: the next step needs them again, and a page that was given back is cleared by
/// the system before it returns, which took a sixth of a ResNet-50 step. A set `MIMALLOC_PURGE_DELAY` is heeded.
pub fn keep_pages() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: sets a number that the allocator reads atomically; any value is valid, -1 means never.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    }
}
