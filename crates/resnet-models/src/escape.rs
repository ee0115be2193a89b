//! Texts of unknown origin, fit for a terminal.

/// A name out of a file: control characters escaped, long ones cut.
pub(crate) fn show(name: &str) -> String {
    cut(name, 100)
}

/// The beginning of a text, with its control characters escaped.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    for c in text.chars().take(longest) {
        // Quotes harm no terminal.
        if matches!(c, '\'' | '"') { shown.push(c) } else { shown.extend(c.escape_debug()) }
    }
    if text.chars().nth(longest).is_some() {
        shown.push('…');
    }
    shown
}
