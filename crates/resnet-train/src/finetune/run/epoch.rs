//! One epoch: its steps, and the evaluation after them.

use std::time::Instant;

use super::{Best, CLIP_NORM, Phase, Run};
use crate::finetune::steps;
use crate::metrics;
use crate::optimizer::Gradients;
use crate::trainer::device_batch::DeviceBatch;
use crate::trainer::meter::{self, Meter};
use crate::trainer::{Progress, Record, RecordKind, Sums, evaluate};
use crate::{Error, Result};

impl Run<'_> {
    /// Trains what is left of an epoch and evaluates; true where the held-back images' loss, classes weighted as in
    /// training, is the lowest so far, `None` when stopped before its end.
    pub(super) fn epoch(&mut self, phase: &mut Phase, progress: &mut dyn Progress) -> Result<Option<bool>> {
        let (start, epoch, before) = (Instant::now(), self.place.epochs + 1, self.place.learned);
        if !self.learn(phase, epoch, progress)? {
            return Ok(None);
        }
        let images = self.place.learned;
        if images == 0 {
            return Err(Error::Invalid(format!("{}: no image could be read", self.task.dataset)));
        }
        let trained = start.elapsed().as_secs_f64().max(1e-9);
        let stop = Some(&*self.task.stop);
        let Some(result) = evaluate(self.task.network, &self.test, self.task.device, stop, progress)? else {
            return Ok(None);
        };
        // In another range than the indices of the images learned from.
        let held_back = result.broken.iter().map(|image| (usize::MAX - image.index, image.message.clone()));
        self.place.broken.extend(held_back);
        let record = Record {
            kind: RecordKind::Epoch,
            epoch,
            step: self.place.step,
            lr: self.rate(phase, self.place.step.saturating_sub(1)),
            train_loss: self.place.sums.loss(),
            train_top1: self.place.sums.top1(),
            test_loss: Some(result.loss),
            test_top1: Some(result.top1),
            test_top5: Some(result.top5),
            images_per_second: (images - before) as f64 / trained,
            seconds: self.seconds(),
        };
        progress.epoch(&record, self.config.head_epochs + self.config.epochs);
        self.records.push(record);
        self.write_log()?;
        let loss = result.weighted_loss(&self.class_weights);
        let gained = self.best.as_ref().is_none_or(|best| loss < best.loss);
        if gained {
            let values = steps::snapshot(&self.named)?;
            self.best = Some(Best { epoch, loss, values, evaluation: Some(result) });
            self.write_weights()?;
        }
        (self.place.batch, self.place.learned, self.place.sums) = (0, 0, Sums::default());
        Ok(Some(gained))
    }

    /// The rate of a step, counted from 0 over all phases.
    fn rate(&self, phase: &Phase, step: u64) -> f64 {
        let steps = phase.epochs * self.train.batches() as u64;
        steps::rate(phase.lr, step.saturating_sub(self.place.first), steps)
    }

    /// A step for each batch that is left of the epoch; false when stopped before its end.
    ///
    /// On a device other than the CPU losses are read at the end; a step waits for the gradient's norm alone. The
    /// optimizer takes the scale that follows from it as a number: were it left on the device, every parameter's gradient
    /// would be multiplied by it in a launch of its own.
    fn learn(&mut self, phase: &mut Phase, epoch: u64, progress: &mut dyn Progress) -> Result<bool> {
        let parameters = phase.sgd.parameters();
        let mut meter = Meter::new(self.task.device).going_on(self.place.sums, Sums::default());
        let batches = self.train.batches();
        let loader = self.train.clone();
        for batch in loader.epoch(epoch, self.place.batch) {
            let DeviceBatch { images, labels, broken, count, .. } = DeviceBatch::new(batch?, self.task.device)?;
            self.place.broken.extend(broken.into_iter().map(|image| (image.index, image.message)));
            self.place.batch += 1;
            if count == 0 {
                continue;
            }
            let x = match &phase.fixed {
                Some(fixed) => fixed.forward_t(&images, false)?.detach(),
                None => images,
            };
            let logits = phase.part.forward_with_fixed_norms(&x)?;
            let loss = steps::loss(&logits, &labels, &self.device_weights, self.config.label_smoothing)?;
            let lr = self.rate(phase, self.place.step);
            self.place.step += 1;
            let place = meter::StepInfo { epoch, step: self.place.step, lr };
            meter.push(&loss, metrics::correct(&logits, &labels)?, count, place)?;
            let mut gradients = Gradients::new();
            gradients.add(&parameters, resnet_ops::backward(&loss)?, count)?;
            let (scale, norm) = gradients.clipped_scale(CLIP_NORM)?;
            if !norm.is_finite() {
                return Err(meter.gradient_not_finite(norm, place));
            }
            phase.sgd.step(&gradients, scale, lr)?;
            self.guard.keep();
            self.announce(progress);
            self.place.learned += count;
            if self.stopped() && self.place.batch < batches {
                break;
            }
        }
        meter.flush()?;
        self.place.sums = meter.epoch;
        Ok(self.place.batch >= batches)
    }
}
