//! Which images of a data set are those that the weights were not trained on.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use resnet_data::{Dataset, Folder, FolderLayout, FolderOptions, Split, SplitTable};

use super::Loaded;
use crate::args::{DatasetArgs, FolderArgs, tell};
use crate::failure::bad_input;
use crate::folders::{self, images};

impl Loaded {
    /// A part of the data set of that name.
    ///
    /// An undivided folder is divided as it was when the weights were trained on it. One that they were not trained on
    /// is whole, for any split.
    ///
    /// # Errors
    /// When it cannot be read; and when validation images are asked for of the folder that the weights were trained on,
    /// and they are not known.
    pub fn open(&self, data: &DatasetArgs, name: &str, split: Split) -> anyhow::Result<Arc<dyn Dataset>> {
        Ok(match self.find(data, name, split)? {
            Some((_, set, _)) => Arc::new(set),
            None => data.open(name, split)?,
        })
    }

    /// As [`open`](Self::open); of folders and shards it is told how they were understood.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_and_tell(&self, data: &DatasetArgs, name: &str, split: Split) -> anyhow::Result<Arc<dyn Dataset>> {
        let Some((layout, set, what)) = self.find(data, name, split)? else {
            let set = data.open(name, split)?;
            tell(&*set);
            return Ok(set);
        };
        folders::tell_one(&layout, &what, &set);
        Ok(Arc::new(set))
    }

    /// The images of a folder that a split stands for, and which they are; `None` of any other data set.
    fn find(
        &self,
        data: &DatasetArgs,
        name: &str,
        split: Split,
    ) -> anyhow::Result<Option<(FolderLayout, Folder, String)>> {
        // Who evaluates needs no image of every class.
        let options = FolderOptions { allow_empty: true, ..data.folder.options() };
        let Some(layout) = data.layout(name, options)? else { return Ok(None) };
        if !layout.is_unsplit() {
            let set = layout.open(split).map_err(FolderArgs::explained)?;
            let what = folders::part(&layout, split, &set);
            return Ok(Some((layout, set, what)));
        }
        let folder = layout.read().map_err(FolderArgs::explained)?;
        let own = self.dataset.as_deref().and_then(|dataset| dataset.strip_prefix("folder:")).map(Path::new);
        let place = own.map_or(TrainedIn::Unknown, |own| trained_in(own, &layout, &folder));
        let (set, what) = self.part(name, &folder, place, split)?;
        Ok(Some((layout, set, what)))
    }

    /// The images of an undivided folder that a split stands for.
    fn part(&self, name: &str, folder: &Folder, place: TrainedIn, split: Split) -> anyhow::Result<(Folder, String)> {
        let all = |why: &str| (folder.clone(), format!("undivided: all {}{why}", images(folder.len())));
        let Some(split_of_training) = self.train_test_split else {
            if place == TrainedIn::Here && split != Split::Train {
                return Err(unknown(name, "do not say which images were for validation"));
            }
            return Ok(all(""));
        };
        if place == TrainedIn::Elsewhere {
            return Ok(all(", none of which the weights were trained on"));
        }
        let kind = if split == Split::Train { "trained on" } else { "held out in training" };
        if let Some(table) = self.split_table()? {
            let found = table.find(folder.inner_paths(), split);
            let here = place == TrainedIn::Here || 2 * (folder.len() - found.new) >= table.len().max(1);
            if !here {
                return Ok(all(", other ones than the weights were trained on"));
            }
            if found.images.is_empty() {
                return Err(unknown(name, &format!("all {} that were {kind} are gone", images(found.gone))));
            }
            let mut what = format!("{split} has the {} {kind} ({})", images(found.images.len()), SplitTable::FILE);
            if found.gone > 0 {
                let photos = if split == Split::Train { "photos" } else { "validation photos" };
                what += &format!("; {} of {} {photos} are gone", found.gone, found.gone + found.images.len());
            }
            if found.new > 0 {
                what += &format!("; {} that came since {} in no part", images(found.new), is_are(found.new));
            }
            return Ok((folder.only(&found.images), what));
        }
        // Runs of earlier versions have no table: the same rule finds the same images of the same folder.
        let (train, test) = folder.clone().split_by(split_of_training.rule);
        if test.train_test_split() == Some(&split_of_training) {
            let set = if split == Split::Train { train } else { test };
            let what = format!("{split} has the {} {kind}", images(set.len()));
            return Ok((set, what));
        }
        if place == TrainedIn::Here && split != Split::Train {
            return Err(unknown(
                name,
                "the images that were for validation are no longer the same, and there is no split.csv",
            ));
        }
        Ok(all(""))
    }

    /// The table beside the weights.
    fn split_table(&self) -> anyhow::Result<Option<SplitTable>> {
        let path = self.file.with_file_name(SplitTable::FILE);
        if path.is_file() { Ok(Some(SplitTable::read(&path)?)) } else { Ok(None) }
    }
}

fn is_are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn unknown(name: &str, why: &str) -> anyhow::Error {
    bad_input(format!(
        "--dataset {name} has no val/, and the weights were trained on it: {why}; \
         give other images, or evaluate all of these with --split train"
    ))
}

/// Where the weights were trained, seen from a folder: `own` is what they say.
fn trained_in(own: &Path, layout: &FolderLayout, folder: &Folder) -> TrainedIn {
    let real = |path: &Path| path.canonicalize().ok();
    if layout.given() == own || folder.root() == own {
        return TrainedIn::Here;
    }
    let (Some(given), Some(root)) = (real(layout.given()), real(folder.root())) else { return TrainedIn::Unknown };
    match real(own) {
        // It was moved, or the weights were: then the names of the images tell.
        None => TrainedIn::Unknown,
        // The same, or one around the other.
        Some(own) if root.starts_with(&own) || own.starts_with(&given) => TrainedIn::Here,
        Some(_) if is_copy(own, folder) => TrainedIn::Unknown,
        Some(_) => TrainedIn::Elsewhere,
    }
}

/// Whether nearly all images of a folder lie in another one too, under the same names and in the same size.
fn is_copy(original: &Path, folder: &Folder) -> bool {
    let options = FolderOptions { allow_empty: true, ..FolderOptions::default() };
    let Ok(original) = FolderLayout::of(original, options).and_then(|layout| layout.read()) else { return false };
    let size = |folder: &Folder, index: usize| folder.path(index)?.metadata().ok().map(|file| file.len());
    let named = |folder: &Folder, index: usize| folder.inner_path(index).map(Path::to_path_buf);
    let there: HashMap<PathBuf, usize> =
        (0..original.len()).filter_map(|index| Some((named(&original, index)?, index))).collect();
    let same = (0..folder.len()).filter(|&index| {
        let other = named(folder, index).and_then(|name| there.get(&name).copied());
        other.is_some_and(|other| size(folder, index) == size(&original, other))
    });
    10 * same.count() >= 9 * folder.len().max(1)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TrainedIn {
    /// In this folder.
    Here,
    /// In another one.
    Elsewhere,
    /// In no folder, in one that is not to be found, or in one that has the same images.
    Unknown,
}
