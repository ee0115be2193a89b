//! What stands beside an image for its class: a number, or a word.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::names::shown;
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

/// Why a text is no label.
pub(super) const NEITHER: &str = "it is neither a number nor a name";
const TOO_LARGE: &str = "it is a number larger than any class's, as of an id: write the class, from 0 on";
const SEVERAL: &str = "it is several numbers, and a class is one: write one number or name";

impl Label {
    /// A label in text, without the blanks around it; else why it is none.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        let text = trimmed(text);
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(TOO_LARGE);
        }
        // Tables with missing labels write the others with a fraction of nothing.
        let whole = |number: &f64| number.is_finite() && number.fract() == 0.0 && text.contains('.');
        match text.parse().ok().filter(whole) {
            Some(number) if number.abs() < 1e15 => return Ok(Self::Number(number as i64)),
            Some(_) => return Err(TOO_LARGE),
            None => {}
        }
        if are_numbers(text) {
            return Err(SEVERAL);
        }
        let name = !text.is_empty() && text.len() <= LONGEST_NAME && !text.contains(char::is_control);
        if name { Ok(Self::Word(text.into())) } else { Err(NEITHER) }
    }

    /// A label in text, where it is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::read(text).ok()
    }
}

/// A text without the blanks and marks around it.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '\0')
}

/// Whether a text is a list of numbers: `0,3`, `[0, 1, 0]`, `0 0.5 0.5`.
fn are_numbers(text: &str) -> bool {
    let number = |part: &str| part.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let mut parts = text.split(|c: char| c.is_whitespace() || ",;|[]()".contains(c)).filter(|part| !part.is_empty());
    parts.clone().count() > 1 && parts.all(|part| number(part) && part.parse::<f64>().is_ok())
}

/// The classes of a set, and the class of each image.
#[derive(Debug)]
pub(super) struct Classes {
    pub(super) labels: Vec<u32>,
    pub(super) names: Vec<String>,
    /// True where the names are words that the labels themselves were: another part may have others.
    pub(super) words: bool,
}

/// The labels of a part, and what is known of them.
pub(super) struct Given<'a> {
    /// The first shard.
    pub(super) shard: &'a Path,
    pub(super) labels: &'a [Label],
    /// Names that the set itself has, of each number one.
    pub(super) own: Option<Vec<String>>,
    /// The shard that a label stands in, and where there.
    pub(super) at: &'a dyn Fn(usize) -> (&'a Path, String),
}

/// Understands labels. Names come from the set itself where it has them, else from `classes.txt` beside the shards, a
/// line each; else words are names, a thousand numbers ImageNet's classes, and other numbers their own.
pub(super) fn classes(given: Given) -> Result<Classes> {
    let Given { shard, labels, own, .. } = &given;
    let number = |label: &Label| match label {
        Label::Number(number) => Some(*number),
        Label::Word(_) => None,
    };
    let numbers: Option<Vec<i64>> = labels.iter().map(number).collect();
    let listed = list_beside(shard)?;
    let Some(numbers) = numbers else {
        let own = own.clone().map(|names| List { path: None, names });
        return words(&given, listed.or(own));
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
    let names = match (own.as_ref().filter(|names| names.len() >= count), listed) {
        (Some(own), _) => own.clone(),
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

/// The numbers of words: their places in the list, or among the words themselves, sorted. Numbers among them are words
/// where the list has them all.
fn words(given: &Given, listed: Option<List>) -> Result<Classes> {
    let &Given { shard, labels, at, .. } = given;
    let text = |label: &Label| match label {
        Label::Number(number) => number.to_string().into(),
        Label::Word(word) => Arc::clone(word),
    };
    let names = listed.as_ref().map(|list| list.names.iter().map(String::as_str).collect::<HashSet<_>>());
    let is_number = |label: &&Label| matches!(label, Label::Number(_));
    let unlisted = |label: &&Label| names.as_ref().is_none_or(|names| !names.contains(&*text(label)));
    if labels.iter().filter(is_number).any(|label| unlisted(&label))
        && let Some(number) = labels.iter().position(|label| is_number(&label))
        && let Some(word) = labels.iter().position(|label| !is_number(&label))
    {
        let ((file, number_at), (other, word_at)) = (at(number), at(word));
        let message = format!(
            "{number_at}: the label {} is a number, and {:?} ({}, {word_at}) is a name: write all in one way, or list \
             every one in classes.txt beside the shards, a line each",
            text(&labels[number]),
            text(&labels[word]),
            shown(other)
        );
        return Err(Error::format(file, message));
    }
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
    let place = |(index, label): (usize, &Label)| {
        known.get(&*text(label)).copied().ok_or_else(|| {
            let list = path.as_deref().map_or("the set's own classes".into(), shown);
            let (file, place) = at(index);
            let message =
                format!("{place}: the label {:?} is not among the {} names in {list}", text(label), names.len());
            Error::format(file, message)
        })
    };
    let labels = labels.iter().enumerate().map(place).collect::<Result<_>>()?;
    Ok(Classes { labels, names, words: false })
}

/// Names of classes, and the file that has them.
#[derive(Debug)]
pub(super) struct List {
    pub(super) path: Option<PathBuf>,
    names: Vec<String>,
}

/// `classes.txt` in the folder of a shard or the one above it.
pub(super) fn list_beside(shard: &Path) -> Result<Option<List>> {
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

    /// Ids and lists of numbers are no classes, whatever they would be called.
    #[test]
    fn numbers_that_are_no_class_are_no_names() {
        for text in ["99999999999999999999", "-99999999999999999999", "99999999999999999999.0"] {
            assert_eq!(Label::read(text), Err(TOO_LARGE), "{text}");
        }
        for text in ["0,3", "0, 3", "[0, 1, 0]", "0 1 0", "1;2", "0 0.5 0.5 0.2 0.2", "1\n2"] {
            assert_eq!(Label::read(text), Err(SEVERAL), "{text}");
        }
        for word in ["3.5", "2023-01", "3a, 4b", "nan inf", "n01440764"] {
            assert_eq!(Label::read(word), Ok(Label::Word(word.into())));
        }
    }

    /// What stands where a label should is no number of a class.
    #[test]
    fn a_label_beyond_all_classes_is_an_error() {
        for (number, part) in [(4_294_967_295, "4294967295"), (i64::MAX, "id of the image"), (-2, "below 0")] {
            let labels = [Label::Number(number)];
            let at = |_| (Path::new("a.tar"), "1.jpg".to_string());
            let given = Given { shard: Path::new("a.tar"), labels: &labels, own: None, at: &at };
            let message = classes(given).unwrap_err().to_string();
            assert!(message.contains("a.tar") && message.contains(part), "{message}");
        }
    }
}
