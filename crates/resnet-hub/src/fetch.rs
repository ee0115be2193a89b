//! A file out of the cache, or downloaded into it.

use std::path::{Path, PathBuf};

use hf_hub::Cache;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};

use crate::checksum::{promised, sha256};
use crate::{Error, FetchError, Hub, Progress, Repository, Result};

impl Hub {
    /// Downloads a file of a repository, or finds it in the cache. A download that was cut off goes on.
    ///
    /// # Errors
    /// [`Error::Fetch`] where the file is not in the cache and cannot be had, or is not what the server promised; it
    /// names the repository and the file. [`Error::Io`] where the cache cannot be written.
    pub fn fetch(&self, repository: &Repository, file: &str, progress: &mut dyn Progress) -> Result<PathBuf> {
        let place = repository.to_hf();
        if let Some(path) = self.cached(repository, file) {
            return Ok(path);
        }
        let failed = |failure: Failure| {
            Error::from(Box::new(FetchError {
                kind: repository.kind,
                repository: repository.to_string(),
                file: file.to_string(),
                endpoint: self.endpoint.clone(),
                message: failure.message,
                hint: format!("{}, or {}", failure.first, repository.kind.by_hand()),
                missing: failure.missing,
            }))
        };
        if self.offline {
            let message = format!("HF_HUB_OFFLINE is set and it is not in the cache {}", self.cache.display());
            return Err(failed(Failure::new(message, "unset HF_HUB_OFFLINE")));
        }
        std::fs::create_dir_all(&self.cache).map_err(Error::io(&self.cache))?;
        // hf-hub joins paths relative to each other and wants them absolute.
        let root = self.cache.canonicalize().map_err(Error::io(&self.cache))?;
        let blobs = root.join(place.folder_name()).join("blobs");
        let api = ApiBuilder::from_cache(Cache::new(root))
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .build()
            .map_err(|error| failed(Failure::of(&error)))?
            .repo(place);

        let mut size = None;
        let mut result = download(&api, file, progress, &mut size);
        if matches!(&result, Err(error) if is_stale(error)) {
            // What an earlier download left fits the file no more.
            remove_parts(&blobs)?;
            result = download(&api, file, progress, &mut size);
        }
        let path = result.map_err(|error| failed(Failure::of(&error)))?;
        match fault(&path, size)? {
            None => Ok(path),
            Some(message) => {
                remove(&path)?;
                Err(failed(Failure::new(message, "try again")))
            }
        }
    }
}

impl Hub {
    /// The file in the cache. A commit may lie there without a name that points to it: so the hub's own tools leave it.
    fn cached(&self, repository: &Repository, file: &str) -> Option<PathBuf> {
        let place = Cache::new(self.cache.clone()).repo(repository.to_hf());
        let commit = || Some(place.pointer_path(&repository.revision).join(file)).filter(|path| path.exists());
        place.get(file).or_else(commit)
    }
}

/// In what the file differs from what the server promised.
fn fault(path: &Path, size: Option<u64>) -> Result<Option<String>> {
    let found = path.metadata().map_err(Error::io(path))?.len();
    if let Some(expected) = size.filter(|&expected| expected != found) {
        return Ok(Some(format!("only {found} of {expected} bytes arrived")));
    }
    let blob = path.canonicalize().map_err(Error::io(path))?;
    match promised(&blob) {
        Some(sum) if sha256(&blob)? != sum => Ok(Some(format!("its SHA-256 is not {sum}: it was damaged on its way"))),
        _ => Ok(None),
    }
}

/// Neither the file nor the name that points to it may stay in the cache.
fn remove(path: &Path) -> Result<()> {
    if let Ok(blob) = path.canonicalize() {
        std::fs::remove_file(&blob).map_err(Error::io(&blob))?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

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
    // Where nothing was downloaded yet, there is no folder.
    if !blobs.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(blobs).map_err(Error::io(blobs))? {
        let path = entry.map_err(Error::io(blobs))?.path();
        if path.extension().is_some_and(|extension| extension == "part") {
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

/// What failed, and what to try before downloading by hand.
struct Failure {
    message: String,
    first: &'static str,
    missing: bool,
}

impl Failure {
    fn new(message: String, first: &'static str) -> Self {
        Self { message, first, missing: false }
    }

    fn of(error: &ApiError) -> Self {
        if let ApiError::RequestError(error) = error {
            match **error {
                ureq::Error::StatusCode(404) => {
                    let message = "the server has no such file (404)".to_string();
                    return Self { message, first: "check the names", missing: true };
                }
                // The hub answers so for repositories that do not exist, too.
                ureq::Error::StatusCode(status @ (401 | 403)) => {
                    let message = format!("the server refuses access ({status}), or has no such repository");
                    return Self::new(message, "check the name, set HF_TOKEN");
                }
                ureq::Error::StatusCode(429) => {
                    let message = "the server takes no more requests for now (429)".to_string();
                    return Self::new(message, "try again later, set HF_TOKEN");
                }
                ureq::Error::StatusCode(status) => {
                    return Self::new(format!("the server fails ({status})"), "try again later");
                }
                _ => {}
            }
        }
        if let ApiError::IoError(error) = error {
            let message = format!("the connection was cut ({error})");
            return Self::new(message, "try again, which goes on after what has arrived");
        }
        Self::new(error.to_string(), "check the network (or HF_ENDPOINT)")
    }
}
