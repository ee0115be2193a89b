//! What a run writes: checkpoint, weights, report, and the numbers for the log and the progress.

use std::path::Path;

use candle_core::Tensor;
use resnet_models::{ModelCard, Training};

use super::Run;
use crate::metrics::Evaluation;
use crate::optimizer::{Ema, first_not_finite};
use crate::trainer::log::{self, Record, RecordKind};
use crate::trainer::meter::Sums;
use crate::trainer::progress::Status;
use crate::trainer::{checkpoint, heat, page, program};
use crate::{Error, Result, files};

impl Run<'_> {
    pub(super) fn check_weights(&self) -> Result<()> {
        match first_not_finite(&self.named)? {
            None => Ok(()),
            Some(name) => Err(Error::WeightNotFinite {
                name: name.to_string(),
                epoch: self.counters.epoch + 1,
                step: self.counters.step,
            }),
        }
    }

    /// Writes the checkpoint and then the weights beside it.
    pub(super) fn save(&mut self) -> Result<()> {
        self.meter.flush()?;
        self.check_weights()?;
        self.counters.seconds = self.clock.seconds();
        self.counters.ema_updates = self.ema.as_ref().map_or(0, Ema::updates);
        self.counters.ema_statistics = self.ema.is_some();
        (self.counters.hold, self.counters.plateau) = (self.phase.rate.state, self.phase.rate.plateau);
        (self.counters.epoch_sums, self.counters.interval_sums) = (self.meter.epoch, self.meter.interval);
        let (optimizer, ema, best) = (&self.phase.optimizer, self.ema.as_ref(), self.best.as_deref());
        checkpoint::save(&self.dir.state(), &self.named, optimizer, ema, best, &self.counters)?;
        self.publish(&self.dir.last())
    }

    /// The weights that are evaluated: their average, where there is one.
    pub(super) fn evaluated_weights(&self) -> Result<Vec<(String, Tensor)>> {
        match &self.ema {
            Some(ema) => ema.state(),
            None => Ok(self.named.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect()),
        }
    }

    /// Writes the weights that are evaluated, with what it takes to use them.
    pub(super) fn publish(&self, path: &Path) -> Result<()> {
        let tensors = self.evaluated_weights()?;
        let recipe = &self.session.recipe;
        let training = Training {
            dataset: Some(recipe.dataset.clone()),
            normalize: Some(files::json(&recipe.normalize)?),
            // Who evaluates the weights later shall not take images for new that they were trained on.
            split: self.session.test.dataset().train_test_split().map(files::json).transpose()?,
            recipe: Some(files::json(&recipe.decisive())?),
            pretrained: self.config.run.pretrained.clone(),
            seed: Some(recipe.seed),
            // The best weights are written before the epoch is counted.
            epoch: Some(self.counters.epoch + u64::from(self.counters.batch >= self.counters.batches_per_epoch)),
            step: Some(self.counters.step),
            program: Some(program()),
        };
        let card = ModelCard::new(self.session.network.config()).with_classes(self.config.run.classes.clone());
        let card = match self.pictures {
            Some(pictures) => card.with_preprocessing(pictures),
            None => card,
        };
        Ok(card.with_training(training).save(path, &tensors)?)
    }

    /// Writes `report.html`; the last time with what takes longer.
    pub(super) fn write_report(&self, evaluation: Option<&Evaluation>, last: bool) -> Result<()> {
        // Between evaluations the page would lose its pictures.
        let Some(evaluation) = evaluation else { return Ok(()) };
        let parameters = self.session.parameters.trainable().iter().map(|(_, var)| var.elem_count()).sum();
        let records = log::read(&self.dir.log())?;
        let test = self.session.test.dataset();
        let mut report = page::report(&self.config, &records, parameters, evaluation, self.counters.best, &**test)?;
        if let (true, Some(pictures), Some(_)) = (last, &self.pictures, &self.config.run.pretrained) {
            report.heat = heat::pictures(&self.session.network, &self.session.test, &self.session.device, pictures)?;
        }
        Ok(report.write(&self.dir.report())?)
    }

    pub(super) fn record(&self, kind: RecordKind, sums: &Sums, evaluation: Option<&Evaluation>) -> Record {
        Record {
            kind,
            epoch: self.counters.epoch + 1,
            step: self.counters.step,
            lr: self.lr,
            train_loss: sums.loss(),
            train_top1: sums.top1(),
            test_loss: evaluation.map(|e| e.loss),
            test_top1: evaluation.map(|e| e.top1),
            test_top5: evaluation.map(|e| e.top5),
            images_per_second: self.clock.images_per_second(),
            seconds: self.clock.seconds(),
        }
    }

    pub(super) fn status(&self) -> Status {
        Status {
            epoch: self.counters.epoch + 1,
            epochs: self.epochs,
            step: self.counters.step,
            steps: self.steps,
            loss: self.meter.epoch.loss(),
            top1: self.meter.epoch.top1(),
            lr: self.lr,
            images_per_second: self.clock.images_per_second(),
        }
    }
}
