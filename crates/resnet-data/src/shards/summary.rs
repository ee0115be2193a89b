//! What was left out while a set was indexed, in words.

use std::fmt;
use std::path::Path;

use crate::names::shown;
use crate::{Dataset, Split};

/// A kind of thing that is left out: what one is called, and what several are.
pub(super) type Kind = [&'static str; 2];

/// What none of a sample's members tells the class of.
pub(super) const UNLABELLED: Kind = ["sample without a label", "samples without a label"];
/// The hub's word for a label that is not told.
pub(super) const MINUS_ONE: Kind = ["row with the label -1, which is none", "rows with the label -1, which is none"];

/// Kinds of things that were left out: of each how many, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut(Vec<(Kind, usize, String)>);

impl LeftOut {
    /// Counts one of a kind.
    pub(super) fn add(&mut self, kind: Kind, name: impl FnOnce() -> String) {
        match self.0.iter_mut().find(|(known, ..)| *known == kind) {
            Some((_, all, _)) => *all += 1,
            None => self.0.push((kind, 1, name())),
        }
    }

    /// Says in which shard the things are.
    pub(super) fn within(&mut self, shard: &Path) {
        self.0.iter_mut().for_each(|(.., first)| *first = shown(shard.join(&first)));
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (kind, count, first) in other.0 {
            match self.0.iter_mut().find(|(known, ..)| *known == kind) {
                Some((_, all, _)) => *all += count,
                None => self.0.push((kind, count, first)),
            }
        }
    }

    /// How many there are of a kind.
    pub(super) fn count(&self, kind: Kind) -> usize {
        self.0.iter().filter(|(known, ..)| *known == kind).map(|(_, count, _)| count).sum()
    }

    /// The line that says so; `None` where nothing was left out.
    pub(super) fn line(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| format!("left out: {self}"))
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (kind, count, first)) in self.0.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            let [one, many] = kind;
            match count {
                1 => write!(f, "{comma}1 {one} ({first})")?,
                _ => write!(f, "{comma}{count} {many} (the first: {first})")?,
            }
        }
        Ok(())
    }
}

/// How a part of a set was understood: what it holds, what is strange about it, what was left out.
pub(super) fn understood(
    name: &str,
    split: Split,
    set: &dyn Dataset,
    files: &str,
    undivided: bool,
    notes: Vec<String>,
    left_out: &LeftOut,
) -> Vec<String> {
    let mut counts = vec![0_usize; set.classes().len()];
    (0..set.len()).for_each(|index| counts[set.label(index) as usize] += 1);
    let without = counts.iter().filter(|&&count| count == 0).count();
    let mut first = format!("{name}, {split}: {} images of {} classes in {files}", set.len(), counts.len() - without);
    if without > 0 {
        let missing = counts.iter().position(|&count| count == 0).unwrap_or(0);
        first += &format!("; {without} of {} classes have no image here ({})", counts.len(), set.classes()[missing]);
    }
    let mut lines = vec![first];
    if undivided {
        lines.push(format!("{name}: no file's name says its part (train, val, test): each part is all of them"));
    }
    lines.extend(notes);
    lines.extend(left_out.line());
    lines
}
