//! The run directory: where it lies, what decides the run, and whether a resumed run is still the same.

use std::path::{Path, PathBuf};

use resnet_data::{Dataset, OnBroken, SplitTable};
use serde::{Deserialize, Serialize};

use super::session::Loading;
use crate::recipe::{Recipe, first_difference};
use crate::schedule::Schedule;
use crate::{Error, Result};

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

impl RunConfig {
    /// Reads a run's `config.toml`.
    ///
    /// # Errors
    /// When the file cannot be read or is no run's configuration.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        crate::recipe::parse_toml(&text, &path.display().to_string())
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|error| Error::Invalid(format!("config.toml: {error}")))?;
        let temporary = path.with_extension("toml.tmp");
        std::fs::write(&temporary, text).map_err(Error::io("write", &temporary))?;
        std::fs::rename(&temporary, path).map_err(Error::io("write", path))
    }

    /// The first thing that decides the bits of the weights and differs in `now`. A length may be changed, and with it
    /// the times of the schedule.
    fn changed(&self, now: &Self) -> Option<(String, String, String)> {
        // A rate that falls by what evaluations find depends on when and on what they are made.
        let plateau = matches!(now.recipe.schedule, Schedule::Plateau { .. });
        let free = |key: &str| {
            matches!(key, "recipe.description" | "recipe.epochs" | "recipe.iterations")
                || matches!(key, "run.version" | "run.revision" | "run.device" | "run.data_dir")
                || (!plateau && matches!(key, "recipe.evaluate_every" | "run.test_images"))
                || (self.recipe.length() != now.recipe.length()
                    && matches!(
                        key,
                        "recipe.schedule.milestones" | "recipe.schedule.warmup" | "recipe.schedule.patience"
                    ))
        };
        first_difference(self, now, free)
    }
}

/// A directory that holds one run.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
    /// Whether the folder was made for this run.
    made: bool,
}

impl RunDir {
    /// Makes the directory of a new run. Without `out` it is `runs/NAME`, `runs/NAME-2` and so on.
    ///
    /// # Errors
    /// When `out` holds a run already, or the directory cannot be made.
    pub fn create(out: Option<&Path>, name: &str) -> Result<Self> {
        if let Some(out) = out {
            let dir = Self { path: out.to_owned(), made: !out.exists() };
            if dir.config().exists() || dir.state().exists() || dir.log().exists() {
                return Err(Error::RunExists { path: out.to_owned() });
            }
            std::fs::create_dir_all(out).map_err(Error::io("create", out))?;
            return Ok(dir);
        }
        let runs = Path::new("runs");
        std::fs::create_dir_all(runs).map_err(Error::io("create", runs))?;
        for number in 1.. {
            let path = numbered(runs, name, number);
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, made: true }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", path)(error)),
            }
        }
        Err(Error::Invalid("there are too many runs in runs/".into()))
    }

    /// The directory of a run to go on with. Without `out` it is the last of `runs/NAME`, `runs/NAME-2` and so on.
    ///
    /// # Errors
    /// When there is no checkpoint.
    pub fn resume(out: Option<&Path>, name: &str) -> Result<Self> {
        let runs = Path::new("runs");
        let last = || (1..).map(|number| numbered(runs, name, number)).take_while(|path| path.exists()).last();
        let path = match out {
            Some(out) => out.to_owned(),
            None => last().unwrap_or_else(|| numbered(runs, name, 1)),
        };
        let dir = Self { path, made: false };
        if dir.state().exists() { Ok(dir) } else { Err(Error::NothingToResume { path: dir.path }) }
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

    /// `split.csv`: which image of an undivided folder was learned from, and which was held back.
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

    /// Writes the configuration; of a resumed run only after comparing it.
    pub(super) fn write_config(&self, config: &RunConfig, resumed: bool) -> Result<()> {
        let path = self.config();
        if resumed {
            // The file says what the run began with: its revision and version stay.
            let before = RunConfig::read(&path)?;
            if let Some((key, before, now)) = before.changed(config) {
                return Err(Error::ConfigChanged { path, key, before, now });
            }
            let run = RunInfo { revision: before.run.revision, version: before.run.version, ..config.run.clone() };
            return RunConfig { run, recipe: config.recipe.clone() }.write(&path);
        }
        config.write(&path)
    }
}

/// A new run that has learned nothing yet: dropped as such, it takes its files away again, so that the same command can
/// be given once its data or settings are mended.
pub(crate) struct Unbegun(Option<RunDir>);

impl Unbegun {
    /// Of a directory that was just made; a resumed run's stays as it is.
    pub(crate) fn new(dir: &RunDir, resumed: bool) -> Self {
        Self(if resumed { None } else { Some(dir.clone()) })
    }

    /// There is something to keep now.
    pub(crate) fn keep(&mut self) {
        self.0 = None;
    }
}

impl Drop for Unbegun {
    fn drop(&mut self) {
        let Some(dir) = &self.0 else { return };
        // The error that ended the run is the one to tell; what cannot be removed stays.
        for file in [dir.config(), dir.log(), dir.state(), dir.last(), dir.split()] {
            let _ = std::fs::remove_file(file);
        }
        if dir.made {
            // Where anything else lies in it by now, it stays too.
            let _ = std::fs::remove_dir(&dir.path);
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

    #[test]
    fn a_directory_with_a_run_is_refused() {
        let tmp = tempfile::tempdir().unwrap();
        let out = tmp.path().join("a/b");
        let dir = RunDir::create(Some(&out), "x").unwrap();
        assert!(RunDir::create(Some(&out), "x").is_ok(), "an empty folder is no run");
        config().write(&dir.config()).unwrap();
        let message = RunDir::create(Some(&out), "x").unwrap_err().to_string();
        assert!(message.contains("a/b") && message.contains("resume it"), "{message}");
        let message = RunDir::resume(Some(&out), "x").unwrap_err().to_string();
        assert!(message.contains("state.safetensors"), "{message}");
    }

    #[test]
    fn a_run_that_has_not_begun_leaves_nothing_of_its_own() {
        let tmp = tempfile::tempdir().unwrap();
        let out = tmp.path().join("run");
        let begin = |resumed: bool| {
            let dir = RunDir::create(Some(&out), "x").unwrap();
            let unbegun = Unbegun::new(&dir, resumed);
            config().write(&dir.config()).unwrap();
            std::fs::write(dir.last(), "weights").unwrap();
            unbegun
        };
        drop(begin(false));
        assert!(!out.exists());
        // A folder that was there, and a file that somebody put there, stay.
        std::fs::create_dir(&out).unwrap();
        drop(begin(false));
        assert!(out.read_dir().unwrap().next().is_none());
        std::fs::remove_dir(&out).unwrap();
        let unbegun = begin(false);
        std::fs::write(out.join("notes.txt"), "mine").unwrap();
        drop(unbegun);
        assert_eq!(out.read_dir().unwrap().count(), 1);
        drop(begin(true));
        assert_eq!(out.read_dir().unwrap().count(), 3);
        std::fs::remove_dir_all(&out).unwrap();
        let mut begun = begin(false);
        begun.keep();
        drop(begun);
        assert_eq!(out.read_dir().unwrap().count(), 2);
    }

    #[test]
    fn the_configuration_goes_round_and_changes_are_named() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::create(Some(tmp.path()), "x").unwrap();
        let begun = config();
        dir.write_config(&begun, false).unwrap();
        assert_eq!(RunConfig::read(&dir.config()).unwrap(), begun);
        let with = |o| RunConfig { recipe: begun.recipe.clone().with(&o).unwrap(), ..begun.clone() };
        dir.write_config(&with(Overrides { epochs: Some(200), ..Overrides::default() }), true).unwrap();
        dir.write_config(&begun, true).unwrap();
        for (overrides, key) in [
            (Overrides { seed: Some(3), ..Overrides::default() }, "recipe.seed"),
            (Overrides { lr: Some(0.2), ..Overrides::default() }, "recipe.schedule.lr"),
            (Overrides { arch: Some("resnet32".into()), ..Overrides::default() }, "recipe.arch"),
        ] {
            let message = dir.write_config(&with(overrides), true).unwrap_err().to_string();
            assert!(message.contains(key) && message.contains("config.toml"), "{message}");
        }
        assert_eq!(RunConfig::read(&dir.config()).unwrap(), begun);
    }
}
