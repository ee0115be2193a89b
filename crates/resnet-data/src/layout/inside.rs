//! What lies in a folder, as far as its layout goes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::ClassFolders;
use super::part_names::part;
use crate::kind::Kind;
use crate::names::{composed, path_text};
use crate::tree::{Entry, Node, holds_files, holds_pictures, kind, list};
use crate::{LeftOut, Result, Split};

/// What lies in a folder.
pub(super) struct Inside {
    /// All folders, sorted.
    pub(super) folders: Vec<PathBuf>,
    /// Those in or below which a picture lies, readable or not, sorted.
    pub(super) with_pictures: Vec<PathBuf>,
    /// Pictures in the folder itself, readable or not.
    pub(super) pictures: usize,
    /// What lies beside the folders.
    pub(super) beside: LeftOut,
}

impl Inside {
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let mut inside = Self { folders: vec![], with_pictures: vec![], pictures: 0, beside: LeftOut::default() };
        for Entry { path, node } in list(folder)? {
            match node {
                Node::Folder => {
                    if holds_pictures(&path)? {
                        inside.with_pictures.push(path.clone());
                    }
                    inside.folders.push(path);
                }
                Node::File => {
                    let kind = kind(&path);
                    inside.pictures += usize::from(kind != Kind::Other);
                    inside.beside.add_beside(kind);
                }
                other => inside.beside.count(other.name()),
            }
        }
        Ok(inside)
    }

    /// Whether this is a set of classes rather than a class: its pictures lie in folders. One folder beside pictures may
    /// be anything; two are classes, beside which pictures were forgotten.
    pub(super) fn is_of_classes(&self) -> bool {
        self.with_pictures.len() > 1 || (self.with_pictures.len() == 1 && self.pictures == 0)
    }

    /// Whether its folders are parts of different kinds, and nothing else.
    pub(super) fn holds_parts(&self) -> bool {
        let mut parts = self.with_pictures.iter().map(|path| part(&name(path)));
        let first = parts.next().flatten();
        first.is_some() && self.pictures == 0 && {
            let parts: Vec<Option<Split>> = parts.collect();
            !parts.is_empty() && parts.iter().all(|part| part.is_some() && *part != first)
        }
    }

    /// The class folders by their names. A folder without any file is one whose images are missing; one with files, but
    /// without a picture of any kind, is none.
    pub(super) fn classes(&self, left_out: &mut LeftOut) -> Result<ClassFolders> {
        let mut classes = ClassFolders::new();
        for path in &self.folders {
            if self.with_pictures.binary_search(path).is_ok() || !holds_files(path)? {
                classes.entry(class_name(path)).or_default().push(path.clone());
            } else {
                left_out.add_folder(path.clone(), "no pictures in it");
            }
        }
        Ok(classes)
    }
}

/// A folder that may be a part.
pub(super) struct Candidate {
    pub(super) split: Split,
    /// The folder with the part's name.
    pub(super) named: PathBuf,
    /// The folder with the classes: that one, or one of that name in it.
    pub(super) folder: PathBuf,
    pub(super) inside: Inside,
}

impl Candidate {
    pub(super) fn of(named: &Path, split: Split) -> Result<Self> {
        let (mut folder, mut inside) = (named.to_path_buf(), Inside::of(named)?);
        // `seg_train/seg_train/CLASS`, as some archives unpack.
        while let [only] = &inside.with_pictures[..]
            && inside.pictures == 0
            && part(&name(only)) == Some(split)
        {
            folder = only.clone();
            inside = Inside::of(&folder)?;
        }
        Ok(Self { split, named: named.to_path_buf(), folder, inside })
    }

    /// Whether this holds one folder of pictures, and that is no class of the part with these.
    pub(super) fn is_unsorted_beside(&self, part: &Inside) -> bool {
        self.inside.with_pictures.len() == 1 && part.with_pictures.len() > 1 && !self.agrees_with(part)
    }

    /// Whether half of the classes of the one with fewer are in the other, in whatever case.
    pub(super) fn agrees_with(&self, other: &Inside) -> bool {
        let small = |inside: &Inside| -> BTreeSet<String> {
            inside.with_pictures.iter().map(|path| class_name(path).to_lowercase()).collect()
        };
        let (own, others) = (small(&self.inside), small(other));
        2 * own.intersection(&others).count() >= own.len().min(others.len()).max(1)
    }
}

pub(super) fn name(path: &Path) -> String {
    path_text(Path::new(path.file_name().unwrap_or_default())).into_owned()
}

/// The class whose images lie in a folder of that name.
pub(super) fn class_name(folder: &Path) -> String {
    composed(&name(folder))
}
