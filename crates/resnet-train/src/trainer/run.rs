//! The training loop.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use candle_core::{Tensor, Var};
use candle_nn::ModuleT;
use resnet_data::Batch;
use resnet_models::weights;

use super::checkpoint::{self, Best, Counters};
use super::evaluate::evaluate;
use super::log::{self, Log, Record, RecordKind};
use super::meter::{Meter, Place, Sums};
use super::page;
use super::progress::{Progress, Status};
use super::rate::Rate;
use super::run_dir::{RunConfig, RunDir};
use super::session::{Session, TrainOptions};
use crate::loss::CrossEntropy;
use crate::metrics::{self, Evaluation};
use crate::optimizer::{Ema, Gradients, Sgd, first_not_finite};
use crate::{Error, Result};

/// Why a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The recipe's length is done.
    Finished,
    /// It was stopped; it can be resumed.
    Stopped,
}

/// What a training came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Why it ended.
    pub end: End,
    /// The run directory.
    pub dir: RunDir,
    /// Epochs completed.
    pub epochs: u64,
    /// Optimizer steps done.
    pub steps: u64,
    /// The evaluation after the last step; none when it was stopped.
    pub evaluation: Option<Evaluation>,
    /// The best evaluation of all.
    pub best: Option<Best>,
    /// Seconds of training in all.
    pub seconds: f64,
}

/// A training under way.
pub(super) struct Run<'a> {
    session: &'a Session,
    options: &'a TrainOptions,
    config: RunConfig,
    dir: RunDir,
    log: Log,
    named: Vec<(String, Var)>,
    trainable: Vec<(String, Var)>,
    sgd: Sgd,
    ema: Option<Ema>,
    rate: Rate,
    loss: CrossEntropy,
    meter: Meter,
    counters: Counters,
    steps: u64,
    epochs: u64,
    lr: f64,
    steps_now: u64,
    clock: Clock,
}

/// Times of this call.
struct Clock {
    began: Instant,
    /// Seconds of the calls before.
    before: f64,
    epoch_began: Instant,
    epoch_images: usize,
}

impl Clock {
    fn seconds(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    fn images_per_second(&self) -> f64 {
        self.epoch_images as f64 / self.epoch_began.elapsed().as_secs_f64().max(1e-9)
    }
}

impl<'a> Run<'a> {
    /// Makes the directory or reads its checkpoint.
    pub(super) fn open(session: &'a Session, options: &'a TrainOptions, progress: &mut dyn Progress) -> Result<Self> {
        let recipe = &session.recipe;
        let (out, name) = (options.out.as_deref(), session.name());
        let dir = if options.resume { RunDir::resume(out, &name)? } else { RunDir::create(out, &name)? };
        let config = RunConfig { run: session.info(options), recipe: recipe.clone() };
        dir.write_config(&config, options.resume)?;

        let named = session.named();
        let mut sgd = Sgd::new(&named, recipe.optimizer)?;
        let mut ema = recipe.ema.map(|ema| Ema::new(&named, ema)).transpose()?;
        let batches = session.train.batches();
        let counters = if options.resume {
            checkpoint::load(&dir.state(), &named, &mut sgd, ema.as_mut())?
        } else {
            Counters { batches_per_epoch: batches, ..Counters::default() }
        };
        if counters.batches_per_epoch != batches {
            return Err(Error::Checkpoint {
                path: dir.state(),
                message: format!(
                    "it was made with {} batches an epoch, now there are {batches}",
                    counters.batches_per_epoch
                ),
            });
        }
        let per_epoch = batches.div_ceil(recipe.accumulation) as u64;
        let steps = recipe.length().steps(per_epoch);
        let now = Instant::now();
        let mut run = Self {
            log: Log::open(&dir.log(), counters.step, counters.epoch)?,
            rate: Rate::new(recipe, per_epoch, counters.hold)?,
            loss: CrossEntropy { label_smoothing: recipe.loss.label_smoothing },
            meter: Meter::new(counters.epoch_sums, counters.interval_sums),
            trainable: sgd.parameters(),
            clock: Clock { began: now, before: counters.seconds, epoch_began: now, epoch_images: 0 },
            lr: 0.0,
            steps_now: 0,
            epochs: steps.div_ceil(per_epoch),
            session,
            options,
            config,
            dir,
            named,
            sgd,
            ema,
            counters,
            steps,
        };
        if options.resume {
            let (epoch, step) = (run.counters.epoch + 1, run.counters.step);
            progress.message(&format!("going on in {} at epoch {epoch}, after step {step}", run.dir.path().display()));
            // A crash may have come between the two files.
            run.publish(&run.dir.last())?;
        } else {
            // A run that is killed in its first epoch can be resumed as well.
            run.save()?;
        }
        Ok(run)
    }

    /// Trains until the end or until stopped.
    pub(super) fn go(&mut self, progress: &mut dyn Progress) -> Result<Outcome> {
        let mut evaluation = None;
        while self.counters.step < self.steps {
            let complete = self.train_epoch(progress)?;
            if !complete {
                self.save()?;
                return self.outcome(End::Stopped, None);
            }
            match self.end_epoch(progress)? {
                Ok(result) => evaluation = result,
                // Stopped while evaluating: the epoch is trained, its end comes when the run is resumed.
                Err(Interrupted) => {
                    self.save()?;
                    return self.outcome(End::Stopped, None);
                }
            }
            if self.stopped() && self.counters.step < self.steps {
                return self.outcome(End::Stopped, None);
            }
        }
        if evaluation.is_none() {
            // A run that was complete already.
            let Some(result) = self.evaluate(progress)? else { return self.outcome(End::Stopped, None) };
            self.write_report(Some(&result))?;
            evaluation = Some(result);
        }
        self.outcome(End::Finished, evaluation)
    }

    /// Trains on what is left of the epoch; false when stopped before its end.
    fn train_epoch(&mut self, progress: &mut dyn Progress) -> Result<bool> {
        (self.clock.epoch_began, self.clock.epoch_images) = (Instant::now(), 0);
        let batches = self.counters.batches_per_epoch;
        let mut gradients = Gradients::new();
        let mut taken = self.counters.batch;
        for batch in self.session.train.epoch(self.counters.epoch, taken) {
            self.forward_backward(&batch?, &mut gradients)?;
            taken += 1;
            if gradients.batches() < self.session.recipe.accumulation && taken < batches {
                continue;
            }
            self.step(&std::mem::take(&mut gradients))?;
            // Only whole steps count: a checkpoint never falls between two batches of one.
            self.counters.batch = taken;
            progress.step(&self.status());
            if self.counters.step == self.steps {
                break;
            }
            if self.stopped() && taken < batches {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn forward_backward(&mut self, batch: &Batch, gradients: &mut Gradients) -> Result<()> {
        let device = &self.session.device;
        let (images, labels) = (batch.images.to_device(device)?, batch.labels.to_device(device)?);
        self.lr = self.rate.at(self.counters.step);
        let logits = self.session.network.forward_t(&images, true)?;
        let loss = self.loss.forward(&logits, &labels)?;
        let place = Place { epoch: self.counters.epoch + 1, step: self.counters.step + 1, lr: self.lr };
        let count = batch.indices.len();
        self.meter.push(&loss, metrics::correct(&logits, &labels)?, count, place)?;
        gradients.add(&self.trainable, loss.backward()?, count)?;
        self.clock.epoch_images += count;
        Ok(())
    }

    fn step(&mut self, gradients: &Gradients) -> Result<()> {
        let scale = match self.session.recipe.clip_norm {
            None => gradients.scale(),
            Some(max) => {
                let (scale, norm) = gradients.clipped_scale(max)?;
                if !norm.is_finite() {
                    let (epoch, step) = (self.counters.epoch + 1, self.counters.step + 1);
                    return Err(Error::GradientNotFinite { norm, epoch, step, lr: self.lr });
                }
                scale
            }
        };
        self.sgd.step(gradients, scale, self.lr)?;
        if let Some(ema) = &mut self.ema {
            ema.update()?;
        }
        self.counters.step += 1;
        self.steps_now += 1;
        if self.rate.watches_error() {
            self.meter.flush()?;
        }
        let (correct, images) = self.meter.take_step();
        self.rate.record(self.counters.step, correct, images);
        if self.counters.step % self.options.log_every.max(1) == 0 {
            self.meter.flush()?;
            let sums = std::mem::take(&mut self.meter.interval);
            let record = self.record(RecordKind::Step, &sums, None);
            self.log.write(&record)?;
        }
        Ok(())
    }

    /// Evaluates where it is due, writes log, checkpoint and weights.
    fn end_epoch(
        &mut self,
        progress: &mut dyn Progress,
    ) -> Result<std::result::Result<Option<Evaluation>, Interrupted>> {
        self.meter.flush()?;
        let images_per_second = self.clock.images_per_second();
        let last = self.counters.step >= self.steps;
        let epoch = self.counters.epoch + 1;
        self.check_weights()?;
        let mut evaluation = None;
        if last || epoch.is_multiple_of(self.session.recipe.evaluate_every) {
            evaluation = self.evaluate(progress)?;
            let Some(result) = &evaluation else { return Ok(Err(Interrupted)) };
            let best = self.counters.best;
            if best.is_none_or(|b| result.top1 > b.top1 || (result.top1 == b.top1 && result.loss < b.loss)) {
                self.counters.best = Some(Best { epoch, top1: result.top1, loss: result.loss });
                // Before the checkpoint: after a crash between the two the epoch is done again, to the same bits.
                self.publish(&self.dir.best())?;
            }
        }
        let sums = self.meter.epoch;
        let record = Record { images_per_second, ..self.record(RecordKind::Epoch, &sums, evaluation.as_ref()) };
        self.log.write(&record)?;
        if self.counters.batch >= self.counters.batches_per_epoch {
            (self.counters.epoch, self.counters.batch) = (epoch, 0);
            self.meter.epoch = Sums::default();
        }
        self.save()?;
        progress.epoch(&record, self.epochs);
        self.write_report(evaluation.as_ref())?;
        Ok(Ok(evaluation))
    }

    /// Evaluates the weights, or their average where there is one; nothing when stopped.
    fn evaluate(&mut self, progress: &mut dyn Progress) -> Result<Option<Evaluation>> {
        if let Some(ema) = &mut self.ema {
            ema.swap()?;
        }
        let s = self.session;
        // A stop at the very end lets the run finish: only a set flag ends an evaluation, not a step limit.
        let result = evaluate(&s.network, &s.test, &s.device, Some(&self.options.stop), progress);
        if let Some(ema) = &mut self.ema {
            ema.swap()?;
        }
        result
    }

    fn stopped(&self) -> bool {
        self.options.stop.load(Ordering::Relaxed) || self.options.max_steps.is_some_and(|max| self.steps_now >= max)
    }

    fn check_weights(&self) -> Result<()> {
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
    fn save(&mut self) -> Result<()> {
        self.meter.flush()?;
        self.check_weights()?;
        self.counters.seconds = self.clock.seconds();
        self.counters.ema_updates = self.ema.as_ref().map_or(0, Ema::updates);
        self.counters.hold = self.rate.state;
        (self.counters.epoch_sums, self.counters.interval_sums) = (self.meter.epoch, self.meter.interval);
        checkpoint::save(&self.dir.state(), &self.named, &self.sgd, self.ema.as_ref(), &self.counters)?;
        self.publish(&self.dir.last())
    }

    /// Writes the weights that are evaluated, with what it takes to use them.
    fn publish(&self, path: &std::path::Path) -> Result<()> {
        let tensors: Vec<(String, Tensor)> = match &self.ema {
            Some(ema) => ema.state()?,
            None => self.named.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect(),
        };
        let json = |value: serde_json::Result<String>| value.map_err(|e| Error::Invalid(format!("metadata: {e}")));
        let metadata = BTreeMap::from([
            ("format".to_string(), "pt".to_string()),
            ("arch".into(), self.session.recipe.arch.clone()),
            ("dataset".into(), self.session.recipe.dataset.clone()),
            ("classes".into(), json(serde_json::to_string(&self.config.run.classes))?),
            ("normalize".into(), json(serde_json::to_string(&self.session.recipe.normalize))?),
            ("step".into(), self.counters.step.to_string()),
        ]);
        Ok(weights::save(path, &tensors, &metadata)?)
    }

    fn write_report(&self, evaluation: Option<&Evaluation>) -> Result<()> {
        // Between evaluations the page would lose its pictures.
        let Some(evaluation) = evaluation else { return Ok(()) };
        let parameters = self.trainable.iter().map(|(_, var)| var.elem_count()).sum();
        let records = log::read(&self.dir.log())?;
        let test = self.session.test.dataset();
        let report = page::report(&self.config, &records, parameters, Some(evaluation), &**test)?;
        Ok(report.write(&self.dir.report())?)
    }

    fn record(&self, kind: RecordKind, sums: &Sums, evaluation: Option<&Evaluation>) -> Record {
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

    fn status(&self) -> Status {
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

    fn outcome(&self, end: End, evaluation: Option<Evaluation>) -> Result<Outcome> {
        Ok(Outcome {
            end,
            dir: self.dir.clone(),
            epochs: self.counters.epoch,
            steps: self.counters.step,
            evaluation,
            best: self.counters.best,
            seconds: self.clock.seconds(),
        })
    }
}

/// The stop flag came up during an evaluation.
struct Interrupted;
