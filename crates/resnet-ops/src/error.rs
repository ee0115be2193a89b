//! Errors as one line: candle's own macro adds a backtrace to the message where one is asked for.

use candle_core::Error;

/// Returns an error with that message.
macro_rules! bail {
    ($($message:tt)*) => {
        return Err(candle_core::Error::Msg(format!($($message)*)))
    };
}

/// The error of an operation of that name (a layer's path), without a backtrace inside.
pub(crate) fn named(name: &str, error: Error) -> Error {
    let mut error = error;
    while let Error::WithBacktrace { inner, .. } = error {
        error = *inner;
    }
    let message = error.to_string();
    // The functions on single tensors call their operation by its own name.
    if name.is_empty() || message.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')) {
        return Error::Msg(message);
    }
    Error::Msg(format!("{name}: {message}"))
}
