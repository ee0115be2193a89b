//! Configurations as JSON of unknown origin: what an editor puts before it and Python writes into it is understood, and
//! a field that is not what it should be is named.

use std::path::Path;

use serde_json::{Map, Value};

use crate::Error;

/// No configuration is larger; names of twenty thousand classes are one megabyte.
const MOST_BYTES: u64 = 64 << 20;

/// The error of a configuration's file.
pub(super) fn wrong(path: &Path, message: impl Into<String>) -> Error {
    Error::Config { file: path.to_owned(), message: message.into() }
}

/// Reads a file as a table of fields.
pub(super) fn read(path: &Path) -> Result<Fields, Error> {
    let bytes = resnet_files::read(path, MOST_BYTES).map_err(|error| wrong(path, error.to_string()))?;
    Fields::parse(&bytes).map_err(|message| wrong(path, message))
}

/// A table whose fields are taken by name and kind. `null` is a field that is not there.
#[derive(Debug, Clone)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Of text that may begin with a byte order mark, and hold Python's NaN and Infinity.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        match bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) {
            b"" => Err("it is empty: fetch it again".into()),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err("it is text in UTF-16: save it in UTF-8".into()),
            text if text.starts_with(b"version https://git-lfs") => {
                Err("it is a pointer of Git LFS, not the file: fetch it with `git lfs pull`".into())
            }
            text if text.trim_ascii_start().starts_with(b"<") => {
                Err("it is a web page or XML, not JSON: delete it and fetch it again".into())
            }
            text => match parsed(text)? {
                Value::Object(fields) => Ok(Self(fields)),
                other => Err(format!("it is no configuration: {} in place of a table", shown(&other))),
            },
        }
    }

    /// The field as it is.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.as_str(), value))
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&str>, String> {
        self.of_kind(key, "a text", Value::as_str)
    }

    /// A switch.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        self.of_kind(key, "true or false", Value::as_bool)
    }

    /// A number.
    pub fn number(&self, key: &str) -> Result<Option<f64>, String> {
        self.of_kind(key, "a number", Value::as_f64)
    }

    /// A whole number, whether it is written 3 or 3.0.
    pub fn count(&self, key: &str) -> Result<Option<usize>, String> {
        self.of_kind(key, "a whole number", count)
    }

    /// Whole numbers in a list.
    pub fn counts(&self, key: &str) -> Result<Option<Vec<usize>>, String> {
        self.of_kind(key, "a list of whole numbers", |value| value.as_array()?.iter().map(count).collect())
    }

    /// A number for red, green and blue: three, or one for all.
    pub fn channels(&self, key: &str) -> Result<Option<[f64; 3]>, String> {
        self.of_kind(key, "one number or three", |value| {
            let numbers: Vec<f64> = match value {
                Value::Array(numbers) => numbers.iter().map(Value::as_f64).collect::<Option<_>>()?,
                one => vec![one.as_f64()?],
            };
            match numbers[..] {
                [all] => Some([all; 3]),
                [red, green, blue] => Some([red, green, blue]),
                _ => None,
            }
        })
    }

    /// A table in the table.
    pub fn table(&self, key: &str) -> Result<Option<Self>, String> {
        self.of_kind(key, "a table", |value| Some(Self(value.as_object()?.clone())))
    }

    fn of_kind<'a, T>(
        &'a self,
        key: &str,
        kind: &str,
        take: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        take(value).map(Some).ok_or_else(|| format!("`{key}` is {}, not {kind}", shown(value)))
    }
}

/// A whole number, whether it is written 3 or 3.0.
pub(crate) fn count(value: &Value) -> Option<usize> {
    let whole = |number: &f64| number.fract() == 0.0 && (0.0..=9e15).contains(number);
    value.as_u64().and_then(|n| n.try_into().ok()).or_else(|| value.as_f64().filter(whole).map(|n| n as usize))
}

/// The beginning of a value, for messages.
pub(crate) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn parsed(text: &[u8]) -> Result<Value, String> {
    let error = match serde_json::from_slice(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if let Some(Ok(value)) = quoted_constants(text).map(|text| serde_json::from_slice(&text)) {
        return Ok(value);
    }
    let message = error.to_string();
    if message.contains("recursion limit") {
        return Err("its tables and lists nest more than 128 deep: it is no configuration".into());
    }
    Err(format!("it is no JSON: delete it and fetch it again ({message})"))
}

/// The text with Python's NaN, Infinity and -Infinity as words, so that only a field that is needed complains of them.
/// `None` where there are none.
fn quoted_constants(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut at, mut found, mut quoted) = (Vec::with_capacity(text.len() + 16), 0, false, false);
    while at < text.len() {
        let constant =
            ["-Infinity", "Infinity", "NaN"].into_iter().find(|name| text[at..].starts_with(name.as_bytes()));
        match (quoted, text[at], constant) {
            (false, _, Some(name)) => {
                out.extend(format!("\"{name}\"").bytes());
                (at, found) = (at + name.len(), true);
                continue;
            }
            (true, b'\\', _) => {
                out.push(b'\\');
                at += 1;
            }
            (_, b'"', _) => quoted = !quoted,
            _ => {}
        }
        out.extend(text.get(at));
        at += 1;
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Fields, String> {
        Fields::parse(text.as_bytes())
    }

    #[test]
    fn marks_of_editors_and_constants_of_python_are_read() {
        let fields =
            parse("\u{feff}{\r\n \"a\": [1.0, 2.0, 3], \"b\": NaN, \"c\": \"NaN \\\" -Infinity\", \"d\": null}\r\n")
                .unwrap();
        assert_eq!(fields.counts("a"), Ok(Some(vec![1, 2, 3])));
        assert_eq!(fields.number("b"), Err("`b` is \"NaN\", not a number".into()));
        assert_eq!(fields.text("c"), Ok(Some("NaN \" -Infinity")));
        assert_eq!((fields.number("d"), fields.flag("e")), (Ok(None), Ok(None)));
        // Of two fields of one name the last counts, as in Python.
        assert_eq!(parse(r#"{"a": 1, "a": 2}"#).unwrap().count("a"), Ok(Some(2)));
    }

    #[test]
    fn what_is_no_configuration_is_called_what_it_is() {
        for (text, part) in [
            ("", "empty"),
            ("\u{feff}", "empty"),
            ("[1]", "in place of a table"),
            ("{", "no JSON"),
            ("  <html>", "web page"),
            ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
            (&format!("{{\"a\": {}{}}}", "[".repeat(5000), "]".repeat(5000)), "nest"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part) && error.lines().count() == 1, "{text:?}: {error}");
        }
        assert!(Fields::parse(b"\xff\xfe{\0}\0").unwrap_err().contains("UTF-16"));
    }

    #[test]
    fn a_field_of_another_kind_is_named_with_what_it_is() {
        let fields = parse(r#"{"size": "224", "list": [1, 2], "long": "0123456789012345678901234567890123456789012345678901234567890123456789"}"#).unwrap();
        assert_eq!(fields.count("size"), Err("`size` is \"224\", not a whole number".into()));
        assert_eq!(fields.channels("list"), Err("`list` is [1,2], not one number or three".into()));
        assert!(fields.count("long").unwrap_err().len() < 100);
        assert_eq!(parse(r#"{"n": -1}"#).unwrap().count("n").unwrap_err(), "`n` is -1, not a whole number");
    }
}
