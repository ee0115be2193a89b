//! What a fine-tuning writes, and reads again when it is resumed.

use std::collections::BTreeMap;

use candle_core::Tensor;
use resnet_models::weights;

use super::{Best, Run};
use crate::finetune::{Written, state, steps};
use crate::optimizer::Sgd;
use crate::recipe::{Normalization, first_difference, parse_toml};
use crate::trainer::{Silent, evaluate, read_log, revision};
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

    /// Reads the state of a run that was cut.
    pub(super) fn take_up(&mut self) -> Result<()> {
        let path = self.dir.config();
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        // Both as text reads: a number of 32 bits is another one when it is written out with 64.
        let table = |text: &str| parse_toml::<toml::Table>(text, &path.display().to_string());
        let (begun, now) = (table(&text)?, table(&self.config_text()?)?);
        // Another version of the program may well go on with a run.
        let free = |key: &str| matches!(key, "version" | "revision");
        if let Some((key, before, now)) = first_difference(&begun, &now, free) {
            return Err(Error::ConfigChanged { path, key, before, now });
        }
        let found = state::load(&self.dir.state(), &self.named)?;
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
        self.before = found.place.seconds;
        self.velocity = Some(found.velocity);
        self.place = found.place;
        Ok(())
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
        let json = |value: serde_json::Result<String>| value.map_err(|e| Error::Invalid(format!("metadata: {e}")));
        let p = self.task.preprocessing;
        let normalize = Normalization::Channel { mean: p.mean, std: p.std };
        let mut metadata = BTreeMap::from([
            ("format".to_string(), "pt".to_string()),
            ("arch".into(), self.task.network.config().name.clone()),
            ("config".into(), json(serde_json::to_string(self.task.network.config()))?),
            ("dataset".into(), self.task.dataset.to_owned()),
            ("classes".into(), json(serde_json::to_string(self.task.train.classes()))?),
            ("normalize".into(), json(serde_json::to_string(&normalize))?),
            ("preprocessing".into(), json(serde_json::to_string(&p))?),
            ("pretrained".into(), self.task.pretrained.to_owned()),
        ]);
        // As the trainer does: which images were held back is known wherever the weights are evaluated.
        if let Some(division) = self.task.test.division() {
            metadata.insert("division".into(), json(serde_json::to_string(division))?);
        }
        let tensors: Vec<(String, Tensor)> =
            self.named.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect();
        Ok(weights::save(self.dir.best(), &tensors, &metadata)?)
    }
}
