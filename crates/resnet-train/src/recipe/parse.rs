//! From TOML, with errors of one line that name the nearest key.

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Reads TOML; `origin` is the file or name, for messages.
pub fn toml<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let message = error.message().replace('\n', " ");
        let hint = hint(&message).unwrap_or_default();
        let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        Error::Recipe { origin: origin.to_string(), message: format!("{place}{message}{hint}") }
    })
}

/// For "unknown field `a`, expected one of `b`, `c`": which of them is meant.
fn hint(message: &str) -> Option<String> {
    if !message.starts_with("unknown ") {
        return None;
    }
    // Every second piece stands between backticks: first what was found, then what may be.
    let mut quoted = message.split('`').skip(1).step_by(2);
    let found = quoted.next()?;
    nearest(found, quoted).map(|name| format!("; did you mean `{name}`?"))
}

/// The name that is most like the one given, unless none is.
pub(super) fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (name, strsim::jaro_winkler(given, name)))
        .filter(|(_, likeness)| *likeness > 0.6)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(name, _)| name)
}
