//! A network's classes by their names, and by what else may be meant by a name.

use std::collections::HashMap;

use resnet_data::imagenet;

/// The network's classes by name.
pub(super) struct Names<'a> {
    known: &'a [String],
    exact: HashMap<String, u32>,
    loose: HashMap<String, Option<u32>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(known: Option<&'a [String]>, imagenet: bool) -> Self {
        let known = known.unwrap_or_default();
        let mut names = Self { known, exact: HashMap::new(), loose: HashMap::new() };
        for (class, name) in (0..).zip(known) {
            names.exact.entry(name.clone()).or_insert(class);
            names.add(loosely(name), class);
            // ImageNet's classes have several names: `tench, Tinca tinca`.
            name.split(", ").skip(usize::from(!name.contains(", "))).for_each(|part| names.add(loosely(part), class));
        }
        if imagenet {
            names.exact.extend((0..).zip(imagenet::wnids()).map(|(class, wnid)| (wnid.to_owned(), class)));
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

    /// The class of a name, and whether it is that very name.
    pub(super) fn find(&self, name: &str) -> Option<(u32, bool)> {
        let exact = self.exact.get(name).map(|&class| (class, true));
        exact.or_else(|| self.loose.get(&loosely(name)).copied().flatten().map(|class| (class, false)))
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
