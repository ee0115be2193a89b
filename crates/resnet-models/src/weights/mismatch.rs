//! How a file's names and shapes differ from a network's.

use std::fmt;
use std::path::PathBuf;

use crate::escape::show;

/// More names than this of one sort are counted rather than listed.
const LISTED: usize = 8;

/// A tensor that the network has no variable for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unexpected {
    /// Its name in the file.
    pub name: String,
    /// The missing name that it is probably meant to be.
    pub nearest: Option<String>,
}

/// A tensor whose shape differs from its variable's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misshapen {
    /// The name.
    pub name: String,
    /// The network's shape.
    pub expected: Vec<usize>,
    /// The file's shape.
    pub found: Vec<usize>,
}

/// Everything in which a file's tensors and a network's variables differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// The file.
    pub file: PathBuf,
    /// Names that the network has and the file lacks.
    pub missing: Vec<String>,
    /// Names that the file has and the network lacks.
    pub unexpected: Vec<Unexpected>,
    /// Names that both have, with different shapes.
    pub misshapen: Vec<Misshapen>,
    /// Number of names that fit.
    pub fitting: usize,
}

impl Mismatch {
    /// What the differences come from, where they tell.
    pub fn hint(&self) -> Option<String> {
        if self.fitting == 0 && self.misshapen.is_empty() {
            return Some("not one name fits: these are another network's weights, or named in another way".into());
        }
        let is_statistic = |name: &String| name.ends_with(".running_mean") || name.ends_with(".running_var");
        if self.misshapen.is_empty() && !self.missing.is_empty() && self.missing.iter().all(is_statistic) {
            return Some(
                "its norms have no running statistics: they are group norms (name a network that has those), or batch \
                 norms with track_running_stats=False (set it to True, run training images through, and save again)"
                    .into(),
            );
        }
        let only_head = !self.misshapen.is_empty()
            && self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.misshapen.iter().all(Misshapen::is_head);
        if only_head {
            let head = &self.misshapen[0];
            let classes = |shape: &[usize]| shape.first().copied().unwrap_or(0);
            return Some(format!(
                "only the head differs: the file has {} classes, the network {}; build the network with {0} classes, or load all but {}",
                classes(&head.found),
                classes(&head.expected),
                show(head.name.rsplit_once('.').map_or(&*head.name, |(head, _)| head)),
            ));
        }
        let others = self.misshapen.iter().filter(|tensor| !tensor.is_head()).count();
        (others > 0 || self.missing.len() + self.unexpected.len() > self.fitting)
            .then(|| "the file is of another network; check the name of the architecture".into())
    }
}

impl Misshapen {
    /// A weight or bias of the last layer that differs in the number of classes alone.
    fn is_head(&self) -> bool {
        let is_head = ["fc.weight", "fc.bias", "head.weight", "head.bias", "classifier.weight", "classifier.bias"]
            .contains(&&*self.name);
        is_head && !self.expected.is_empty() && self.expected.get(1..) == self.found.get(1..)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not fit the network", self.file.display())?;
        let missing = self.missing.iter().map(|name| show(name));
        list(f, "missing", self.missing.len(), missing)?;
        let unexpected = self.unexpected.iter().map(|tensor| match &tensor.nearest {
            Some(nearest) => format!("{} (meant {}?)", show(&tensor.name), show(nearest)),
            None => show(&tensor.name),
        });
        list(f, "unexpected", self.unexpected.len(), unexpected)?;
        let misshapen = self
            .misshapen
            .iter()
            .map(|tensor| format!("{} (expected {:?}, found {:?})", show(&tensor.name), tensor.expected, tensor.found));
        list(f, "misshapen", self.misshapen.len(), misshapen)?;
        match self.hint() {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, total: usize, items: impl Iterator<Item = String>) -> fmt::Result {
    if total == 0 {
        return Ok(());
    }
    let items: Vec<String> = items.take(LISTED).collect();
    write!(f, "; {total} {what}: {}", items.join(", "))?;
    match total.saturating_sub(LISTED) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Misshapen {
        Misshapen { name: "fc.weight".into(), expected: vec![10, 64], found: vec![1000, 64] }
    }

    #[test]
    fn a_head_that_alone_differs_is_recognised() {
        let mismatch = Mismatch { file: "w.pth".into(), misshapen: vec![head()], fitting: 60, ..Default::default() };
        let text = mismatch.to_string();
        assert!(
            text.starts_with(
                "w.pth does not fit the network; 1 misshapen: fc.weight (expected [10, 64], found [1000, 64])"
            ),
            "{text}"
        );
        assert!(
            text.contains(
                "the file has 1000 classes, the network 10; build the network with 1000 classes, or load all but fc"
            ),
            "{text}"
        );
        assert!(!text.contains('\n'));
        let deeper = Misshapen { found: vec![1000, 512], ..head() };
        let mismatch = Mismatch { misshapen: vec![deeper], fitting: 60, ..Default::default() };
        assert!(mismatch.hint().unwrap().contains("another network"));
    }

    #[test]
    fn long_lists_are_shortened_and_counted() {
        let missing: Vec<String> = (0..20).map(|i| format!("layer.{i}")).collect();
        let text = Mismatch { file: "w".into(), missing, ..Default::default() }.to_string();
        assert!(
            text.contains("20 missing: layer.0, ") && text.contains("layer.7 and 12 more; not one name fits"),
            "{text}"
        );
    }
}
