//! What is read of a parquet file when it is opened: its columns and labels.

use std::collections::HashMap;
use std::path::Path;

use super::choice::{Chosen, Taken, choose, features, names};
use super::labels::{Label, trimmed};
use crate::columns::{Columns, Values};
use crate::{Error, Result};

/// A file's columns, and the labels of its row groups.
pub(super) struct Indexed {
    pub(super) taken: Taken,
    pub(super) groups: Vec<Vec<Read>>,
    /// Names that its metadata has for its numbers.
    pub(super) names: Option<Vec<String>>,
    /// Whether there is metadata that cannot be understood.
    pub(super) passed_over: bool,
    pub(super) notes: Vec<String>,
}

/// A row's label; else why it is none, where there is something.
pub(super) type Read = Result<Label, Option<&'static str>>;

/// A file's columns and labels.
pub(super) fn index(path: &Path, chosen: &Chosen) -> Result<Indexed> {
    let columns = Columns::open(path)?;
    let mut notes = Vec::new();
    let taken = choose(path, &columns, chosen, &mut notes)?;
    let read = |group| -> Result<Vec<Read>> {
        Ok(match columns.values(group, taken.label)? {
            Values::Numbers(numbers) => {
                numbers.into_iter().map(|number| number.map(Label::Number).ok_or(None)).collect()
            }
            Values::Bytes(texts) => {
                // A word is kept once, however many rows have it.
                let mut known: HashMap<&[u8], Read> = HashMap::new();
                let mut label = |text| known.entry(text).or_insert_with(|| label_of(text)).clone();
                (0..texts.len()).map(|row| texts.get(row).ok_or(None).and_then(&mut label)).collect()
            }
        })
    };
    let groups = (0..columns.groups()).map(read).collect::<Result<_>>()?;
    let names = names(&columns, taken.label)
        .map_err(|what| Error::format(path, format!("the classes' names in its metadata: {what}; write it again")))?;
    Ok(Indexed { taken, groups, names, passed_over: features(&columns).is_err(), notes })
}

/// The label in a text; none where it is empty.
fn label_of(text: &[u8]) -> Read {
    let text = std::str::from_utf8(text).map_err(|_| Some("it is no text in UTF-8"))?;
    if trimmed(text).is_empty() { Err(None) } else { Label::read(text).map_err(Some) }
}
