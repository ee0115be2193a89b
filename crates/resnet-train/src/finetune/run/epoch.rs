//! One epoch: its steps, and the evaluation after them.

use std::time::Instant;

use super::{Best, CLIP_NORM, Phase, Run};
use crate::finetune::steps;
use crate::metrics;
use crate::optimizer::Gradients;
use crate::trainer::{Progress, Record, RecordKind};
use crate::{Error, Result};

impl Run<'_> {
    /// Trains one epoch and evaluates; true where the held-back images' loss is the lowest so far.
    pub(super) fn epoch(&mut self, phase: &mut Phase, progress: &mut dyn Progress) -> Result<bool> {
        let per_epoch = self.train.batches() as u64;
        let (start, device) = (Instant::now(), self.task.device);
        let epoch = self.place.epochs + 1;
        let parameters = phase.sgd.parameters();
        let (mut sum, mut right, mut images, mut lr) = (0.0, 0, 0, 0.0);
        for batch in self.train.epoch(epoch, 0) {
            let batch = batch?;
            self.place.broken.extend(batch.broken.into_iter().map(|image| (image.index, image.message)));
            let count = batch.indices.len();
            if count == 0 {
                continue;
            }
            let (x, labels) = (batch.images.to_device(device)?, batch.labels.to_device(device)?);
            let x = match &phase.fixed {
                Some(fixed) => fixed.forward_t(&x, false)?.detach(),
                None => x,
            };
            let logits = phase.part.forward_t(&x, false)?;
            let loss = steps::loss(&logits, &labels, &self.class_weights, self.config.label_smoothing)?;
            lr = steps::rate(phase.lr, self.place.step - self.place.first, phase.epochs * per_epoch);
            let value = f64::from(loss.to_scalar::<f32>()?);
            self.place.step += 1;
            if !value.is_finite() {
                return Err(Error::LossNotFinite { loss: value, epoch, step: self.place.step, lr });
            }
            let mut gradients = Gradients::new();
            gradients.add(&parameters, resnet_ops::backward(&loss)?, count)?;
            let (scale, norm) = gradients.clipped_scale(CLIP_NORM)?;
            if !norm.is_finite() {
                return Err(Error::GradientNotFinite { norm, epoch, step: self.place.step, lr });
            }
            phase.sgd.step(&gradients, scale, lr)?;
            sum += value * count as f64;
            right += metrics::correct(&logits, &labels)?.to_scalar::<u32>()? as usize;
            images += count;
        }
        if images == 0 {
            return Err(Error::Invalid(format!("{}: no image could be read", self.task.dataset)));
        }
        let trained = start.elapsed().as_secs_f64().max(1e-9);
        let result = self.evaluate(progress)?;
        // In another range than the indices of the images learned from.
        let held_back = result.broken.iter().map(|image| (usize::MAX - image.index, image.message.clone()));
        self.place.broken.extend(held_back);
        let record = Record {
            kind: RecordKind::Epoch,
            epoch,
            step: self.place.step,
            lr,
            train_loss: Some(sum / images as f64),
            train_top1: Some(100.0 * right as f64 / images as f64),
            test_loss: Some(result.loss),
            test_top1: Some(result.top1),
            test_top5: Some(result.top5),
            images_per_second: images as f64 / trained,
            seconds: self.seconds(),
        };
        progress.epoch(&record, self.config.head_epochs + self.config.epochs);
        self.records.push(record);
        self.write_log()?;
        let gained = self.best.as_ref().is_none_or(|best| result.loss < best.loss);
        if gained {
            let (loss, values) = (result.loss, steps::snapshot(&self.named)?);
            self.best = Some(Best { epoch, loss, values, evaluation: Some(result) });
            self.write_weights()?;
        }
        Ok(gained)
    }
}
