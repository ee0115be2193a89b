//! What was left out while a set was indexed, in words.

use std::fmt;
use std::path::Path;

use crate::kind::Unreadable;
use crate::names::shown;
use crate::{Dataset, Split};

/// A kind of thing that is left out: what one is called, and what several are.
pub(super) type Kind = [&'static str; 2];

/// What none of a sample's members tells the class of.
pub(super) const UNLABELLED: Kind = ["sample without a label", "samples without a label"];
/// Archives within a shard.
pub(super) const PACKED: Kind = ["archive in a shard, to be unpacked", "archives in a shard, to be unpacked"];
/// The hub's word for a label that is not told.
pub(super) const MINUS_ONE: Kind = ["row with the label -1, which is none", "rows with the label -1, which is none"];

/// Kinds of things that were left out: of each how many, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut(Vec<(What, usize, String)>);

/// What was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Of(Kind),
    /// Pictures, videos and so on that are not decoded.
    Unreadable(Unreadable),
}

impl LeftOut {
    /// Counts one of a kind.
    pub(super) fn add(&mut self, kind: Kind, name: impl FnOnce() -> String) {
        self.add_what(What::Of(kind), name);
    }

    /// Counts a sample whose picture is not decoded.
    pub(super) fn add_unreadable(&mut self, kind: Unreadable, name: impl FnOnce() -> String) {
        self.add_what(What::Unreadable(kind), name);
    }

    fn add_what(&mut self, kind: What, name: impl FnOnce() -> String) {
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
        self.0.iter().filter(|(known, ..)| *known == What::Of(kind)).map(|(_, count, _)| count).sum()
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
            match (kind, count) {
                (What::Of([one, _]), 1) => write!(f, "{comma}1 {one} ({first})")?,
                (What::Of([_, many]), _) => write!(f, "{comma}{count} {many} (the first: {first})")?,
                (What::Unreadable(Unreadable { name, hint }), _) => {
                    let the_first = if *count > 1 { "the first: " } else { "" };
                    write!(f, "{comma}{count} {name} ({the_first}{first}; {hint})")?;
                }
            }
        }
        Ok(())
    }
}

/// How a part of a set was understood: what it holds, what is strange about it, what was left out.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    /// The set's name.
    pub(super) name: String,
    pub(super) split: Split,
    /// Where the images lie, as in `2 tar files`.
    pub(super) files: String,
    /// True where no file says its part.
    pub(super) undivided: bool,
    pub(super) notes: Vec<String>,
    pub(super) left_out: LeftOut,
}

impl Summary {
    /// The lines to be read before work begins.
    pub(super) fn lines(&self, set: &dyn Dataset) -> Vec<String> {
        let Self { split, files, notes, left_out, .. } = self;
        let name = shown(&self.name);
        let mut lines = vec![format!("{name}, {split}: {} of {}, in {files}", many(set.len(), "image"), classes(set))];
        if self.undivided {
            lines.push(format!("{name}: no file's name says its part (train, val, test): each part is all of them"));
        }
        lines.extend(notes.iter().cloned());
        lines.extend(left_out.line());
        lines
    }
}

/// `1 image`, `2 images`, `3 classes`.
pub(super) fn many(count: usize, what: &str) -> String {
    let ending = match what {
        _ if count == 1 => "",
        what if what.ends_with('s') => "es",
        _ => "s",
    };
    format!("{count} {what}{ending}")
}

/// `3 classes, 7 (cat) to 9 (owl) each`; and of how many, where the part does not have all.
fn classes(set: &dyn Dataset) -> String {
    let names = set.classes();
    let mut counts = vec![0_usize; names.len()];
    (0..set.len()).for_each(|index| counts[set.label(index) as usize] += 1);
    let present: Vec<usize> = (0..counts.len()).filter(|&class| counts[class] > 0).collect();
    let least = present.iter().copied().min_by_key(|&class| counts[class]);
    let most = present.iter().copied().max_by_key(|&class| counts[class]);
    let (Some(least), Some(most)) = (least, most) else { return "no class".to_string() };
    let told = |class: usize| format!("{} ({})", counts[class], shown(&names[class]));
    let each = match counts[least] == counts[most] {
        true => format!("{} each", counts[least]),
        false => format!("{} to {} each", told(least), told(most)),
    };
    let own = many(present.len(), "class");
    match counts.iter().position(|&count| count == 0) {
        None => format!("{own}, {each}"),
        Some(missing) => {
            let first = if names.len() - present.len() == 1 { "" } else { "the first: " };
            let missing = format!("{} without images ({first}{})", names.len() - present.len(), shown(&names[missing]));
            format!("{own}, {each}, {missing}")
        }
    }
}
