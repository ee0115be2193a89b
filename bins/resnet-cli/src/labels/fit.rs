//! Which class of a network each class of a data set is: by name, or by number where one side has no names.

mod names;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use clap::ValueEnum;
use resnet_data::{Dataset, composed, imagenet, shown};

use self::names::{Found, Names, loosely, nearest};
use super::relabelled::Relabelled;
use crate::failure::bad_input;

/// Names that an error or a message lists.
const LISTED: usize = 8;

/// What `--match` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Match {
    /// A class is the network's of that name
    Name,
    /// A class whose name is a number is the network's of that number, from 0
    Number,
    /// The first class is the network's first, and so on; folders in the order of their names as text
    Position,
}

/// What `--map` says: a class of the data set, and the network's for it; none where it is left out.
#[derive(Clone, Debug)]
pub struct Mapping(String);

impl std::str::FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('=') {
            Ok(Self(text.to_owned()))
        } else {
            Err("give CLASS=OTHER, or CLASS= to leave it out".into())
        }
    }
}

/// A data set's classes beside a network's.
pub struct Fit<'a> {
    /// What the data set is called, for messages.
    pub dataset: &'a str,
    /// What `--map` says.
    pub maps: &'a [Mapping],
    /// What `--match` says.
    pub by: Option<Match>,
    /// Number of the network's classes.
    pub count: usize,
    /// Their names, where they are known.
    pub names: Option<&'a [String]>,
}

impl Fit<'_> {
    /// The data set with the network's labels, and what is to be said about it: nothing where both have the same
    /// classes in the same order.
    ///
    /// # Errors
    /// Names the classes that the network has not.
    pub fn apply(&self, set: &Arc<dyn Dataset>) -> anyhow::Result<(Arc<dyn Dataset>, Option<String>)> {
        let own: Vec<String> = set.classes().iter().map(|name| composed(name)).collect();
        let known = self.known_names();
        let same = |names: &[String]| names.iter().map(|name| composed(name)).eq(own.iter().cloned());
        if self.maps.is_empty() && self.by.is_none() && own.len() == self.count && self.names.is_some_and(same) {
            return Ok((Arc::clone(set), None));
        }
        let mut present = vec![false; own.len()];
        (0..set.len()).for_each(|index| present[set.label(index) as usize] = true);
        let mut map = self.mapped(&own, known.as_deref())?;
        let open: Vec<usize> = (0..own.len()).filter(|&class| present[class] && map[class].is_none()).collect();
        let how = if open.is_empty() { String::new() } else { self.fill(&own, &open, known.as_deref(), &mut map)? };
        let map: Vec<Option<u32>> = map.into_iter().map(Option::flatten).collect();
        let used = (0..own.len()).filter(|&class| present[class]);
        let mut found: Vec<u32> = used.clone().filter_map(|class| map[class]).collect();
        let dropped: Vec<&String> = used.filter(|&class| map[class].is_none()).map(|class| &own[class]).collect();
        found.sort_unstable();
        found.dedup();
        if found.is_empty() {
            return Err(bad_input(format!("--dataset {}: --map leaves out all of its classes", self.dataset)));
        }
        let mut said = Vec::new();
        if !how.is_empty() {
            said.push(how);
        }
        if found.len() < self.count {
            said.push(format!(
                "images are of {} of the network's {} classes, any of which it may say",
                found.len(),
                self.count
            ));
        }
        if !dropped.is_empty() {
            said.push(format!("left out: {}", list(dropped)));
        }
        let names =
            self.names.map_or_else(|| (0..self.count).map(|class| class.to_string()).collect(), <[String]>::to_vec);
        let set = Relabelled::new(set, &map, names);
        Ok((Arc::new(set), (!said.is_empty()).then(|| said.join("; "))))
    }

    /// The network's names in one Unicode form; `None` where they are its numbers, under whatever name.
    fn known_names(&self) -> Option<Vec<String>> {
        let names: Vec<String> = self.names?.iter().map(|name| composed(name)).collect();
        let numbered = names.iter().enumerate().all(|(class, name)| {
            let name = name.strip_prefix("LABEL_").unwrap_or(name);
            name.parse() == Ok(class)
        });
        (names.len() == self.count && !numbered).then_some(names)
    }

    /// What `--map` says of each class: nothing, that it is left out, or which of the network's it is.
    fn mapped(&self, own: &[String], known: Option<&[String]>) -> anyhow::Result<Vec<Option<Option<u32>>>> {
        let mut map = vec![None; own.len()];
        for Mapping(text) in self.maps {
            let text = composed(text);
            // A name may hold an equals sign too.
            let cuts = text.match_indices('=').map(|(at, _)| (&text[..at], &text[at + 1..]));
            let cut = cuts.filter_map(|(from, to)| Some((own.iter().position(|name| name == from)?, to))).next_back();
            let Some((class, to)) = cut else {
                let from = text.split('=').next().unwrap_or_default();
                let hint = nearest(from, own).map_or(String::new(), |near| format!("; did you mean {}?", shown(near)));
                return Err(bad_input(format!(
                    "--map {}: --dataset {} has no such class{hint} (it has {})",
                    shown(&text),
                    self.dataset,
                    list(own)
                )));
            };
            let by_name = |name: &str| known.and_then(|known| known.iter().position(|known| known == name));
            let by_number = || to.parse().ok().filter(|&number: &usize| number < self.count);
            map[class] = Some(match to {
                "" => None,
                to => match by_name(to).or_else(by_number) {
                    Some(class) => Some(class as u32),
                    None => {
                        let near = known.and_then(|known| nearest(to, known));
                        let hint = near.map_or(String::new(), |near| format!("; did you mean {}?", shown(near)));
                        let classes = self.network(known);
                        return Err(bad_input(format!(
                            "--map {}: {classes}: {to} is none of them{hint}",
                            shown(&text)
                        )));
                    }
                },
            });
        }
        Ok(map)
    }

    /// Finds the network's class for those that are open; says how where that is not plain.
    fn fill(
        &self,
        own: &[String],
        open: &[usize],
        known: Option<&[String]>,
        map: &mut [Option<Option<u32>>],
    ) -> anyhow::Result<String> {
        let number = |class: usize| own[class].parse::<usize>().ok().filter(|&number| number < self.count);
        let numbers = open.iter().all(|&class| number(class).is_some());
        let mut take = |class: usize, number: usize| map[class] = Some(Some(number as u32));
        let fits = own.len() == self.count;
        let by = match (self.by, known) {
            (Some(by), _) => by,
            (None, Some(known)) if numbers && fits && !known.contains(&own[open[0]]) => Match::Number,
            (None, None) if self.is_imagenet(None, own, open) => Match::Name,
            (None, None) if numbers => Match::Number,
            (None, None) if fits && own.iter().all(|name| name.parse::<usize>().is_err()) => Match::Position,
            (None, _) => Match::Name,
        };
        match by {
            Match::Number if numbers => {
                open.iter().for_each(|&class| number(class).into_iter().for_each(|number| take(class, number)));
                let example = &own[open[open.len() - 1]];
                Ok(format!("by number: {example} is the network's class number {example}, counted from 0"))
            }
            Match::Number => {
                let wrong: Vec<&String> =
                    open.iter().filter(|&&class| number(class).is_none()).map(|&class| &own[class]).collect();
                Err(self.refused(&wrong, known, own))
            }
            Match::Position if fits => {
                open.iter().for_each(|&class| take(class, class));
                let last = own.len() - 1;
                let why = if known.is_none() { "the weights have no names for their classes: " } else { "" };
                Ok(format!("{why}by position: {} is class 0, {} class {last}", shown(&own[0]), shown(&own[last])))
            }
            Match::Position => Err(self.other_number(own.len())),
            Match::Name => {
                let names = Names::new(known, self.is_imagenet(known, own, open));
                let (mut loose, mut missing) = (Vec::new(), Vec::new());
                let mut alike: HashMap<&str, Vec<usize>> = HashMap::new();
                own.iter().enumerate().for_each(|(class, name)| alike.entry(name).or_default().push(class));
                for &class in open {
                    let same = &alike[own[class].as_str()];
                    match names.find(&own[class], same.partition_point(|&other| other < class), same.len()) {
                        Found::One(found, exact) => {
                            take(class, found as usize);
                            if !exact {
                                loose.push(format!("{} = {}", shown(&own[class]), shown(names.name(found))));
                            }
                        }
                        Found::Several(classes) => return Err(self.ambiguous(&own[class], &classes)),
                        Found::Nothing => missing.push(&own[class]),
                    }
                }
                match (missing.is_empty(), known) {
                    (true, _) if loose.is_empty() => Ok(String::new()),
                    (true, _) => Ok(format!("taken for the same: {}", list(&loose))),
                    (false, None) if !fits => Err(self.other_number(own.len())),
                    (false, _) => Err(self.refused(&missing, known, own)),
                }
            }
        }
    }

    /// Whether the open classes are ImageNet's by their identifiers, and the network's are too.
    fn is_imagenet(&self, known: Option<&[String]>, own: &[String], open: &[usize]) -> bool {
        let wnids = imagenet::wnids();
        if self.count != wnids.len() || !open.iter().all(|&class| wnids.binary_search(&own[class].as_str()).is_ok()) {
            return false;
        }
        // Whatever names the weights have: those of some classes agree with one list or the other.
        let Some(known) = known else { return true };
        let names = imagenet::names();
        let same = (0..self.count).filter(|&class| {
            let (known, name) = (loosely(&known[class]), loosely(names[class]));
            known.starts_with(&name) || known == wnids[class]
        });
        2 * same.count() >= self.count
    }

    fn refused(&self, missing: &[&String], known: Option<&[String]>, own: &[String]) -> anyhow::Error {
        let near = missing.iter().find_map(|name| Some((name, nearest(name, known?)?)));
        let hint = near.map_or(String::new(), |(name, near)| format!(" ({} may be {})", shown(name), shown(near)));
        let example = missing.first().map(shown).unwrap_or_default();
        let (are, what) = if missing.len() == 1 { ("is no class", "it") } else { ("are no classes", "each of them") };
        let order = if known.is_some_and(|known| known.len() == own.len()) { "; or --match position" } else { "" };
        bad_input(format!(
            "--dataset {}: {} {are} of the weights{hint}; {}; say what {what} is with --map {example}=CLASS, or leave \
             it out with --map {example}={order}",
            self.dataset,
            list(missing.iter().copied()),
            self.network(known)
        ))
    }

    fn ambiguous(&self, name: &str, classes: &[u32]) -> anyhow::Error {
        let numbers: Vec<String> = classes.iter().map(u32::to_string).collect();
        let (dataset, name, count) = (self.dataset, shown(name), classes.len());
        let known = match count {
            1 => format!("is class {} of the weights, and of more than one class here", numbers[0]),
            _ => format!("is the name of {count} classes of the weights: {}", numbers.join(" and ")),
        };
        bad_input(format!("--dataset {dataset}: {name} {known}; say which it is with --map {name}=NUMBER"))
    }

    fn other_number(&self, have: usize) -> anyhow::Error {
        let (dataset, count) = (self.dataset, self.count);
        bad_input(format!(
            "--dataset {dataset} has {have} classes, the weights {count} and no names for them: choose weights trained on \
             it, or say with --map CLASS=NUMBER which is which"
        ))
    }

    fn network(&self, known: Option<&[String]>) -> String {
        match known {
            Some(known) => format!("the weights know {}", list(known)),
            None => format!("the weights' classes are the numbers 0 to {}", self.count.saturating_sub(1)),
        }
    }
}

/// Some names, and how many more there are.
fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<&String> = names.into_iter().collect();
    let mut text = names.iter().take(LISTED).map(shown).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        text += &format!(" and {} more", names.len() - LISTED);
    }
    text
}
