//! What candle's errors say, without the backtrace that they print behind it where `RUST_BACKTRACE` is set.

use candle_core::Error;

/// The message of an error of candle on one line: where it stands in the program is nothing for its users.
///
/// ```
/// use candle_core::{Device, Tensor};
///
/// let error = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu)?.reshape((4, 4)).unwrap_err();
/// let message = resnet_models::message(&error);
/// assert!(message.starts_with("Shape mismatch") && message.lines().count() == 1, "{message}");
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn message(error: &Error) -> String {
    let text = match error {
        Error::WithBacktrace { inner, .. } => message(inner),
        Error::WithPath { inner, path } => format!("{}: {}", path.display(), message(inner)),
        Error::Context { inner, context } => format!("{context}: {}", message(inner)),
        Error::WrappedContext { wrapped, context } => format!("{context}: {wrapped}"),
        other => other.to_string(),
    };
    // An error that was made text before, with its backtrace.
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("0: "));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_backtrace_is_in_a_message() {
        let backtrace = || Box::new(std::backtrace::Backtrace::force_capture());
        let inner = || Box::new(Error::Msg("two\n  lines".into()));
        let wrapped = Error::WithBacktrace { inner: inner(), backtrace: backtrace() };
        assert!(wrapped.to_string().lines().count() > 2);
        assert_eq!(message(&wrapped), "two lines");
        let path = Error::WithPath { inner: Box::new(wrapped), path: "x.bin".into() };
        assert_eq!(message(&path), "x.bin: two lines");
        let text = Error::WithBacktrace { inner: inner(), backtrace: backtrace() }.to_string();
        assert_eq!(message(&Error::Msg(text)), "two lines");
        assert_eq!(message(&path.context("reading")), "reading: x.bin: two lines");
    }
}
