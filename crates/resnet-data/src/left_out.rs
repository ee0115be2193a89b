//! What lies in a folder of images and is none that can be read, by kind and number.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::kind::{Kind, Unreadable};
use crate::names::shown;

/// What was left out of a folder, by kind and number. Its text is a list: `3 HEIC (save it as JPEG …), 2 text files`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    pictures: BTreeMap<Unreadable, usize>,
    /// By what one is called, and what several are.
    others: BTreeMap<[&'static str; 2], usize>,
    /// Files beside the class folders.
    beside: usize,
    /// Pictures among those.
    pictures_beside: usize,
    /// Folders beside the classes, with why.
    folders: Vec<(PathBuf, String)>,
}

/// Endings of files of text and tables.
const TEXT: [&str; 20] = [
    "txt", "md", "csv", "tsv", "json", "jsonl", "xml", "yaml", "yml", "toml", "html", "htm", "log", "ini", "cfg",
    "rtf", "py", "ipynb", "sh", "mat",
];

impl LeftOut {
    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Pictures of kinds that are recognised and cannot be read.
    pub fn unreadable(&self) -> usize {
        self.pictures.values().sum()
    }

    /// Counts a file that is no image to be read.
    pub(crate) fn add(&mut self, path: &Path, kind: Kind) {
        match kind {
            Kind::Unreadable(kind) => *self.pictures.entry(kind).or_default() += 1,
            _ => {
                let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
                let text = TEXT.contains(&ending.as_str());
                self.count(if text { ["text file", "text files"] } else { ["other file", "other files"] });
            }
        }
    }

    /// Counts one thing of a kind without a picture, by what one is called and what several are.
    pub(crate) fn count(&mut self, kind: [&'static str; 2]) {
        *self.others.entry(kind).or_default() += 1;
    }

    /// Counts a file that lies beside the class folders.
    pub(crate) fn add_beside(&mut self, kind: Kind) {
        self.beside += 1;
        self.pictures_beside += usize::from(kind.is_picture());
    }

    /// Names a folder that is no class, and says why.
    pub(crate) fn add_folder(&mut self, folder: PathBuf, why: impl Into<String>) {
        self.folders.push((folder, why.into()));
    }

    /// All that both have left out.
    pub fn merge(&mut self, other: &Self) {
        other.pictures.iter().for_each(|(kind, count)| *self.pictures.entry(*kind).or_default() += count);
        other.others.iter().for_each(|(kind, count)| *self.others.entry(*kind).or_default() += count);
        self.beside += other.beside;
        self.pictures_beside += other.pictures_beside;
        let new = other.folders.iter().filter(|folder| !self.folders.contains(folder)).cloned().collect::<Vec<_>>();
        self.folders.extend(new);
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let mut parts: Vec<String> =
            self.pictures.iter().map(|(kind, count)| format!("{count} {} ({})", kind.name, kind.hint)).collect();
        parts.extend(
            self.others.iter().map(|([one, many], &count)| format!("{count} {}", if count == 1 { one } else { many })),
        );
        if self.beside > 0 {
            let pictures = match self.pictures_beside {
                0 => String::new(),
                count => format!(" ({} among them)", many(count, "picture")),
            };
            parts.push(many(self.beside, "file") + " beside the classes" + &pictures);
        }
        // Folders are few, or hundreds of the same kind.
        let some = self.folders.iter().take(4);
        parts.extend(some.map(|(folder, why)| format!("folder {} ({why})", shown(folder))));
        if self.folders.len() > 4 {
            parts.push(format!("{} more folders", self.folders.len() - 4));
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    #[test]
    fn what_is_left_out_is_counted_by_kind() {
        let mut out = LeftOut::default();
        assert!(out.is_empty());
        for name in ["a.heic", "b.HEIC", "c.pdf", "notes.txt", "LICENSE", "x.csv"] {
            out.add(Path::new(name), Kind::of_ending(Path::new(name)));
        }
        out.count(Node::BrokenLink.name());
        (0..3).for_each(|_| out.count(Node::Loop.name()));
        (0..6).for_each(|_| out.count(Node::Special.name()));
        out.add_beside(Kind::Other);
        out.add_folder("labels".into(), "no pictures");
        let text = out.to_string();
        for part in
            ["2 HEIC (save", "1 PDF (", "2 text files", "1 other file,", "1 broken link", "1 file beside the classes"]
        {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        let specials = ["3 links to folders that they lie in", "6 pipes or devices"];
        assert!(specials.iter().all(|part| text.contains(part)), "{text}");
        assert!(text.ends_with("folder labels (no pictures)"), "{text}");
        assert_eq!(out.unreadable(), 3);
        let mut twice = out.clone();
        twice.merge(&out);
        assert!(twice.to_string().contains("4 HEIC"), "{twice}");
    }
}
