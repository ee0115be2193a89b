//! One epoch: its steps, and what comes after the last.

use std::time::Instant;

use candle_nn::ModuleT;
use resnet_data::BrokenImage;

use super::Run;
use crate::metrics::{self, Evaluation};
use crate::optimizer::Gradients;
use crate::trainer::batch_of_one;
use crate::trainer::checkpoint::Best;
use crate::trainer::device_batch::DeviceBatch;
use crate::trainer::evaluate::evaluate;
use crate::trainer::log::{Record, RecordKind};
use crate::trainer::meter::{StepInfo, Sums};
use crate::trainer::progress::Progress;
use crate::{Error, Result};

/// The stop flag came up during an evaluation.
pub(super) struct Interrupted;

impl Run<'_> {
    /// Trains on what is left of the epoch; false when stopped before its end.
    pub(super) fn train_epoch(&mut self, progress: &mut dyn Progress) -> Result<bool> {
        if self.counters.step >= self.steps {
            // Stopped after the last step, before the evaluation.
            return Ok(true);
        }
        (self.clock.epoch_began, self.clock.epoch_images) = (Instant::now(), 0);
        let batches = self.counters.batches_per_epoch;
        let mut gradients = Gradients::new();
        let mut taken = self.counters.batch;
        let (session, mut waiting) = (self.session, 0);
        let (whole, mut images, mut lost) = (taken == 0, 0, None);
        for batch in session.batches(self.counters.epoch, taken) {
            let batch = batch?;
            self.report_broken(&batch.broken, progress);
            images += batch.count;
            lost = lost.or(batch.broken.first().map(|broken| broken.message.clone()));
            let broken = batch.broken.len();
            for part in batch.parts(session.recipe.norm_batch_size)?.into_iter().filter(|part| part.count > 0) {
                if part.count == 1 && batch_of_one::is_too_few(session.network.graph(), &part.images)? {
                    self.report_alone(taken + 1, broken, progress);
                } else {
                    self.forward_backward(&part, &mut gradients)?;
                }
            }
            taken += 1;
            waiting += 1;
            if waiting < self.session.recipe.accumulation && taken < batches {
                continue;
            }
            waiting = 0;
            self.step(&std::mem::take(&mut gradients))?;
            self.announce(progress);
            // Only whole steps count: a checkpoint never falls between two batches of one.
            self.counters.batch = taken;
            progress.step(&self.status());
            if self.counters.step == self.steps || (self.stopped() && taken < batches) {
                break;
            }
        }
        // A few broken images are left out; a data set that cannot be read at all must not pass for training.
        if let (true, 0, Some(message)) = (whole, images, lost) {
            return Err(Error::Invalid(format!("no image of the epoch could be read: {message}")));
        }
        Ok(taken == batches || self.counters.step == self.steps)
    }

    /// Says once of each image that it was left out.
    fn report_broken(&mut self, broken: &[BrokenImage], progress: &mut dyn Progress) {
        if !broken.is_empty() {
            self.announce(progress);
        }
        for BrokenImage { index, message } in broken {
            if self.counters.broken.insert(*index, message.clone()).is_none() {
                progress.message(&format!("left out: {message}"));
            }
        }
    }

    /// Says once that an image without others is passed over.
    fn report_alone(&mut self, batch: usize, broken: usize, progress: &mut dyn Progress) {
        if !std::mem::replace(&mut self.said_alone, true) {
            self.announce(progress);
            progress.message(&format!(
                "1 image of batch {batch}, of which {broken} could not be read, would be by itself, too few for the \
                 norms' statistics: it is passed over, as are others like it"
            ));
        }
    }

    fn forward_backward(&mut self, batch: &DeviceBatch, gradients: &mut Gradients) -> Result<()> {
        let DeviceBatch { images, labels, mixed, count, .. } = batch;
        self.lr = self.rate.at(self.counters.step);
        // Dropout repeats from the seed and the place in training alone, so that a resumed run draws the same masks.
        let recipe = &self.session.recipe;
        let passes = (recipe.accumulation * recipe.passes_per_batch()) as u64;
        let pass = self.counters.step * passes + gradients.batches() as u64;
        self.session.network.dropout_rng().set(self.session.recipe.seed, pass);
        let logits = self.session.network.forward_t(images, true)?;
        let loss = self.session.recipe.loss.of(&logits, labels, mixed.as_ref())?;
        let (count, place) = (*count, self.place());
        self.meter.push(&loss, metrics::correct(&logits, labels)?, count, place)?;
        gradients.add(&self.trainable, resnet_ops::backward(&loss)?, count)?;
        self.guard.keep();
        self.clock.epoch_images += count;
        Ok(())
    }

    /// The step under way.
    fn place(&self) -> StepInfo {
        StepInfo { epoch: self.counters.epoch + 1, step: self.counters.step + 1, lr: self.lr }
    }

    fn step(&mut self, gradients: &Gradients) -> Result<()> {
        self.lr = self.rate.at(self.counters.step);
        let scale = match self.session.recipe.clip_norm {
            None => gradients.scale(),
            Some(max) => {
                let (scale, norm) = gradients.clipped_scale(max)?;
                if !norm.is_finite() {
                    return Err(self.meter.gradient_not_finite(norm, self.place()));
                }
                scale
            }
        };
        self.optimizer.step(gradients, scale, self.lr)?;
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
        if self.counters.step.is_multiple_of(self.options.log_every.max(1)) {
            self.meter.flush()?;
            let sums = std::mem::take(&mut self.meter.interval);
            let record = self.record(RecordKind::Step, &sums, None);
            self.log.write(&record)?;
        }
        Ok(())
    }

    /// Evaluates where it is due, writes log, checkpoint and weights.
    pub(super) fn end_epoch(
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
            self.rate.observe(100.0 - result.top1);
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
        self.counters.ended_at = self.counters.step;
        self.save()?;
        progress.epoch(&record, self.epochs);
        self.write_report(evaluation.as_ref())?;
        Ok(Ok(evaluation))
    }

    /// Evaluates the weights, or their average where there is one; nothing when stopped.
    pub(super) fn evaluate(&mut self, progress: &mut dyn Progress) -> Result<Option<Evaluation>> {
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
}
