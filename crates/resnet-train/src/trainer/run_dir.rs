//! The run directory: where it lies, what decides the run, and whether a resumed run is still the same.

use std::path::{Path, PathBuf};

use resnet_data::{Dataset, OnBroken, SplitTable};
use resnet_files::Lock;
use serde::{Deserialize, Serialize};

use super::session::Loading;
use crate::recipe::{Recipe, first_difference};
use crate::schedule::Schedule;
use crate::{Error, Result, files};

/// What decides a run beside its recipe, and what to know about how it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// Version of this library.
    pub version: String,
    /// Git revision of the source, `-dirty` where it was changed; `unknown` outside a repository.
    pub revision: String,
    /// The device.
    pub device: String,
    /// Where the data set lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<String>,
    /// What an image that cannot be read does.
    pub on_broken: OnBroken,
    /// Which of `world_size` processes this is.
    pub rank: usize,
    /// Processes that share an epoch.
    pub world_size: usize,
    /// Of shards: images that are mixed with one another.
    pub shuffle_buffer: usize,
    /// Images trained on.
    pub train_images: usize,
    /// Images evaluated on.
    pub test_images: usize,
    /// Names of the classes, by label.
    pub classes: Vec<String>,
}

impl Default for RunInfo {
    fn default() -> Self {
        let Loading { on_broken, rank, world_size, shuffle_buffer, .. } = Loading::default();
        Self {
            version: String::new(),
            revision: String::new(),
            device: String::new(),
            data_dir: None,
            on_broken,
            rank,
            world_size,
            shuffle_buffer,
            train_images: 0,
            test_images: 0,
            classes: Vec::new(),
        }
    }
}

/// `config.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// About the run.
    pub run: RunInfo,
    /// The recipe, with every override applied.
    pub recipe: Recipe,
}

/// Times of the schedule, which are stretched with the length.
const STRETCHED: [&str; 3] = ["recipe.schedule.milestones", "recipe.schedule.warmup", "recipe.schedule.patience"];

impl RunConfig {
    /// Reads a run's `config.toml`.
    ///
    /// # Errors
    /// When the file cannot be read or is no run's configuration.
    pub fn read(path: &Path) -> Result<Self> {
        let text = files::read_text(path).map_err(Error::io("read", path))?;
        crate::recipe::parse_toml(&text, &path.display().to_string())
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|error| Error::Invalid(format!("config.toml: {error}")))?;
        files::write(path, text.as_bytes())
    }

    /// The first thing that decides the bits of the weights and differs in `now`. A length may be changed, and with it
    /// the times of the schedule; where the images are the same ones (`same_data`), so may be where they lie.
    fn changed(&self, now: &Self, same_data: bool) -> Option<(String, String, String)> {
        // A rate that falls by what evaluations find depends on when and on what they are made.
        let plateau = matches!(now.recipe.schedule, Schedule::Plateau { .. });
        let free = |key: &str| {
            matches!(key, "recipe.description" | "recipe.epochs" | "recipe.iterations")
                || matches!(key, "run.version" | "run.revision" | "run.device" | "run.data_dir")
                || (!plateau && matches!(key, "recipe.evaluate_every" | "run.test_images"))
                || (same_data && key == "recipe.dataset")
                || (self.recipe.length() != now.recipe.length()
                    && (key.starts_with("recipe.hold.") || STRETCHED.contains(&key)))
        };
        first_difference(self, now, free)
    }
}

/// A directory that holds one run.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// The run in a directory, which need not be there.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// What the run in the directory began with; `None` where there is none.
    ///
    /// # Errors
    /// When its `config.toml` cannot be read, or is missing where there is a checkpoint.
    pub fn begun(&self) -> Result<Option<RunConfig>> {
        let config = self.config();
        if config.exists() || self.state().exists() { RunConfig::read(&config).map(Some) } else { Ok(None) }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `config.toml`: everything that decides the run.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// `log.jsonl`.
    pub fn log(&self) -> PathBuf {
        self.path.join("log.jsonl")
    }

    /// `state.safetensors`: what `--resume` reads.
    pub fn state(&self) -> PathBuf {
        self.path.join("state.safetensors")
    }

    /// `last.safetensors`: the weights of the last checkpoint, averaged where the recipe has an average.
    pub fn last(&self) -> PathBuf {
        self.path.join("last.safetensors")
    }

    /// `best.safetensors`: the weights of the best evaluation.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// `split.csv`: which image of a folder without splits was for training, and which for validation.
    pub fn split(&self) -> PathBuf {
        self.path.join(SplitTable::FILE)
    }

    /// Writes the split of the set that these images are a part of, where it was made for the run.
    pub(crate) fn write_split(&self, set: &dyn Dataset) -> Result<()> {
        match set.split_table() {
            Some(table) => crate::files::write(&self.split(), &table.to_csv()?),
            None => Ok(()),
        }
    }

    /// `report.html`.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// `images.csv`: the images that the run began with, for images in files.
    pub fn images(&self) -> PathBuf {
        self.path.join("images.csv")
    }

    /// Removes what a process that was killed left half written.
    fn remove_leftovers(&self) {
        for file in [
            self.config(),
            self.log(),
            self.images(),
            self.state(),
            self.last(),
            self.best(),
            self.report(),
            self.split(),
        ] {
            resnet_files::remove_leftovers(&file);
        }
    }

    /// Writes the configuration; of a resumed run what it began with stays in it.
    pub(super) fn write_config(&self, config: &RunConfig, before: Option<RunConfig>) -> Result<()> {
        let path = self.config();
        let Some(before) = before else { return config.write(&path) };
        // The file says what the run began with: its revision and version stay.
        let run = RunInfo { revision: before.run.revision, version: before.run.version, ..config.run.clone() };
        RunConfig { run, recipe: config.recipe.clone() }.write(&path)
    }

    /// What the run began with; an error where it differs from `now` in what decides the weights.
    pub(super) fn begun_with(&self, now: &RunConfig, same_data: bool) -> Result<RunConfig> {
        let path = self.config();
        let begun = RunConfig::read(&path)?;
        match begun.changed(now, same_data) {
            Some((key, before, now)) => Err(Error::ConfigChanged { path, key, before, now }),
            None => Ok(begun),
        }
    }

    /// Whether there is anything of a run.
    fn is_begun(&self) -> bool {
        self.config().exists() || self.state().exists() || self.log().exists()
    }

    /// What a run that came further than its first checkpoint has.
    fn learned(&self) -> Option<PathBuf> {
        let log = Some(self.log()).filter(|log| log.metadata().is_ok_and(|log| log.len() > 0));
        [self.last(), self.best()].into_iter().find(|path| path.exists()).or(log)
    }
}

/// A run directory that this process alone writes.
///
/// A new run that has learned nothing yet takes its files away again when this is dropped, so that the same command can
/// be given once its data or settings are mended.
pub(crate) struct RunGuard {
    pub dir: RunDir,
    /// Whether there is a checkpoint to go on from.
    pub resumed: bool,
    /// Said of a run that was to be resumed and begins at its start.
    pub notice: Option<String>,
    /// Whether the folder was made for this run.
    made: bool,
    begun: bool,
    lock: Option<Lock>,
}

impl RunGuard {
    /// Takes a directory: of a new run, or of one to go on with. Without `out` it is `runs/NAME`, `runs/NAME-2` and so
    /// on: the first that is free, or the last that is there.
    ///
    /// To be gone on with, a run needs a checkpoint; where there is none yet, as after a crash at once or at the first
    /// call of a command that is repeated until it is done, it begins at its start.
    ///
    /// # Errors
    /// When another process has it, when a new run's holds a run already, when one to go on with has weights and no
    /// checkpoint, or when the directory cannot be made or written.
    pub(crate) fn take(out: Option<&Path>, name: &str, resume: bool) -> Result<Self> {
        let runs = Path::new("runs");
        let path = match out {
            Some(out) => out.to_owned(),
            None if resume => {
                let there = (1..).map(|number| numbered(runs, name, number)).take_while(|path| path.exists());
                there.last().unwrap_or_else(|| numbered(runs, name, 1))
            }
            None => return Self::numbered(runs, name),
        };
        let made = !path.exists();
        std::fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        Self::lock(path, made, resume)
    }

    /// The first of `runs/NAME`, `runs/NAME-2` and so on that is free.
    fn numbered(runs: &Path, name: &str) -> Result<Self> {
        std::fs::create_dir_all(runs).map_err(Error::io("create", runs))?;
        for number in 1.. {
            let path = numbered(runs, name, number);
            match std::fs::create_dir(&path) {
                Ok(()) => return Self::lock(path, true, false),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", path)(error)),
            }
        }
        Err(Error::Invalid("there are too many runs in runs/".into()))
    }

    fn lock(path: PathBuf, made: bool, resume: bool) -> Result<Self> {
        let lock = Lock::take(&path).map_err(Error::io("write into", &path))?;
        let Some(lock) = lock else { return Err(Error::RunBusy { path }) };
        let dir = RunDir { path };
        let resumed = resume && dir.state().exists();
        let mut guard = Self { dir, resumed, notice: None, made, begun: true, lock: Some(lock) };
        let dir = &guard.dir;
        if resumed {
            dir.remove_leftovers();
            return Ok(guard);
        }
        if !resume && dir.is_begun() {
            return Err(Error::RunExists { path: dir.path.clone() });
        }
        if resume {
            if let Some(learned) = dir.learned() {
                return Err(Error::NothingToResume { path: dir.path.clone(), learned });
            }
            let path = dir.path.display();
            guard.notice = Some(format!("{path}: no checkpoint to go on from yet, the run begins at its start"));
        }
        dir.remove_leftovers();
        guard.begun = false;
        Ok(guard)
    }

    /// There is something to keep now.
    pub(crate) fn keep(&mut self) {
        self.begun = true;
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        // The error that ended the run is the one to tell; what cannot be removed stays.
        if !self.begun {
            for file in [
                self.dir.config(),
                self.dir.log(),
                self.dir.images(),
                self.dir.state(),
                self.dir.last(),
                self.dir.split(),
            ] {
                let _ = std::fs::remove_file(file);
            }
        }
        self.lock = None;
        if self.made {
            // Where anything lies in it, it stays.
            let _ = std::fs::remove_dir(&self.dir.path);
        }
    }
}

fn numbered(runs: &Path, name: &str, number: u32) -> PathBuf {
    if number == 1 { runs.join(name) } else { runs.join(format!("{name}-{number}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Overrides;

    fn config() -> RunConfig {
        RunConfig { run: RunInfo::default(), recipe: Recipe::load("he2015-cifar").unwrap() }
    }

    fn take(out: &Path, resume: bool) -> Result<RunGuard> {
        RunGuard::take(Some(out), "x", resume)
    }

    #[test]
    fn a_directory_with_a_run_is_refused() {
        let tmp = tempfile::tempdir().unwrap();
        let out = tmp.path().join("a/b");
        let mut guard = take(&out, false).unwrap();
        guard.keep();
        let message = take(&out, false).err().unwrap().to_string();
        assert!(message.contains("a/b") && message.contains("another process"), "{message}");
        config().write(&guard.dir.config()).unwrap();
        let dir = guard.dir.clone();
        drop(guard);
        let message = take(&out, false).err().unwrap().to_string();
        assert!(message.contains("a/b") && message.contains("resume it"), "{message}");
        // Killed before its first checkpoint.
        let guard = take(&out, true).unwrap();
        assert!(!guard.resumed && guard.notice.as_ref().unwrap().contains("begins at its start"));
        drop(guard);
        std::fs::create_dir_all(&out).unwrap();
        std::fs::write(dir.last(), "weights").unwrap();
        let message = take(&out, true).err().unwrap().to_string();
        assert!(message.contains("last.safetensors") && message.contains("state.safetensors"), "{message}");
        std::fs::write(dir.state(), "state").unwrap();
        assert!(take(&out, true).unwrap().resumed);
        assert!(dir.state().exists());
    }

    #[test]
    fn what_a_killed_run_left_half_written_goes() {
        let tmp = tempfile::tempdir().unwrap();
        for name in
            ["state.safetensors", ".state.safetensors.1-0.tmp", ".report.html.77-12.tmp", ".mine.1-0.tmp", ".lock"]
        {
            std::fs::write(tmp.path().join(name), "half").unwrap();
        }
        drop(take(tmp.path(), true).unwrap());
        let mut names: Vec<_> = tmp.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".mine.1-0.tmp", "state.safetensors"]);
    }

    #[test]
    fn a_run_that_has_not_begun_leaves_nothing_of_its_own() {
        let tmp = tempfile::tempdir().unwrap();
        let out = tmp.path().join("run");
        let begin = || {
            let guard = take(&out, false).unwrap();
            config().write(&guard.dir.config()).unwrap();
            std::fs::write(guard.dir.last(), "weights").unwrap();
            guard
        };
        drop(begin());
        assert!(!out.exists());
        // A folder that was there, and a file that somebody put there, stay.
        std::fs::create_dir(&out).unwrap();
        drop(begin());
        assert!(out.read_dir().unwrap().next().is_none());
        std::fs::remove_dir(&out).unwrap();
        let guard = begin();
        std::fs::write(out.join("notes.txt"), "mine").unwrap();
        drop(guard);
        assert_eq!(out.read_dir().unwrap().count(), 1);
        std::fs::remove_dir_all(&out).unwrap();
        let mut begun = begin();
        begun.keep();
        drop(begun);
        assert_eq!(out.read_dir().unwrap().count(), 2);
    }

    #[test]
    fn the_configuration_goes_round_and_changes_are_named() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::at(tmp.path());
        let begun = config();
        dir.write_config(&begun, None).unwrap();
        assert_eq!(RunConfig::read(&dir.config()).unwrap(), begun);
        let with = |o| RunConfig { recipe: begun.recipe.clone().with(&o).unwrap(), ..begun.clone() };
        dir.begun_with(&with(Overrides { epochs: Some(200), ..Overrides::default() }), false).unwrap();
        let elsewhere = with(Overrides { dataset: Some("folder:elsewhere".into()), ..Overrides::default() });
        assert_eq!(dir.begun_with(&elsewhere, true).unwrap(), begun);
        assert!(dir.begun_with(&elsewhere, false).is_err());
        for (overrides, key) in [
            (Overrides { seed: Some(3), ..Overrides::default() }, "recipe.seed"),
            (Overrides { lr: Some(0.2), ..Overrides::default() }, "recipe.schedule.lr"),
            (Overrides { arch: Some("resnet32".into()), ..Overrides::default() }, "recipe.arch"),
            (Overrides { batch_size: Some(7), ..Overrides::default() }, "recipe.batch_size"),
        ] {
            let message = dir.begun_with(&with(overrides), true).unwrap_err().to_string();
            assert!(message.contains(key) && message.contains("config.toml"), "{message}");
        }
    }
}
