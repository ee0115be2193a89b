//! Which columns of a parquet file are pictures and labels, and what the hub's library says of them.

use std::collections::HashSet;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::columns::{Columns, Leaf, Physical};
use crate::{Error, Result};

/// What columns of pictures are called, the likeliest first.
const IMAGES: [&str; 14] = [
    "image",
    "img",
    "images",
    "picture",
    "photo",
    "jpg",
    "jpeg",
    "png",
    "webp",
    "image_bytes",
    "image_data",
    "bytes",
    "data",
    "content",
];
/// What columns of paths to pictures are called, where no column has pictures.
const PATHS: [&str; 8] = ["image", "img", "file_name", "filename", "file", "path", "image_path", "filepath"];
/// What columns of labels are called, the likeliest first.
const LABELS: [&str; 13] = [
    "label",
    "labels",
    "fine_label",
    "cls",
    "class",
    "class_id",
    "label_id",
    "target",
    "category",
    "y",
    "class_name",
    "label_name",
    "classname",
];

/// Columns that are named one by one.
const FEW: usize = 20;

/// Characters that are shown of what may be long.
pub(super) const MOST_SHOWN: usize = 80;

/// Columns that the user chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) image: Option<String>,
    pub(super) label: Option<String>,
}

impl Chosen {
    /// Takes `?image=NAME&label=NAME` from the end of a place.
    pub(super) fn of(place: &str) -> Result<(&str, Self)> {
        let mut chosen = Self::default();
        let Some((rest, choice)) = place.rsplit_once('?').filter(|(_, choice)| choice.contains('=')) else {
            return Ok((place, chosen));
        };
        for pair in choice.split('&') {
            match pair.split_once('=') {
                Some(("image", name)) if !name.is_empty() => chosen.image = Some(name.to_string()),
                Some(("label", name)) if !name.is_empty() => chosen.label = Some(name.to_string()),
                _ => {
                    let message = format!("{place}: {pair:?} chooses no column; write ?image=NAME&label=NAME");
                    return Err(Error::Setting { setting: "pattern", message });
                }
            }
        }
        Ok((rest, chosen))
    }
}

/// A place with these columns chosen, beside those that it chooses already.
pub(crate) fn with_columns(place: &str, image: Option<&str>, label: Option<&str>) -> Result<String> {
    let (folder, own) = Chosen::of(place)?;
    let image = image.map(str::to_string).or(own.image).map(|name| format!("image={name}"));
    let label = label.map(str::to_string).or(own.label).map(|name| format!("label={name}"));
    Ok(format!("{folder}?{}", image.into_iter().chain(label).collect::<Vec<_>>().join("&")))
}

/// The columns that are read, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// The pictures' bytes.
    pub(super) bytes: Option<usize>,
    /// Paths to pictures, for rows that have no bytes.
    pub(super) paths: Option<usize>,
    pub(super) label: usize,
}

/// Chooses a file's columns; what else could have been meant is added to the notes.
pub(super) fn choose(path: &Path, columns: &Columns, chosen: &Chosen, notes: &mut Vec<String>) -> Result<Taken> {
    let leaves = columns.leaves();
    let wrong = |what: &str, flag: &str| {
        Error::format(
            path,
            format!("{what} among {}; choose one as in ?{flag}=NAME", some(leaves.iter().map(described))),
        )
    };
    let pictures = pictures(leaves, chosen.image.as_deref());
    let Some(&(picture, name)) = pictures.first() else {
        return Err(match &chosen.image {
            Some(name) => wrong(&format!("no column {name} of pictures"), "image"),
            None => wrong("no column of pictures", "image"),
        });
    };
    let bytes = !leaves[picture].text;
    let beside =
        |leaf: &Leaf| leaf.path == format!("{name}.path") && leaf.physical == Physical::Bytes && !leaf.repeated;
    let paths = if bytes { leaves.iter().position(beside) } else { Some(picture) };
    let own = |leaf: &Leaf| leaf.path == name || leaf.path.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    let named = named_columns(columns);
    let labels: Vec<usize> = match &chosen.label {
        Some(wanted) => leaves.iter().position(|leaf| leaf.path == *wanted && is_label(leaf)).into_iter().collect(),
        None => {
            let mut labels: Vec<usize> =
                (0..leaves.len()).filter(|&at| is_label(&leaves[at]) && !own(&leaves[at])).collect();
            let rank = |at: usize| LABELS.iter().position(|name| leaves[at].path.eq_ignore_ascii_case(name));
            let rank = |at: usize| rank(at).or_else(|| named.contains(&leaves[at].path).then_some(LABELS.len()));
            // Nothing but pictures and one column of numbers or words: there is no doubt.
            if labels.len() > 1 {
                labels.retain(|&at| rank(at).is_some());
            }
            labels.sort_by_key(|&at| rank(at));
            labels
        }
    };
    let Some(&label) = labels.first() else {
        return Err(match &chosen.label {
            Some(name) => {
                let what = leaves.iter().find(|leaf| leaf.path == *name).and_then(|leaf| leaf.measure);
                let why = what.map(|what| format!(" (it holds {what}, and a class is a number or a name)"));
                wrong(&format!("no column {name} with one label a row{}", why.unwrap_or_default()), "label")
            }
            None => wrong("no column of labels, one a row,", "label"),
        });
    };
    if pictures.len() > 1 {
        let others = some(pictures[1..].iter().map(|(_, name)| name.to_string()));
        notes.push(format!("the pictures are those of column {name}, not of {others} (?image=NAME chooses)"));
    }
    if labels.len() > 1 {
        let others = some(labels[1..].iter().map(|&at| leaves[at].path.clone()));
        notes.push(format!(
            "the labels are those of column {}, not of {others} (?label=NAME chooses)",
            leaves[label].path
        ));
    }
    Ok(Taken { bytes: bytes.then_some(picture), paths, label })
}

/// The first of many names.
fn some(names: impl ExactSizeIterator<Item = String>) -> String {
    let rest = names.len().saturating_sub(FEW);
    let mut text = names.take(FEW).collect::<Vec<_>>().join(", ");
    if rest > 0 {
        text += &format!(" and {rest} more");
    }
    text
}

/// A column's name, and what it holds where it is none that could be chosen.
fn described(leaf: &Leaf) -> String {
    let what = match leaf.physical {
        _ if leaf.repeated => Some("lists"),
        _ if leaf.measure.is_some() => leaf.measure,
        Physical::Float | Physical::Double => Some("fractions"),
        Physical::Other => Some("other"),
        _ => None,
    };
    format!("{}{}", leaf.path, what.map(|what| format!(" ({what})")).unwrap_or_default())
}

fn is_label(leaf: &Leaf) -> bool {
    !leaf.repeated
        && leaf.measure.is_none()
        && leaf.physical != Physical::Other
        && (leaf.physical != Physical::Bytes || leaf.text || !leaf.path.contains('.'))
}

/// Columns that may be pictures and their names, the likeliest first: bytes, or where there are none paths.
fn pictures<'a>(leaves: &'a [Leaf], wanted: Option<&'a str>) -> Vec<(usize, &'a str)> {
    let name = |leaf: &'a Leaf| -> &'a str {
        let inner = |ending| leaf.path.strip_suffix(ending);
        inner(".bytes").or_else(|| inner(".path")).unwrap_or(&leaf.path)
    };
    let usable = |leaf: &&Leaf| !leaf.repeated && leaf.physical == Physical::Bytes;
    let listed = |text: bool, known: &[&str]| -> Vec<(usize, &'a str)> {
        let rank = |name: &str| known.iter().position(|known| name.eq_ignore_ascii_case(known)).unwrap_or(known.len());
        let found = leaves.iter().enumerate().filter(|(_, leaf)| usable(leaf) && leaf.text == text);
        let found = found.filter(|(_, leaf)| wanted.is_none_or(|wanted| leaf.path == wanted || name(leaf) == wanted));
        let mut found: Vec<_> = found.map(|(at, leaf)| (at, name(leaf))).collect();
        // Text is a path only where its name says so.
        found.retain(|(_, name)| !text || wanted.is_some() || rank(name) < known.len());
        found.sort_by_key(|(_, name)| rank(name));
        found
    };
    match listed(false, &IMAGES) {
        bytes if bytes.is_empty() => listed(true, &PATHS),
        // Labels may be bytes that nobody called text: they are taken for pictures only where nothing else is.
        bytes => {
            let labels = |name: &str| wanted.is_none() && LABELS.contains(&name);
            let sure: Vec<_> = bytes.iter().copied().filter(|(_, name)| !labels(name)).collect();
            if sure.is_empty() { bytes } else { sure }
        }
    }
}

/// What stands where the hub's library writes features is no JSON.
#[derive(Debug)]
pub(super) struct NoJson;

/// The features that the hub's library writes into a file: in a key of its own, or within Arrow's schema.
pub(super) fn features(columns: &Columns) -> Result<Option<Value>, NoJson> {
    let in_schema = || {
        let schema = STANDARD.decode(columns.metadata("ARROW:schema")?).ok()?;
        // A table of texts with their lengths before them; this one is JSON and says itself where it ends.
        let begin = schema.windows(8).position(|bytes| bytes == b"{\"info\":")?;
        serde_json::Deserializer::from_slice(&schema[begin..]).into_iter::<Value>().next()
    };
    let own = columns.metadata("huggingface").map(serde_json::from_str);
    let Some(value) = own.or_else(in_schema) else { return Ok(None) };
    let mut value = value.map_err(|_| NoJson)?;
    let features = value.get_mut("info").and_then(|info| info.get_mut("features"));
    Ok(features.map(Value::take))
}

/// The columns whose classes have names.
fn named_columns(columns: &Columns) -> HashSet<String> {
    let features = features(columns).ok().flatten();
    let named = |(name, feature): (&String, &Value)| feature.get("names").is_some().then(|| name.clone());
    features.iter().filter_map(Value::as_object).flatten().filter_map(named).collect()
}

/// The classes' names of a column, of each number one: a list, or a map of numbers to names. An error says why they are
/// no such thing.
pub(super) fn names(columns: &Columns, column: usize) -> Result<Option<Vec<String>>, String> {
    let features = features(columns).ok().flatten();
    let feature = features.as_ref().and_then(|features| features.get(&columns.leaves()[column].path));
    feature.and_then(|feature| feature.get("names")).map_or(Ok(None), names_of)
}

fn names_of(value: &Value) -> Result<Option<Vec<String>>, String> {
    let text = |name: &Value| match name {
        Value::String(name) => Ok(name.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(name.to_string()),
        other => Err(format!("{other} is no name").chars().take(MOST_SHOWN).collect()),
    };
    match value {
        Value::Array(names) if names.is_empty() => Ok(None),
        Value::Array(names) => names.iter().map(text).collect::<Result<_, _>>().map(Some),
        Value::Object(map) if map.is_empty() => Ok(None),
        Value::Object(map) => {
            let mut names = vec![None; map.len()];
            for (key, value) in map {
                // The other way round too: names to numbers.
                let (number, name) = match (key.parse(), value.as_u64()) {
                    (Ok(number), _) => (number, text(value)?),
                    (Err(_), Some(number)) => (number as usize, key.clone()),
                    (Err(_), None) => return Err(format!("{key:?} is no number").chars().take(MOST_SHOWN).collect()),
                };
                if let Some(place) = names.get_mut(number) {
                    *place = Some(name);
                }
            }
            let missing = |number: usize| format!("{} are named, and none of them is number {number}", map.len());
            let named = names.into_iter().enumerate().map(|(number, name)| name.ok_or_else(|| missing(number)));
            named.collect::<Result<_, _>>().map(Some)
        }
        Value::Null => Ok(None),
        _ => Err("they are neither a list nor a map of numbers to names".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_a_list_or_a_map() {
        let names = |json: &str| names_of(&serde_json::from_str(json).unwrap());
        for json in [r#"["ant", "bee"]"#, r#"{"1": "bee", "0": "ant"}"#, r#"{"ant": 0, "bee": 1}"#] {
            assert_eq!(names(json).unwrap().unwrap(), ["ant", "bee"], "{json}");
        }
        assert_eq!(names(r"[5, true]").unwrap().unwrap(), ["5", "true"]);
        assert!(["null", "[]", "{}"].iter().all(|json| names(json).unwrap().is_none()));
        for (json, part) in [
            (r#"{"0": "ant", "2": "bee"}"#, "none of them is number 1"),
            (r#"{"ant": "bee"}"#, "\"ant\" is no number"),
            (r#"["ant", null]"#, "null is no name"),
            ("7", "neither a list nor a map"),
        ] {
            assert!(names(json).unwrap_err().contains(part), "{json}: {:?}", names(json));
        }
    }
}
