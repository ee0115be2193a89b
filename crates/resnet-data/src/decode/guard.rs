//! Decoders of others run here: one that panics gives an error, and prints nothing.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// True while a decoder runs on this thread.
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder; a panic is its error.
///
/// `png` 0.18.1 panics on a palette of odd length, libjpeg leaves by unwinding where it cannot go on, and where one such
/// place is known there are others. The process has one panic hook: the first call puts one before it that is silent on
/// threads that decode.
pub(super) fn guarded<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !DECODING.get() {
                before(panic);
            }
        }));
    });
    let outer = DECODING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(decode));
    DECODING.set(outer);
    result.unwrap_or_else(|cause| Err(reason(&*cause)))
}

/// What an unwinding says of itself.
fn reason(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    match text.and_then(|text| text.strip_prefix("libjpeg fatal error: ")) {
        Some(error) => error.to_string(),
        None => "its content is damaged: the decoder could not go on".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_decoder_is_an_error() {
        let panic = guarded::<()>(|| Vec::<u8>::new().first().map(|_| ()).ok_or_else(|| panic!("index 0")));
        assert!(panic.unwrap_err().contains("damaged"));
        assert_eq!(guarded(|| Ok(1)), Ok(1));
        assert_eq!(guarded::<()>(|| Err("cut".to_string())), Err("cut".to_string()));
        assert!(!DECODING.get());
    }
}
