//! Work on a thread with a large stack: candle's backward pass recurses once for each operation between the loss and
//! the input, and so does dropping the graph.

use crate::{Error, Result};

/// Address space, not memory: the system gives pages as they are touched.
const STACK_BYTES: usize = 256 << 20;

/// Runs `work` on a thread of its own with 256 MiB of stack and waits for it.
///
/// # Errors
/// `work`'s own, and when no thread can be had. A panic of `work` goes on in the caller.
pub fn with_large_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("training".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| Error::Invalid(format!("cannot start a thread with a large stack: {error}")))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
