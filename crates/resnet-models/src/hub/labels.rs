//! Names of classes as timm and transformers write them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json::{Fields, shown};

/// Names of classes: a list in their order, or a table by their numbers, in which some may have none; or, the other way
/// round, a table from names to numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelNames(BTreeMap<usize, String>);

impl LabelNames {
    /// The names in a field. `None` where there are none, or those that transformers writes where nobody gave names.
    pub fn of(fields: &Fields, key: &str) -> Result<Option<Self>, String> {
        let Some(value) = fields.get(key) else { return Ok(None) };
        let wrong = |what: &Value| format!("`{key}` holds {}, which is no name of a class", shown(what));
        let names: BTreeMap<usize, String> = match value {
            Value::Array(names) => {
                let named = |(number, value): (usize, &Value)| Some((number, name(value)?));
                names
                    .iter()
                    .enumerate()
                    .filter(|(_, value)| !value.is_null())
                    .map(|pair| named(pair).ok_or_else(|| wrong(pair.1)))
                    .collect::<Result<_, _>>()?
            }
            Value::Object(table)
                if !table.is_empty() && table.keys().all(|key| key.trim().parse::<usize>().is_err()) =>
            {
                let number = |value: &Value| value.as_u64().and_then(|number| number.try_into().ok());
                table
                    .iter()
                    .map(|(name, value)| Ok((number(value).ok_or_else(|| wrong(value))?, name.clone())))
                    .collect::<Result<_, String>>()?
            }
            Value::Object(table) => {
                let number = |key: &str| key.trim().parse().map_err(|_| wrong(&Value::String(key.to_owned())));
                table
                    .iter()
                    .filter(|(_, value)| !value.is_null())
                    .map(|(key, value)| Ok((number(key)?, name(value).ok_or_else(|| wrong(value))?)))
                    .collect::<Result<_, String>>()?
            }
            other => return Err(wrong(other)),
        };
        let placeholder = names.iter().all(|(number, name)| *name == format!("LABEL_{number}"));
        Ok(Some(Self(names)).filter(|_| !placeholder))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A name for each of so many classes, or as many as there are names: its description where it has one
    /// (`label_descriptions`, for names such as ImageNet's `n01440764`), its number where it has none.
    pub fn all(&self, descriptions: &BTreeMap<String, String>, classes: Option<usize>) -> Vec<String> {
        let Self(names) = self;
        let after_last = names.keys().last().map_or(0, |&last| last.saturating_add(1));
        let count = classes.unwrap_or(0).max(after_last);
        // A number beyond all reason is no class.
        let count = if count > names.len().saturating_add(MOST_GAPS) { names.len() } else { count };
        let named = (0..count).map(|number| names.get(&number).cloned().unwrap_or_else(|| number.to_string()));
        named.map(|name| descriptions.get(&name).cloned().unwrap_or(name)).collect()
    }
}

/// More classes than this without a name are none.
const MOST_GAPS: usize = 100_000;

/// A name; numbers are names, too.
fn name(value: &Value) -> Option<String> {
    match value {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(json: &str) -> Result<Option<LabelNames>, String> {
        LabelNames::of(&Fields::parse(format!(r#"{{"names": {json}}}"#).as_bytes()).unwrap(), "names")
    }

    fn all(json: &str, classes: Option<usize>) -> Vec<String> {
        let descriptions = BTreeMap::from([("n1".to_owned(), "tench, a fish".to_owned())]);
        names(json).unwrap().unwrap().all(&descriptions, classes)
    }

    #[test]
    fn lists_and_tables_become_a_name_each() {
        assert_eq!(all(r#"["n1", "n2"]"#, None), ["tench, a fish", "n2"]);
        assert_eq!(all(r#"{"0": "n1", "2": "n3"}"#, None), ["tench, a fish", "1", "n3"]);
        assert_eq!(all(r#"{"1": "n1"}"#, Some(3)), ["0", "tench, a fish", "2"]);
        // By number, not by spelling.
        assert_eq!(all(r#"{"10": "k", "9": "j", "1": "b", "0": "a"}"#, None)[8..], ["8", "j", "k"]);
        assert_eq!(all(r#"{"0": 7, "1": true}"#, None), ["7", "true"]);
        assert_eq!(all(r#"{"cat": 1, "dog": 0}"#, None), ["dog", "cat"]);
        assert_eq!(all(r#"["a", null, "c"]"#, None), ["a", "1", "c"]);
        assert_eq!(all(r#"{"18446744073709551615": "n1"}"#, None).len(), 1);
        // More names than classes are told apart by whoever knows the weights.
        assert_eq!(all(r#"["a", "b", "c"]"#, Some(2)).len(), 3);
        for nobody in [r#"{"0": "LABEL_0", "1": "LABEL_1"}"#, r#"["LABEL_0"]"#, "{}", "[]", "null"] {
            assert_eq!(names(nobody), Ok(None), "{nobody}");
        }
        for wrong in ["3", r#"{"a": "n1"}"#, r#"[["a"]]"#, r#"{"0": "a", "x": "b"}"#] {
            assert!(names(wrong).unwrap_err().contains("`names`"), "{wrong}");
        }
    }
}
