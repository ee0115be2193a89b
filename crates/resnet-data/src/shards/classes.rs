//! The classes of two parts of a set, made the same.

use super::own_names::{Twice, join};
use super::summary::many;
use crate::names::shown;
use crate::{Dataset, Error, Result};

/// What the labels of shards are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Labelled {
    /// Numbers: the classes' places in a list that another part may know more of.
    Numbers,
    /// Words that a part knows as far as it has them.
    Words,
}

/// Shards whose classes can be seen under others' names and numbers.
pub(crate) trait Shards: Dataset + Sized {
    /// The same data set with these classes, each label changed so.
    fn relabelled(self, classes: Vec<String>, change: impl Fn(u32) -> u32) -> Self;

    /// What its labels are.
    fn labelled(&self) -> Labelled;

    /// Adds a line to what is to be said of it.
    fn note(&mut self, note: String);

    /// The same data set with these names for its classes.
    fn with_classes(self, classes: Vec<String>) -> Self {
        self.relabelled(classes, |label| label)
    }
}

/// Two parts of a set shall have the same classes: of numbers without names the longer list; names are matched, where
/// one part has all of them; of words all of both.
///
/// # Errors
/// [`Error::Format`] naming the first class that only one part has, or where one part has numbers and the other words.
pub(crate) fn with_same_classes<T: Shards>(place: &str, mut train: T, mut test: T) -> Result<(T, T)> {
    let (have, held) = (train.classes().to_vec(), test.classes().to_vec());
    if have == held {
        return Ok((train, test));
    }
    let wrong = |message: String| Error::format(place, message);
    let numbers = |names: &[String]| names.iter().enumerate().all(|(place, name)| *name == place.to_string());
    let words = [&train, &test].map(|part| part.labelled() == Labelled::Words);
    let plain = [(&have, words[0]), (&held, words[1])].map(|(names, words)| !words && numbers(names));
    let first = |names: &[String]| names.first().map(shown).unwrap_or_default();
    let both = "write both with the same labels";
    match (words, plain) {
        ([true, true], _) => {
            let mut all = [have, held].concat();
            all.sort();
            all.dedup();
            let place = |name: &String| all.binary_search(name).unwrap_or(0) as u32;
            let places = [&train, &test].map(|part| part.classes().iter().map(place).collect::<Vec<_>>());
            return Ok((among(train, &all, &places[0]), among(test, &all, &places[1])));
        }
        ([true, false], [_, true]) => {
            let word = first(&have);
            return Err(wrong(format!(
                "the training part's labels are names ({word}), the test part's numbers: {both}"
            )));
        }
        ([false, true], [true, _]) => {
            let word = first(&held);
            return Err(wrong(format!(
                "the training part's labels are numbers, the test part's names ({word}): {both}"
            )));
        }
        (_, [true, true]) => {
            let longer = if have.len() > held.len() { have } else { held };
            return Ok((train.with_classes(longer.clone()), test.with_classes(longer)));
        }
        // Names may stand beside one part alone.
        (_, [true, false]) if have.len() <= held.len() => return Ok((train.with_classes(held), test)),
        (_, [false, true]) if held.len() <= have.len() => return Ok((train, test.with_classes(have))),
        (_, [true, false]) => return Err(wrong(unnamed("training", have.len(), "test", held.len()))),
        (_, [false, true]) => return Err(wrong(unnamed("test", held.len(), "training", have.len()))),
        _ => {}
    }
    // A part whose labels are words has of the names those that it needs: the other's list comes first.
    let mut all = if words[0] { held.clone() } else { have.clone() };
    let twice = |Twice(name): Twice| {
        wrong(format!(
            "the parts name their classes in different orders, and {} stands twice in one of them: {both}",
            shown(name)
        ))
    };
    let places = [join(&mut all, &have).map_err(twice)?, join(&mut all, &held).map_err(twice)?];
    if !words.contains(&true)
        && all.len() > have.len().max(held.len())
        && let Some((number, name)) = held.iter().enumerate().find(|(_, name)| !have.contains(name))
    {
        let what = format!("the test part's class {number}, {}, is none of the training part's", shown(name));
        let count = many(have.len(), "class");
        return Err(wrong(format!("{what} {count} ({} first): {both}", first(&have))));
    }
    let parts = [("training", &mut train), ("test", &mut test)];
    for ((what, part), places) in parts.into_iter().zip(&places) {
        if places.iter().enumerate().any(|(number, &place)| number as u32 != place) {
            part.note(format!("the {what} part's classes are in another order than the other's, and matched by name"));
        }
    }
    Ok((among(train, &all, &places[0]), among(test, &all, &places[1])))
}

/// That one part has more numbers than the other has names.
fn unnamed(part: &str, count: usize, other: &str, names: usize) -> String {
    format!(
        "a label of the {part} part is {}, but the {other} part names {} classes: name every class, as in classes.txt, a \
         line each",
        count.saturating_sub(1),
        names
    )
}

/// A part under the classes of all.
fn among<T: Shards>(part: T, all: &[String], places: &[u32]) -> T {
    part.relabelled(all.to_vec(), |label| places.get(label as usize).copied().unwrap_or(0))
}
