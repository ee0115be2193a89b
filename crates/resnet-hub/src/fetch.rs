//! A file out of the cache, or downloaded into it.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::answer::{About, Answer};
use crate::cache::Place;
use crate::checksum::{promised, sha256};
use crate::failure::Failure;
use crate::http::{self, Method};
use crate::{Error, FetchError, Hub, Progress, Repository, Result};

/// How often a server that fails is asked in all.
const ATTEMPTS: u32 = 4;
/// A server that wants to be left alone for longer is.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Hub {
    /// Downloads a file of a repository, or finds it in the cache. A download that was cut off goes on; a server that
    /// fails is asked again a few times.
    ///
    /// # Errors
    /// [`Error::Fetch`] where the file is not in the cache and cannot be had, or is not what the server promised; it
    /// names the repository and the file. [`Error::Io`] where the cache cannot be written.
    pub fn fetch(&self, repository: &Repository, file: &str, progress: &mut dyn Progress) -> Result<PathBuf> {
        let place = Place::of(self, repository);
        let failed = |failure: Failure| match failure.disk {
            Some(error) => error,
            None => Error::from(Box::new(FetchError {
                kind: repository.kind,
                repository: repository.to_string(),
                file: file.to_string(),
                endpoint: self.shown_endpoint(),
                message: failure.message,
                hint: format!("{}, or {}", failure.first, repository.kind.by_hand()),
                missing: failure.missing,
            })),
        };
        // It becomes a path in the cache, and may come out of a downloaded file.
        if file.is_empty() || !Path::new(file).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(failed(Failure::new("this is no file's name in a repository".into(), "check the name")));
        }
        if let Some(path) = place.found(file) {
            return Ok(path);
        }
        if self.offline {
            let message = format!("HF_HUB_OFFLINE is set and it is not in the cache {}", self.cache.display());
            let failure = Failure::new(message, "unset HF_HUB_OFFLINE");
            return Err(failed(Failure { missing: place.known_missing(file), ..failure }));
        }
        let mut download = Download { hub: self, repository, place, file, farthest: 0, progress };
        download.patiently().map_err(failed)
    }
}

/// A file on its way.
struct Download<'a> {
    hub: &'a Hub,
    repository: &'a Repository,
    place: Place,
    file: &'a str,
    /// Most bytes that there ever were of it.
    farthest: u64,
    progress: &'a mut dyn Progress,
}

impl Download<'_> {
    /// Attempts until one succeeds, fails for good, or several in a row get no farther.
    fn patiently(&mut self) -> Result<PathBuf, Failure> {
        let mut failures = 0;
        loop {
            let before = self.farthest;
            let failure = match self.attempt() {
                Ok(path) => return Ok(path),
                Err(failure) => failure,
            };
            failures = if self.farthest > before { 1 } else { failures + 1 };
            let Some(wanted) = failure.again.filter(|_| failures < ATTEMPTS) else { return Err(failure) };
            let pause = wanted.unwrap_or(self.hub.pause * 2_u32.pow(failures - 1));
            if pause > LONGEST_PAUSE {
                return Err(failure);
            }
            std::thread::sleep(pause);
        }
    }

    fn attempt(&mut self) -> Result<PathBuf, Failure> {
        let url = format!("{}/{}", self.hub.endpoint, self.repository.url(self.file));
        let (told, promised) = self.ask_about(&url)?;
        let (mut lock, mut from) = (None, 0);
        if let Some(etag) = &told.etag {
            self.make()?;
            lock = Some(self.place.lock(etag));
            let blob = self.place.blob(etag);
            // One that was cut off since, by a full disk or a copy, is fetched again.
            let size = told.size.or(promised);
            if blob.metadata().is_ok_and(|found| size.is_some_and(|size| size != found.len())) {
                remove(&blob)?;
            }
            if let (true, Some(commit)) = (blob.is_file(), self.commit(&told)) {
                // Another revision has the same, or another process was faster.
                return Ok(self.place.publish(&blob, &commit, self.file)?);
            }
            // What cannot be checked in the end is not pieced together.
            let checkable = crate::checksum::promised(&blob).is_some();
            from = incomplete(&blob).metadata().ok().filter(|_| checkable).map_or(0, |data| data.len());
        }
        let mut answer = http::ask(self.hub, &url, Method::Get { from })?;
        let goes_on = answer.status == 206 && answer.range().is_none_or(|(first, _)| first == from);
        if from > 0 && !goes_on && matches!(answer.status, 206 | 416) {
            // What an earlier download left fits the file no more.
            from = 0;
            answer = http::ask(self.hub, &url, Method::Get { from })?;
        }
        let about = told.or(&answer.about);
        if !matches!(answer.status, 200 | 206) {
            let failure = Failure::of_status(&answer, self.hub, self.repository);
            if let (true, Some(commit)) = (failure.missing, &about.commit) {
                self.place.remember_missing(commit, self.file);
            }
            return Err(failure);
        }
        let Some(commit) = self.commit(&about) else { return Err(Failure::no_hub(&answer)) };
        // gzip is undone on the way.
        if let Some(encoding) = answer.header("content-encoding").filter(|name| !matches!(*name, "identity" | "gzip")) {
            return Err(Failure::encoded(encoding));
        }
        self.make()?;
        let name = about.etag.clone().unwrap_or_else(|| format!("no-etag-{commit}-{}", self.file.replace('/', "-")));
        if lock.is_none() {
            lock = Some(self.place.lock(&name));
        }
        if answer.status == 200 {
            // All of it comes, whatever was asked for.
            from = 0;
        }
        let size = about.size.or_else(|| answer.range()?.1).or_else(|| answer.plain_length());
        let size = size.or_else(|| promised.filter(|_| answer.header("content-encoding").is_none()));
        if let Some(size) = size.filter(|&size| size > most(self.file)) {
            return Err(Failure::too_long(size, None));
        }
        let blob = self.place.blob(&name);
        self.receive(answer, &incomplete(&blob), from, size)?;
        self.check(&incomplete(&blob), &blob, size, from)?;
        std::fs::rename(incomplete(&blob), &blob).map_err(Error::io(&blob))?;
        let path = self.place.publish(&blob, &commit, self.file)?;
        drop(lock);
        Ok(path)
    }

    /// What the server says of the file, and its bytes where it says that. Not every mirror answers; then it is told with
    /// the file itself.
    fn ask_about(&self, url: &str) -> Result<(About, Option<u64>), Failure> {
        match http::ask(self.hub, url, Method::Head) {
            Ok(head) if head.status < 400 => {
                let length = head.plain_length().filter(|&bytes| bytes > 0 && head.status == 200);
                Ok((head.about, length))
            }
            Ok(_) => Ok(Default::default()),
            Err(failure) if failure.again.is_some() => Ok(Default::default()),
            Err(failure) => Err(failure),
        }
    }

    fn make(&self) -> Result<(), Failure> {
        Ok(self.place.make()?)
    }

    /// The commit that the revision stands for: what the hub says; a whole commit stands for itself.
    fn commit(&self, about: &About) -> Option<String> {
        let revision = &self.repository.revision;
        let is_commit = revision.len() == 40 && revision.chars().all(|c| c.is_ascii_hexdigit());
        about.commit.clone().or_else(|| is_commit.then(|| revision.clone()))
    }

    /// Writes what comes behind the bytes that are there.
    fn receive(&mut self, answer: Answer, path: &Path, from: u64, size: Option<u64>) -> Result<(), Failure> {
        let open = || {
            let file = File::options().create(true).write(true).append(from > 0).truncate(from == 0).open(path)?;
            file.set_len(from).map(|()| file)
        };
        let mut file = open().map_err(Error::io(path))?;
        let mut reader = answer.into_reader();
        self.progress.start(self.file, size.unwrap_or(0));
        self.progress.advance(from);
        let (mut buffer, mut length) = (vec![0; 1 << 16], from);
        let result = loop {
            match reader.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(count) => {
                    file.write_all(&buffer[..count]).map_err(Error::io(path))?;
                    self.progress.advance(count as u64);
                    length += count as u64;
                    if length > size.unwrap_or_else(|| most(self.file)) {
                        // More than was promised, or an answer without an end.
                        remove(path)?;
                        break Err(Failure::too_long(length, size));
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => break Err(Failure::cut(&error)),
            }
        };
        self.progress.finish();
        self.farthest = self.farthest.max(length);
        result
    }

    /// Compares what arrived with what was promised; what differs does not stay.
    fn check(&self, path: &Path, blob: &Path, size: Option<u64>, from: u64) -> Result<(), Failure> {
        let found = path.metadata().map_err(Error::io(path))?.len();
        if let Some(expected) = size.filter(|&expected| expected != found) {
            // More than all of it is no beginning of it.
            if found > expected {
                remove(path)?;
            }
            return Err(Failure::short(found, expected));
        }
        match promised(blob) {
            Some(sum) if sha256(path)? != sum => {
                remove(path)?;
                let failure = Failure::new(format!("its SHA-256 is not {sum}: it was damaged on its way"), "try again");
                // The damage may lie in what an earlier download left.
                Err(if from > 0 { Failure { again: Some(None), ..failure } } else { failure })
            }
            _ => Ok(()),
        }
    }
}

/// Most bytes of a file whose length no server tells.
fn most(file: &str) -> u64 {
    if file.ends_with(".json") || file.ends_with(".txt") { 64 << 20 } else { 16 << 30 }
}

/// Where a content lies until it is complete.
fn incomplete(blob: &Path) -> PathBuf {
    let mut name = blob.file_name().unwrap_or_default().to_owned();
    name.push(".incomplete");
    blob.with_file_name(name)
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(Error::io(path))
}
