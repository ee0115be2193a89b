//! Where a pretrained network's files are.

use std::path::{Path, PathBuf};

use resnet_hub::{Hub, Progress, Repository};

use super::{PretrainedOptions, config, published};
use crate::{Error, registry, weights};

/// The configuration's name, in repositories and folders.
const CONFIG: &str = "config.json";
/// What transformers writes of pictures.
pub(super) const PREPROCESSOR: &str = "preprocessor_config.json";
/// Names of weights, the best first: old repositories have PyTorch's form only, and large ones several files.
const WEIGHTS: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
/// What the names of indices end with.
const INDEX: &str = ".index.json";

/// The files of a pretrained network.
pub(super) struct Files {
    /// `config.json`, where there is one.
    pub config: Option<PathBuf>,
    weights: Weights,
}

enum Weights {
    Here(PathBuf),
    There(Hub, Repository),
}

impl Files {
    /// The weights' file, downloaded where need be.
    pub(super) fn weights(&self, progress: &mut dyn Progress) -> Result<PathBuf, Error> {
        match &self.weights {
            Weights::Here(path) => Ok(path.clone()),
            Weights::There(hub, repository) => {
                let [wanted, others @ ..] = WEIGHTS;
                // The message is of the form that is wanted. Without a network the cache may have another.
                let error = match hub.fetch(repository, wanted, progress) {
                    Err(error) if error.is_missing() || hub.offline => error,
                    result => return Ok(result?),
                };
                for name in others {
                    match hub.fetch(repository, name, progress) {
                        Ok(file) if name.ends_with(INDEX) => {
                            for part in weights::parts_of_index(&file)? {
                                hub.fetch(repository, &part, progress)?;
                            }
                            return Ok(file);
                        }
                        Err(missing) if missing.is_missing() || hub.offline => {}
                        result => return Ok(result?),
                    }
                }
                Err(error.into())
            }
        }
    }
}

/// Finds the files behind a name; of the hub's, only the configuration is downloaded here.
pub(super) fn find(name: &str, options: &PretrainedOptions, progress: &mut dyn Progress) -> Result<Files, Error> {
    let path = Path::new(name);
    if path.is_dir() {
        return folder(path);
    }
    if path.exists() || looks_like_a_path(name) {
        // A file that is not there, or none, is reported by whoever reads it.
        return Ok(Files { config: None, weights: Weights::Here(path.to_owned()) });
    }
    let repository = Repository::model(&whole_name(name)?)?;
    let repository = match &options.revision {
        Some(revision) => repository.at(revision)?,
        None => repository,
    };
    let hub = options.hub.clone().map_or_else(Hub::from_env, Ok)?;
    let config = hub.fetch(&repository, CONFIG, progress)?;
    if config::is_of_transformers(&config)? {
        // It lies beside the configuration then; not every repository has it, and offline that cannot be told.
        match hub.fetch(&repository, PREPROCESSOR, progress) {
            Err(error) if !error.is_missing() && !hub.offline => return Err(error.into()),
            _ => {}
        }
    }
    Ok(Files { config: Some(config), weights: Weights::There(hub, repository) })
}

/// Forms that the name of a repository has elsewhere: with timm's marks, or as the address of its page.
const MARKS: [&str; 4] = ["hf-hub:", "hf_hub:", "https://huggingface.co/", "https://hf.co/"];

/// `OWNER/NAME` of whatever form a name has; of timm's weights the owner may be left out.
fn whole_name(name: &str) -> Result<String, Error> {
    let name = MARKS.iter().find_map(|mark| name.strip_prefix(mark)).unwrap_or(name).trim_end_matches('/');
    let (own, revision) = name.split_once('@').unwrap_or((name, ""));
    if own.contains('/') {
        return Ok(name.to_owned());
    }
    let own = registry::renamed(own).unwrap_or(own);
    match (crate::config(own), own.contains('.')) {
        (Ok(_), true) if revision.is_empty() => Ok(format!("timm/{own}")),
        (Ok(_), true) => Ok(format!("timm/{own}@{revision}")),
        (Ok(_), false) => {
            let known = published().into_iter().filter(|row| row.arch() == own);
            Err(Error::Untagged { name: own.to_owned(), known: known.map(|row| row.repository()).collect() })
        }
        (Err(_), _) => Ok(name.to_owned()),
    }
}

/// Not the name of a repository, whose part after the slash has no ending of a file.
fn looks_like_a_path(name: &str) -> bool {
    name.starts_with(['.', '/', '~']) || is_weights(Path::new(name))
}

/// True for the endings that files of weights have.
fn is_weights(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    matches!(ending, "safetensors" | "pth" | "pt" | "th" | "bin")
}

/// A folder of the same form as a repository, or with one file of weights alone.
fn folder(folder: &Path) -> Result<Files, Error> {
    let config = Some(folder.join(CONFIG)).filter(|path| path.is_file());
    let usual = WEIGHTS.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    let weights = match usual {
        Some(path) => path,
        None => only_weights(folder)?,
    };
    Ok(Files { config, weights: Weights::Here(weights) })
}

fn only_weights(folder: &Path) -> Result<PathBuf, Error> {
    let wrong = |message: String| Error::Config { file: folder.to_owned(), message };
    let entries = std::fs::read_dir(folder).map_err(|error| wrong(error.to_string()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && is_weights(path))
        .collect();
    found.retain(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')));
    found.sort();
    if weights::belongs_together(folder, &found) {
        return Ok(folder.to_owned());
    }
    match &found[..] {
        [path] => Ok(path.clone()),
        [] => Err(wrong(format!("no weights are in it: put {} there", WEIGHTS[0]))),
        several => {
            let names: Vec<_> = several.iter().filter_map(|path| path.file_name()?.to_str()).take(4).collect();
            Err(wrong(format!("several files of weights are in it ({}): name one of them", names.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_have_one_name() {
        for (given, whole) in [
            ("timm/resnet50.a1_in1k", "timm/resnet50.a1_in1k"),
            ("hf-hub:timm/resnet50.a1_in1k@v1", "timm/resnet50.a1_in1k@v1"),
            ("https://huggingface.co/microsoft/resnet-50/", "microsoft/resnet-50"),
            ("resnet50.a1_in1k", "timm/resnet50.a1_in1k"),
            ("resnet50.a1_in1k@refs/pr/1", "timm/resnet50.a1_in1k@refs/pr/1"),
            ("gluon_resnet50_v1d", "timm/resnet50d.gluon_in1k"),
            ("bert-base", "bert-base"),
        ] {
            assert_eq!(whole_name(given).unwrap(), whole);
        }
        let error = whole_name("resnet34").unwrap_err().to_string();
        assert!(error.contains("timm/resnet34.a1_in1k") && error.contains("and others"), "{error}");
        assert!(whole_name("resnet20").unwrap_err().to_string().contains("name a file"));
    }
}
