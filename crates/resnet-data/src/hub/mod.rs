//! Download from the Hugging Face hub, into the cache that its own tools use.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use crate::cifar::{Cifar, Files};
use crate::{Error, InMemory, Progress, Result, Split};

/// Where to download from and to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubConfig {
    /// The server's address, without a slash at the end.
    pub endpoint: String,
    /// The cache folder.
    pub cache: PathBuf,
    /// Sent to the server where there is one; public data needs none.
    pub token: Option<String>,
    /// Uses the cache only.
    pub offline: bool,
}

impl HubConfig {
    /// Reads `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN` and `HF_HUB_OFFLINE`; without them the public hub and
    /// `~/.cache/huggingface/hub`.
    ///
    /// # Errors
    /// [`Error::Setting`] where there is neither `HF_HOME` nor a home folder.
    pub fn from_env() -> Result<Self> {
        Self::from_lookup(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_lookup(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let cache = match (variable("HF_HUB_CACHE"), variable("HF_HOME")) {
            (Some(cache), _) => PathBuf::from(cache),
            (None, Some(home)) => Path::new(&home).join("hub"),
            (None, None) => std::env::home_dir()
                .ok_or_else(|| Error::Setting {
                    setting: "HF_HOME",
                    message: "there is no home folder: set it to a folder for downloads".to_string(),
                })?
                .join(".cache/huggingface/hub"),
        };
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_string());
        let offline = variable("HF_HUB_OFFLINE").unwrap_or_default().to_lowercase();
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_string(),
            token: variable("HF_TOKEN").or_else(|| Cache::new(cache.clone()).token()),
            cache,
            offline: matches!(offline.as_str(), "1" | "on" | "yes" | "true"),
        })
    }
}

/// The repository of a set and its file of a split.
fn source(set: Cifar, split: Split) -> (&'static str, String) {
    match set {
        Cifar::Ten => ("uoft-cs/cifar10", format!("plain_text/{split}-00000-of-00001.parquet")),
        Cifar::Hundred | Cifar::HundredCoarse => {
            ("uoft-cs/cifar100", format!("cifar100/{split}-00000-of-00001.parquet"))
        }
    }
}

/// Downloads a split of CIFAR (about 120 MB for training, 24 MB for the test; once, then it is in the cache) and reads
/// it.
///
/// # Errors
/// As [`fetch`]; [`Error::Format`] where the file downloaded is not CIFAR.
pub fn fetch_cifar(config: &HubConfig, set: Cifar, split: Split, progress: &mut dyn Progress) -> Result<InMemory> {
    let (repo, file) = source(set, split);
    let path = fetch(config, repo, &file, progress)?;
    set.read(&Files::Parquet(vec![path]), split)
}

/// Downloads a file of a data set's repository, or finds it in the cache. A download that was cut off goes on.
///
/// # Errors
/// [`Error::Hub`] where the file is not in the cache and cannot be had; it names the repository and the file.
pub fn fetch(config: &HubConfig, repo: &str, file: &str, progress: &mut dyn Progress) -> Result<PathBuf> {
    let failed = |message: String, hint: &str| Error::Hub {
        repo: repo.to_string(),
        file: file.to_string(),
        endpoint: config.endpoint.clone(),
        message,
        hint: hint.to_string(),
    };
    let cache = Cache::new(config.cache.clone());
    let place = Repo::new(repo.to_string(), RepoType::Dataset);
    if let Some(path) = cache.repo(place.clone()).get(file) {
        return Ok(path);
    }
    if config.offline {
        let message = format!("HF_HUB_OFFLINE is set and it is not in the cache {}", config.cache.display());
        return Err(failed(
            message,
            "unset HF_HUB_OFFLINE, or download it elsewhere and pass its folder with --data-dir",
        ));
    }
    std::fs::create_dir_all(&config.cache).map_err(Error::io(&config.cache))?;
    // hf-hub joins paths relative to each other and wants them absolute.
    let root = config.cache.canonicalize().map_err(Error::io(&config.cache))?;
    let blobs = root.join(place.folder_name()).join("blobs");
    let api = ApiBuilder::from_cache(Cache::new(root))
        .with_endpoint(config.endpoint.clone())
        .with_token(config.token.clone())
        .build()
        .map_err(|error| failed(error.to_string(), BY_HAND))?
        .repo(place);

    let mut size = None;
    let mut result = download(&api, file, progress, &mut size);
    if matches!(&result, Err(error) if is_stale(error)) {
        // What an earlier download left fits the file no more.
        remove_parts(&blobs)?;
        result = download(&api, file, progress, &mut size);
    }
    let path = result.map_err(|error| {
        let (message, hint) = explain(&error);
        failed(message, hint)
    })?;
    let found = path.metadata().map_err(Error::io(&path))?.len();
    match size {
        Some(expected) if expected != found => {
            // Neither the file nor the name that points to it may stay in the cache.
            if let Ok(blob) = path.canonicalize() {
                std::fs::remove_file(&blob).map_err(Error::io(&blob))?;
            }
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
            Err(failed(
                format!("only {found} of {expected} bytes arrived"),
                "try again, or download it by hand and pass its folder with --data-dir",
            ))
        }
        _ => Ok(path),
    }
}

const BY_HAND: &str = "download it by hand and pass its folder with --data-dir";

/// Tells `Progress` what hf-hub tells, and keeps the size.
struct Adapter<'a> {
    progress: &'a mut dyn Progress,
    size: &'a mut Option<u64>,
}

impl hf_hub::api::Progress for Adapter<'_> {
    fn init(&mut self, size: usize, file: &str) {
        // hf-hub calls this twice a file.
        if self.size.replace(size as u64).is_none() {
            self.progress.start(file, size as u64);
        }
    }

    fn update(&mut self, size: usize) {
        self.progress.advance(size as u64);
    }

    fn finish(&mut self) {
        self.progress.finish();
    }
}

fn download(
    api: &ApiRepo,
    file: &str,
    progress: &mut dyn Progress,
    size: &mut Option<u64>,
) -> Result<PathBuf, ApiError> {
    *size = None;
    api.download_with_progress(file, Adapter { progress, size })
}

/// True where a partial file from an earlier download is in the way: as long as the file, or longer.
fn is_stale(error: &ApiError) -> bool {
    match error {
        ApiError::InvalidResume => true,
        ApiError::RequestError(error) => matches!(**error, ureq::Error::StatusCode(416)),
        _ => false,
    }
}

fn remove_parts(blobs: &Path) -> Result<()> {
    for entry in std::fs::read_dir(blobs).map_err(Error::io(blobs))? {
        let path = entry.map_err(Error::io(blobs))?.path();
        if path.extension().is_some_and(|extension| extension == "part") {
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

/// What failed, and what to do about it.
fn explain(error: &ApiError) -> (String, &'static str) {
    if let ApiError::RequestError(error) = error {
        match **error {
            ureq::Error::StatusCode(404) => return ("the server has no such file (404)".to_string(), BY_HAND),
            ureq::Error::StatusCode(401 | 403) => {
                return (
                    "the server refuses access".to_string(),
                    "set HF_TOKEN, or download it by hand and pass its folder with --data-dir",
                );
            }
            _ => {}
        }
    }
    let hint = "check the network (or HF_ENDPOINT), or download it by hand and pass its folder with --data-dir";
    (error.to_string(), hint)
}
