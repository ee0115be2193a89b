//! Which images of a data set are those that the weights have not learned from.

use std::path::Path;
use std::sync::Arc;

use resnet_data::{Dataset, Folder, Split};

use super::Loaded;
use crate::args::DatasetArgs;
use crate::failure::bad_input;

impl Loaded {
    /// A part of the data set of that name.
    ///
    /// A folder without parts is divided as it was when the weights were trained on it. One that they were not trained
    /// on is whole, for either split.
    ///
    /// # Errors
    /// When it cannot be read; and when held-back images are asked for of the folder that the weights were trained on,
    /// and they are not known.
    pub fn open(&self, data: &DatasetArgs, name: &str, split: Split) -> anyhow::Result<Arc<dyn Dataset>> {
        let Some(folder) = resnet_data::undivided(name, data.data_dir.as_deref())? else {
            return data.open(name, split);
        };
        let place = self.trained_in(&folder);
        if let Some(division) = self.division.filter(|_| place != Place::Elsewhere) {
            let (train, test) = folder.clone().divided(division.rule);
            if test.division() == Some(&division) {
                return Ok(Arc::new(if split == Split::Train { train } else { test }));
            }
        }
        if place == Place::Here && split == Split::Test {
            let why = match self.division {
                Some(_) => "the images that were held back are no longer the same",
                None => "do not say which images were held back",
            };
            return Err(bad_input(format!(
                "--dataset {name} has no val/, and the weights were trained on it: {why}; \
                 give other images, or evaluate all of these with --split train"
            )));
        }
        Ok(Arc::new(folder))
    }

    /// Where the weights were trained, seen from a folder.
    fn trained_in(&self, folder: &Folder) -> Place {
        let Some(own) = self.dataset.as_deref().and_then(|dataset| dataset.strip_prefix("folder:")) else {
            return Place::Unknown;
        };
        let real = |path: &Path| path.canonicalize().ok();
        match real(own.as_ref()) {
            _ if folder.root() == Path::new(own) => Place::Here,
            // It was moved, or the weights were: then the names of the images tell.
            None => Place::Unknown,
            own if own == real(folder.root()) => Place::Here,
            Some(_) => Place::Elsewhere,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In this folder.
    Here,
    /// In another one.
    Elsewhere,
    /// In no folder, or in one that is not to be found.
    Unknown,
}
