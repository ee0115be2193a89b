//! Names of files as text: for programs and for people, so that different names stay different.

use std::borrow::Cow;
use std::path::Path;

use unicode_normalization::UnicodeNormalization;

/// A path as text for programs (JSON, tables): itself where it is Unicode, as nearly all are.
///
/// In any other each byte that is no part of a character becomes `\xNN`, and each backslash two, so that the bytes can
/// be had back; so do backslashes of a path that holds `\xNN` itself (of 80 to FF), or it would be another's text.
/// [`is_escaped`] tells such a path.
///
/// ```
/// use std::path::Path;
/// assert_eq!(resnet_data::path_text(Path::new("a\n[1].jpg")), "a\n[1].jpg");
/// ```
pub fn path_text(path: &Path) -> Cow<'_, str> {
    match path.to_str() {
        Some(text) if !looks_escaped(text) => Cow::Borrowed(text),
        _ => Cow::Owned(escaped(path, |c| if c == '\\' { Some("\\\\".into()) } else { None })),
    }
}

/// Whether [`path_text`] of a path is not the path itself.
pub fn is_escaped(path: &Path) -> bool {
    path.to_str().is_none_or(looks_escaped)
}

/// Whether a text has what is written for a byte that is no part of a character. Where backslashes separate folders, no
/// name has one.
fn looks_escaped(text: &str) -> bool {
    let byte = |code: &[u8]| matches!(code, [b'\\', b'x', b'8'..=b'9' | b'A'..=b'F', b'0'..=b'9' | b'A'..=b'F']);
    !cfg!(windows) && text.as_bytes().windows(4).any(byte)
}

/// A path as text for people: on one line, without what would move a terminal's cursor or turn its text.
///
/// Control characters become `\n`, `\t`, `\u{1b}` and so on, bytes that are no part of a character `\xNN`, and, where
/// paths are not separated by them, each backslash two.
///
/// ```
/// assert_eq!(resnet_data::shown("a\nb.jpg"), "a\\nb.jpg");
/// ```
pub fn shown(path: impl AsRef<Path>) -> String {
    escaped(path.as_ref(), |c| match c {
        '\\' if !cfg!(windows) => Some("\\\\".into()),
        c => unprintable(c),
    })
}

/// Text on one line, without what would move a terminal's cursor: of libraries that quote a file's bytes.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| unprintable(c).is_none()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.trim().chars().map(|c| unprintable(c).unwrap_or_else(|| c.into())).collect())
}

/// What stands for a character that is not to be printed.
fn unprintable(c: char) -> Option<String> {
    match c {
        c if c.is_control() => Some(c.escape_default().to_string()),
        // Marks that reorder the text around them, and other line ends.
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
            Some(c.escape_unicode().to_string())
        }
        _ => None,
    }
}

/// A path's text, with some characters replaced, and every byte that is no part of one.
fn escaped(path: &Path, replaced: impl Fn(char) -> Option<String>) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match replaced(c) {
                Some(instead) => text.push_str(&instead),
                None => text.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02X}")));
    }
    text
}

/// A class's name in the form that names are compared in: composed (NFC), where macOS writes decomposed ones.
pub fn composed(name: &str) -> String {
    name.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_distinct_and_harmless() {
        for (name, text) in [
            ("a b.jpg", "a b.jpg"),
            ("a\nb", "a\\nb"),
            ("a\\nb", if cfg!(windows) { "a\\nb" } else { "a\\\\nb" }),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("caf\u{e9}", "caf\u{e9}"),
            ("\u{202e}gpj", "\\u{202e}gpj"),
            (" lead", " lead"),
        ] {
            assert_eq!(shown(name), text);
            assert_eq!(path_text(Path::new(name)), name, "for programs it is what it is");
        }
        assert_eq!(composed("cafe\u{301}"), "caf\u{e9}");
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_unicode_stay_distinct() {
        use std::os::unix::ffi::OsStrExt;
        let path = |bytes: &'static [u8]| Path::new(std::ffi::OsStr::from_bytes(bytes));
        let (grave, acute) = (path(b"caf\xe8\\.jpg"), path(b"caf\xe9\\.jpg"));
        assert_eq!(path_text(grave), "caf\\xE8\\\\.jpg");
        assert_eq!((path_text(acute), shown(acute)), ("caf\\xE9\\\\.jpg".into(), "caf\\xE9\\\\.jpg".into()));
        assert!(is_escaped(acute) && !is_escaped(Path::new("a\\xe9")) && !is_escaped(Path::new("a\\x7F")));
        let alike = Path::new("caf\\xE9\\\\.jpg");
        assert!(
            is_escaped(alike) && path_text(alike) == "caf\\\\xE9\\\\\\\\.jpg",
            "another's text: {}",
            path_text(alike)
        );
    }
}
