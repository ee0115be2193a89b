//! What stands beside an image for its class: a number, or a word.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::text::lines;
use crate::{Error, Result, imagenet};

/// Labels from here on are taken for something else that stands where a label should: a network's head of so many
/// classes would not fit into memory.
const MOST_CLASSES: i64 = 1 << 20;

/// A name of a class is no longer, in bytes.
const LONGEST_NAME: usize = 256;

/// A class, as it is written beside an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Label {
    Number(i64),
    Word(Arc<str>),
}

impl Label {
    /// A label in text, without the blanks around it; `None` where it is empty, or longer than a name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '\0');
        if let Ok(number) = text.parse() {
            return Some(Self::Number(number));
        }
        // Tables with missing labels write the others with a fraction of nothing.
        let whole = |number: &f64| number.fract() == 0.0 && number.abs() < 1e15 && text.contains('.');
        if let Some(number) = text.parse().ok().filter(whole) {
            return Some(Self::Number(number as i64));
        }
        let name = !text.is_empty() && text.len() <= LONGEST_NAME && !text.contains(char::is_control);
        name.then(|| Self::Word(text.into()))
    }
}

/// The classes of a set, and the class of each image.
#[derive(Debug)]
pub(super) struct Classes {
    pub(super) labels: Vec<u32>,
    pub(super) names: Vec<String>,
    /// True where the names are words that the labels themselves were: another part may have others.
    pub(super) words: bool,
}

/// Understands labels. Names come from the set itself where it has them, else from `classes.txt` beside the shards, a
/// line each; else words are names, a thousand numbers ImageNet's classes, and other numbers their own.
pub(super) fn classes(shard: &Path, labels: &[Label], own: Option<Vec<String>>) -> Result<Classes> {
    let number = |label: &Label| match label {
        Label::Number(number) => Some(*number),
        Label::Word(_) => None,
    };
    let numbers: Option<Vec<i64>> = labels.iter().map(number).collect();
    let listed = list_beside(shard)?;
    let Some(numbers) = numbers else {
        let own = own.map(|names| List { path: None, names });
        return words(shard, labels, listed.or(own));
    };
    let greatest = numbers.iter().copied().max().unwrap_or(0);
    if let Some(least) = numbers.iter().copied().min().filter(|&least| least < 0) {
        let message = format!("a label is {least}, below 0: is it an id of the image?");
        return Err(Error::format(shard, message));
    }
    if greatest >= MOST_CLASSES {
        let message = format!("a label is {greatest}, more than the number of any class: is it an id of the image?");
        return Err(Error::format(shard, message));
    }
    let count = greatest as usize + 1;
    let names = match (own.filter(|names| names.len() >= count), listed) {
        (Some(own), _) => own,
        (None, Some(listed)) if listed.names.len() < count => {
            let message = format!("{} names, but a label is {greatest}: a line a class is needed", listed.names.len());
            return Err(Error::format(listed.path.as_deref().unwrap_or(shard), message));
        }
        (None, Some(listed)) => listed.names,
        (None, None) => match imagenet::wnids() {
            wnids if wnids.len() == count => wnids.into_iter().map(str::to_string).collect(),
            _ => (0..count).map(|number| number.to_string()).collect(),
        },
    };
    Ok(Classes { labels: numbers.into_iter().map(|number| number as u32).collect(), names, words: false })
}

/// The numbers of words: their places in the list, or among the words themselves, sorted.
fn words(shard: &Path, labels: &[Label], listed: Option<List>) -> Result<Classes> {
    let text = |label: &Label| match label {
        Label::Number(number) => number.to_string().into(),
        Label::Word(word) => Arc::clone(word),
    };
    let Some(List { path, names }) = listed else {
        let names: BTreeSet<Arc<str>> = labels.iter().map(text).collect();
        if names.len() as i64 > MOST_CLASSES {
            return Err(Error::format(shard, format!("{} labels differ: are they names of the images?", names.len())));
        }
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        // Sorted, and each label is among them.
        let place = |label: &Label| names.binary_search_by(|name| (**name).cmp(&*text(label))).unwrap_or(0) as u32;
        let labels = labels.iter().map(place).collect();
        return Ok(Classes { labels, names, words: true });
    };
    let known: HashMap<&str, u32> =
        names.iter().enumerate().rev().map(|(number, name)| (name.as_str(), number as u32)).collect();
    let place = |label: &Label| match label {
        Label::Number(number) if usize::try_from(*number).is_ok_and(|number| number < names.len()) => {
            Ok(*number as u32)
        }
        label => known.get(&*text(label)).copied().ok_or_else(|| {
            let list = path.as_deref().map_or("the set's own classes".into(), |path| path.display().to_string());
            Error::format(
                shard,
                format!("the label {:?} is not among the {} names in {list}", text(label), names.len()),
            )
        }),
    };
    let labels = labels.iter().map(place).collect::<Result<_>>()?;
    Ok(Classes { labels, names, words: false })
}

/// Names of classes, and the file that has them.
#[derive(Debug)]
struct List {
    path: Option<PathBuf>,
    names: Vec<String>,
}

/// `classes.txt` in the folder of a shard or the one above it.
fn list_beside(shard: &Path) -> Result<Option<List>> {
    let folder = shard.parent().unwrap_or(Path::new("."));
    let mut lists = [Some(folder), folder.parent()].into_iter().flatten().map(|folder| folder.join("classes.txt"));
    let Some(path) = lists.find(|path| path.is_file()) else { return Ok(None) };
    let names = lines(&path)?;
    if let Some(line) = names.iter().position(String::is_empty) {
        let message = format!("line {} is empty: which class is meant? Name it, or remove the line", line + 1);
        return Err(Error::format(path, message));
    }
    Ok(Some(List { path: Some(path), names }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_numbers_or_words() {
        for (text, number) in
            [("7", 7), (" 7\r\n", 7), ("\u{feff}7\r\n", 7), ("-1", -1), ("+3", 3), ("3.0", 3), ("007", 7)]
        {
            assert_eq!(Label::parse(text), Some(Label::Number(number)), "{text:?}");
        }
        for word in ["cat", "tabby cat", "3.5", "n01440764", "nan", "été"] {
            assert_eq!(Label::parse(&format!("{word}\r\n")), Some(Label::Word(word.into())));
        }
        for nothing in ["", " \n", "two\nlines", &"x".repeat(300)] {
            assert_eq!(Label::parse(nothing), None, "{nothing:?}");
        }
    }

    /// What stands where a label should is no number of a class.
    #[test]
    fn a_label_beyond_all_classes_is_an_error() {
        for (number, part) in [(4_294_967_295, "4294967295"), (i64::MAX, "id of the image"), (-2, "below 0")] {
            let message = classes(Path::new("a.tar"), &[Label::Number(number)], None).unwrap_err().to_string();
            assert!(message.contains("a.tar") && message.contains(part), "{message}");
        }
    }
}
