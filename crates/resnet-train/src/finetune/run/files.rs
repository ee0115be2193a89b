//! What a fine-tuning writes, and reads again when it is resumed.

use std::path::Path;

use candle_core::Tensor;
use resnet_models::{ModelCard, Preprocessing, Training};

use super::{Best, PHASES, Run};
use crate::finetune::state::Place;
use crate::finetune::{FinetuneConfig, Written, state, steps};
use crate::optimizer::Sgd;
use crate::recipe::{Normalization, first_difference, parse_toml};
use crate::trainer::data_fingerprint::{self, DataFingerprint};
use crate::trainer::{Silent, evaluate, program, read_log, revision};
use crate::{Error, Result, files};

impl Run<'_> {
    pub(super) fn written(&self) -> Written<'_> {
        Written {
            pretrained: self.task.pretrained,
            arch: &self.task.network.config().name,
            dataset: self.task.dataset,
            train_images: self.task.train.len(),
            test_images: self.task.test.len(),
            classes: self.task.train.classes(),
            version: env!("CARGO_PKG_VERSION"),
            revision: revision(),
            on_broken: self.task.on_broken,
            preprocessing: self.task.preprocessing,
            finetune: self.config,
        }
    }

    /// `config.toml`.
    pub(super) fn write_config(&self) -> Result<()> {
        files::write(&self.dir.config(), self.config_text()?.as_bytes())
    }

    fn config_text(&self) -> Result<String> {
        toml::to_string(&self.written()).map_err(|error| Error::Invalid(format!("config.toml: {error}")))
    }

    /// Writes what a new run begins with; gives what is to be said.
    pub(super) fn begin(&mut self) -> Result<Vec<String>> {
        self.write_config()?;
        self.dir.write_split(&*self.task.test)?;
        if let Some(list) = data_fingerprint::list(&*self.task.train, &*self.task.test)? {
            files::write(&self.dir.images(), list.as_bytes())?;
        }
        // A run that is killed in its first epoch can be resumed as well.
        self.save_state(None)?;
        let dir = self.dir.path().display();
        let FinetuneConfig { head_epochs, epochs, .. } = self.config;
        let begun = format!("run directory {dir}: {head_epochs} epochs of the head, then {epochs} of all, at most");
        Ok(self.guard.notice.clone().into_iter().chain([begun]).collect())
    }

    /// Reads the state of a run that was cut; gives what is to be said.
    pub(super) fn resume(&mut self, data: DataFingerprint) -> Result<Vec<String>> {
        let saved = state::Saved::read(&self.dir.state())?;
        let before = saved.place.data;
        let sets = [&*self.task.train, &*self.task.test];
        if let Some(difference) = before.and_then(|b| data.difference(&b, sets, &self.dir.images())) {
            return Err(Error::DataChanged { path: self.dir.path().to_owned(), difference });
        }
        let longer = self.compare(before.is_some(), &saved.place)?;
        let found = saved.load(&self.named, self.train.batches())?;
        self.best = found.place.best.zip(found.best).map(|((epoch, loss), values)| Best {
            epoch,
            loss,
            values,
            evaluation: None,
        });
        if let Some(best) = self.best.as_mut().filter(|_| !found.place.weighted) {
            // Of an older version, by another measure: taken anew.
            let weights = steps::snapshot(&self.named)?;
            steps::restore(&self.named, &best.values)?;
            let result = evaluate(self.task.network, &self.test, self.task.device, None, &mut Silent)?;
            best.loss = result.map_or(f64::INFINITY, |result| result.weighted_loss(&self.class_weights));
            steps::restore(&self.named, &weights)?;
        }
        self.records = read_log(&self.dir.log())?;
        // The log may be an epoch ahead.
        self.records.truncate(found.place.epochs as usize);
        // What was cut off or overwritten in it goes.
        self.write_log()?;
        self.before = found.place.seconds;
        self.velocity = Some(found.velocity);
        self.place = Place { data: Some(data), ..found.place };
        self.guard.keep();
        let (dir, epoch, step) = (self.dir.path().display(), self.place.epochs + 1, self.place.step);
        let going_on = match self.is_over() {
            true => format!("{dir}: the run is complete after {} epochs", self.place.epochs),
            false => format!("run directory {dir}: going on at epoch {epoch}, after step {step}"),
        };
        Ok([Some(going_on), longer].into_iter().flatten().collect())
    }

    /// Whether the run is still the one that began: its length may be another, and where its images and weights lie.
    fn compare(&self, same_data: bool, place: &Place) -> Result<Option<String>> {
        let path = self.dir.config();
        let text = crate::files::read_text(&path).map_err(Error::io("read", &path))?;
        // Both as text reads: a number of 32 bits is another one when it is written out with 64.
        let table = |text: &str| parse_toml::<toml::Table>(text, &path.display().to_string());
        let (begun, now) = (table(&text)?, table(&self.config_text()?)?);
        let name = |table: &toml::Table| {
            let text = table.get("pretrained").and_then(|value| value.as_str()).unwrap_or_default();
            Path::new(text).file_name().map(ToOwned::to_owned)
        };
        // The weights of a run that has begun are its own.
        let same_name = name(&begun) == name(&now);
        // Another version of the program may well go on with a run.
        let free = |key: &str| match key {
            "version" | "revision" | "finetune.epochs" => true,
            "dataset" => same_data,
            "pretrained" => same_name,
            _ => false,
        };
        if let Some((key, before, now)) = first_difference(&begun, &now, free) {
            return Err(Error::ConfigChanged { path, key, before, now });
        }
        let length = |table: &toml::Table| {
            table.get("finetune").and_then(|table| table.get("epochs")).and_then(|epochs| epochs.as_integer())
        };
        let (before, epochs) = (length(&begun), self.config.epochs);
        if before == i64::try_from(epochs).ok() {
            return Ok(None);
        }
        let before = before.map_or_else(|| "nothing".into(), |epochs| epochs.to_string());
        if place.phase + 1 == PHASES && place.done > epochs {
            let before = format!("{before} and has done {}", place.done);
            return Err(Error::ConfigChanged { path, key: "finetune.epochs".into(), before, now: epochs.to_string() });
        }
        self.write_config()?;
        Ok(Some(format!("{epochs} epochs in place of {before}: from here on the learning rate is that of {epochs}")))
    }

    pub(super) fn save_state(&mut self, sgd: Option<&Sgd>) -> Result<()> {
        self.place.seconds = self.seconds();
        self.place.weighted = true;
        self.place.best = self.best.as_ref().map(|best| (best.epoch, best.loss));
        let best = self.best.as_ref().map(|best| &best.values[..]);
        state::save(&self.dir.state(), &self.named, best, sgd, &self.place)
    }

    pub(super) fn write_log(&self) -> Result<()> {
        let line = |record| serde_json::to_string(record).map(|json| json + "\n");
        let lines: Vec<String> = self
            .records
            .iter()
            .map(line)
            .collect::<serde_json::Result<_>>()
            .map_err(|error| Error::Invalid(format!("log record: {error}")))?;
        files::write(&self.dir.log(), lines.concat().as_bytes())
    }

    /// `best.safetensors`, with all that `predict` needs to know.
    pub(super) fn write_weights(&self) -> Result<()> {
        let task = &self.task;
        let Preprocessing { mean, std, .. } = task.preprocessing;
        let training = Training {
            dataset: Some(task.dataset.to_owned()),
            normalize: Some(files::json(&Normalization::Channel { mean, std })?),
            // As the trainer does: which images were held back is known wherever the weights are evaluated.
            split: task.test.train_test_split().map(files::json).transpose()?,
            recipe: Some(files::json(self.config)?),
            pretrained: Some(task.pretrained.to_owned()),
            seed: Some(self.config.seed),
            program: Some(program()),
            ..Training::default()
        };
        let tensors: Vec<(String, Tensor)> =
            self.named.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect();
        let card = ModelCard::new(task.network.config()).with_classes(task.train.classes().to_vec());
        Ok(card.with_preprocessing(task.preprocessing).with_training(training).save(self.dir.best(), &tensors)?)
    }
}
