//! Which folders are parts, which are classes, and which are neither.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::inside::{Candidate, Inside, class_name, name};
use super::part_names::{is_plain, part};
use super::{ClassFolders, FolderLayout, Part, Subfolders};
use crate::names::shown;
use crate::{Error, LeftOut, Result, Split};

impl FolderLayout {
    /// Understands the folders of `root`; `false` where there is one alone, into which `root` then went down.
    pub(super) fn understand(&mut self) -> Result<bool> {
        let inside = Inside::of(&self.root)?;
        self.left_out = inside.beside.clone();
        if self.options.subfolders != Subfolders::Classes {
            if self.find_parts(&inside)? {
                return Ok(true);
            }
            if let [only] = &inside.with_pictures[..]
                && inside.pictures == 0
                && Inside::of(only)?.is_of_classes()
            {
                self.notes.push(format!("of {} the folders in {} are taken", shown(&self.root), shown(name(only))));
                self.root = only.clone();
                return Ok(false);
            }
            if self.options.subfolders == Subfolders::Parts {
                return Err(Error::NotFound {
                    path: self.root.clone(),
                    what: "parts".to_string(),
                    hint: "a part is a folder such as train or val that holds a folder for each class".to_string(),
                });
            }
        }
        if self.options.subfolders == Subfolders::Auto {
            self.refuse_alike(&inside)?;
        }
        self.take_classes(&inside)?;
        Ok(true)
    }

    /// Folders without pictures of their own that all hold folders of the same names (`fold1/{a,b}`, `fold2/{a,b}`) may
    /// as well be parts of one set.
    fn refuse_alike(&self, inside: &Inside) -> Result<()> {
        let mut common: Option<BTreeSet<String>> = None;
        for path in &inside.with_pictures {
            let inner = Inside::of(path)?;
            let names: BTreeSet<String> = inner.with_pictures.iter().map(|path| class_name(path)).collect();
            if inner.pictures > 0 || names.len() < 2 || common.as_ref().is_some_and(|common| *common != names) {
                return Ok(());
            }
            common = Some(names);
        }
        let Some(common) = common.filter(|_| inside.with_pictures.len() > 1) else { return Ok(()) };
        let few = |names: &[String]| match names {
            [first, second] => format!("{first} and {second}"),
            [first, second, ..] => format!("{first}, {second} and so on ({})", names.len()),
            _ => String::new(),
        };
        let folders: Vec<String> = inside.with_pictures.iter().map(|path| shown(name(path))).collect();
        let inner: Vec<String> = common.iter().map(shown).collect();
        let message = format!(
            "{} may be parts or classes: they hold no pictures of their own, and all the same folders, {}; parts would \
             be called train and val",
            few(&folders),
            few(&inner)
        );
        Err(Error::Layout { path: self.root.clone(), message })
    }

    fn take_classes(&mut self, inside: &Inside) -> Result<()> {
        self.classes = inside.classes(&mut self.left_out)?;
        if self.classes.is_empty() {
            let pictures = match inside.pictures {
                0 => String::new(),
                count => format!(" ({count} pictures lie in no folder)"),
            };
            return Err(Error::NotFound {
                path: self.root.clone(),
                what: format!("class folders{pictures}"),
                hint: "put the images of each class into a folder with the class's name".to_string(),
            });
        }
        let names: Vec<&String> = self.classes.keys().filter(|name| part(name).is_some()).collect();
        if !names.is_empty() && self.options.subfolders == Subfolders::Auto {
            let is = if names.len() == 1 { "is taken for a class" } else { "are taken for classes" };
            let names: Vec<String> = names.iter().map(shown).collect();
            self.notes.push(format!("{} {is}, not for a part", names.join(" and ")));
        }
        Ok(())
    }

    /// Takes the folders for parts, where they are.
    fn find_parts(&mut self, inside: &Inside) -> Result<bool> {
        let (mut labelled, mut unlabelled, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for path in &inside.with_pictures {
            match part(&name(path)) {
                Some(split) => {
                    let candidate = Candidate::of(path, split)?;
                    // `trainval/{train,val}`: the set, or its year.
                    if candidate.inside.holds_parts() {
                        others.push(path);
                        continue;
                    }
                    let list = if candidate.inside.is_of_classes() { &mut labelled } else { &mut unlabelled };
                    list.push(candidate);
                }
                None => others.push(path),
            }
        }
        let forced = self.options.subfolders == Subfolders::Parts;
        let first = labelled.iter().position(|candidate| candidate.split == Split::Train).unwrap_or_default();
        let Some(first) = (!labelled.is_empty()).then(|| labelled.swap_remove(first)) else {
            // Pictures in train/ and test/ and nothing else: nobody has classes of those names.
            if unlabelled.len() > 1 && others.is_empty() && !forced {
                let named = unlabelled.iter().map(|candidate| &candidate.named);
                return Err(self.either(named, "they hold pictures, but no folder for each class"));
            }
            return self.find_parts_of_classes(inside);
        };
        if !forced {
            // `test/unknown/*.jpg`: one folder around pictures that nobody has sorted.
            let unsorted = labelled.extract_if(.., |candidate| candidate.is_unsorted_beside(&first.inside));
            unlabelled.extend(unsorted.collect::<Vec<_>>());
            if let Some(differ) = labelled.iter().find(|candidate| !candidate.agrees_with(&first.inside)) {
                if !others.is_empty() {
                    return Ok(false);
                }
                return Err(self.either([&first.named, &differ.named], "the folders in them have different names"));
            }
            // Two with the same classes show that they are parts; one alone only where nothing else looks like a class.
            if labelled.is_empty() {
                for path in &others {
                    let inside = Inside::of(path)?;
                    if inside.pictures > 0 || !first.agrees_with(&inside) {
                        return Ok(false);
                    }
                }
            }
        }
        labelled.push(first);
        labelled.sort_by(|a, b| a.named.cmp(&b.named));
        others.iter().for_each(|path| self.left_out.add_folder(path.to_path_buf(), "neither a part nor a class"));
        for candidate in unlabelled {
            self.left_out.add_folder(candidate.named, "no class folders in it");
        }
        self.take_parts(labelled)?;
        Ok(true)
    }

    fn take_parts(&mut self, candidates: Vec<Candidate>) -> Result<()> {
        for split in [Split::Train, Split::Val, Split::Test] {
            let own: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.split == split).collect();
            let plain: Vec<&Candidate> =
                own.iter().copied().filter(|candidate| is_plain(&name(&candidate.named))).collect();
            let chosen = match (&own[..], &plain[..]) {
                ([], _) => continue,
                ([only], _) | (_, [only]) => only,
                _ => {
                    let names = list_of(own.iter().map(|candidate| &candidate.named));
                    let message = format!("{names} all look like the {split} part: leave one there, or join them");
                    return Err(Error::Layout { path: self.root.clone(), message });
                }
            };
            for other in own.iter().filter(|candidate| candidate.named != chosen.named) {
                let why = format!("the {split} part is {}", shown(name(&chosen.named)));
                self.left_out.add_folder(other.named.clone(), why);
            }
            let mut left_out = chosen.inside.beside.clone();
            let classes = chosen.inside.classes(&mut left_out)?;
            self.parts.push(Part { split, folder: chosen.folder.clone(), classes, left_out });
        }
        Ok(())
    }

    /// Takes parts in each of the classes, `CLASS/train` and `CLASS/test`, where that is how they lie.
    fn find_parts_of_classes(&mut self, inside: &Inside) -> Result<bool> {
        let mut parts: BTreeMap<Split, ClassFolders> = BTreeMap::new();
        for class in &inside.with_pictures {
            let inner = Inside::of(class)?;
            for path in &inner.with_pictures {
                match part(&name(path)) {
                    Some(split) if inner.pictures == 0 && Inside::of(path)?.pictures > 0 => {
                        let classes = parts.entry(split).or_default();
                        classes.entry(class_name(class)).or_default().push(path.clone());
                    }
                    _ => return Ok(false),
                }
            }
            if inner.with_pictures.is_empty() {
                return Ok(false);
            }
        }
        if parts.len() < 2 || inside.with_pictures.len() < 2 {
            return Ok(false);
        }
        self.notes.push("the parts lie in each class folder".to_string());
        let folder = &self.root;
        let part = |(split, classes)| Part { split, folder: folder.clone(), classes, left_out: LeftOut::default() };
        self.parts = parts.into_iter().map(part).collect();
        Ok(true)
    }

    fn either<'a>(&self, folders: impl IntoIterator<Item = &'a PathBuf>, why: &str) -> Error {
        let message = format!("{} may be parts or classes: {why}", list_of(folders));
        Error::Layout { path: self.root.clone(), message }
    }
}

/// `train and test`.
fn list_of<'a>(folders: impl IntoIterator<Item = &'a PathBuf>) -> String {
    folders.into_iter().map(|path| shown(name(path))).collect::<Vec<_>>().join(" and ")
}
