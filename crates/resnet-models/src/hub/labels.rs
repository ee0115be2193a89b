//! Names of classes as timm writes them.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `label_names`: a list, or a table by the class's number where some have no name.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum LabelNames {
    /// In the order of the classes.
    List(Vec<String>),
    /// By numbers.
    Table(BTreeMap<String, String>),
}

impl LabelNames {
    /// A name for each of so many classes, or as many as there are names: its description where it has one
    /// (`label_descriptions`, for names such as ImageNet's `n01440764`), its number where it has none.
    pub(super) fn all(self, descriptions: &BTreeMap<String, String>, classes: Option<usize>) -> Vec<String> {
        let names = match self {
            Self::List(names) => names,
            Self::Table(names) => {
                let names: BTreeMap<usize, String> =
                    names.into_iter().filter_map(|(number, name)| Some((number.parse().ok()?, name))).collect();
                let count = classes.unwrap_or_else(|| names.keys().last().map_or(0, |&last| last.saturating_add(1)));
                // A number beyond all reason is no class.
                let count = if count > names.len() + MOST_GAPS { names.len() } else { count };
                (0..count).map(|number| names.get(&number).cloned().unwrap_or_else(|| number.to_string())).collect()
            }
        };
        names.into_iter().map(|name| descriptions.get(&name).cloned().unwrap_or(name)).collect()
    }
}

/// More classes than this without a name are none.
const MOST_GAPS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(json: &str, classes: Option<usize>) -> Vec<String> {
        let descriptions = BTreeMap::from([("n1".to_owned(), "tench, a fish".to_owned())]);
        serde_json::from_str::<LabelNames>(json).unwrap().all(&descriptions, classes)
    }

    #[test]
    fn lists_and_tables_become_a_name_each() {
        assert_eq!(all(r#"["n1", "n2"]"#, None), ["tench, a fish", "n2"]);
        assert_eq!(all(r#"{"0": "n1", "2": "n3"}"#, None), ["tench, a fish", "1", "n3"]);
        assert_eq!(all(r#"{"1": "n1"}"#, Some(3)), ["0", "tench, a fish", "2"]);
        assert_eq!(all(r#"{"18446744073709551615": "n1"}"#, None).len(), 1);
        assert_eq!(all(r#"{"a": "n1"}"#, None).len(), 0);
        assert!(serde_json::from_str::<LabelNames>("3").is_err());
    }
}
