//! A network's classes by their names, and by what else may be meant by a name.

use std::collections::HashMap;

use resnet_data::imagenet;

/// The network's classes by name.
pub(super) struct Names<'a> {
    known: &'a [String],
    exact: HashMap<String, Vec<u32>>,
    loose: HashMap<String, Option<u32>>,
}

/// What a name may be.
pub(super) enum Found {
    /// A class, and whether that is its very name.
    One(u32, bool),
    /// Classes of one name: ImageNet has two cranes.
    Several(Vec<u32>),
    Nothing,
}

impl<'a> Names<'a> {
    pub(super) fn new(known: Option<&'a [String]>, imagenet: bool) -> Self {
        let known = known.unwrap_or_default();
        let mut names = Self { known, exact: HashMap::new(), loose: HashMap::new() };
        for (class, name) in (0..).zip(known) {
            names.exact.entry(name.clone()).or_default().push(class);
            names.add(loosely(name), class);
            // ImageNet's classes have several names: `tench, Tinca tinca`.
            name.split(", ").skip(usize::from(!name.contains(", "))).for_each(|part| names.add(loosely(part), class));
        }
        if imagenet {
            names.exact.extend((0..).zip(imagenet::wnids()).map(|(class, wnid)| (wnid.to_owned(), vec![class])));
        }
        names
    }

    /// Another name for a class; one that two have says nothing.
    fn add(&mut self, name: String, class: u32) {
        self.loose
            .entry(name)
            .and_modify(|found| *found = found.filter(|&found| found == class))
            .or_insert(Some(class));
    }

    /// The network's class for the `nth` of a data set's `count` classes of that name. Where both have a name as often, the
    /// first is the first.
    pub(super) fn find(&self, name: &str, nth: usize, count: usize) -> Found {
        if let Some(exact) = self.exact.get(name) {
            return match exact.get(nth) {
                Some(&found) if count == exact.len() => Found::One(found, true),
                _ => Found::Several(exact.clone()),
            };
        }
        let loose = self.loose.get(&loosely(name)).copied().flatten();
        loose.map_or(Found::Nothing, |found| Found::One(found, false))
    }

    pub(super) fn name(&self, class: u32) -> &str {
        self.known.get(class as usize).map_or("", String::as_str)
    }
}

/// A name without what is written in several ways: case, and blanks as `_` or `-`.
pub(super) fn loosely(name: &str) -> String {
    name.to_lowercase().replace(['_', '-'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The name most like another, where one is.
pub(super) fn nearest<'a>(name: &str, names: &'a [String]) -> Option<&'a String> {
    let likeness = |other: &&String| strsim::normalized_damerau_levenshtein(&loosely(name), &loosely(other));
    names.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|near| likeness(near) >= 0.6)
}
