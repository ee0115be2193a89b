//! Training loss and accuracy, read from the device without making it wait.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Sums over images.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Sums {
    loss: f64,
    correct: u64,
    images: u64,
}

impl Sums {
    fn add(&mut self, loss: f64, correct: u64, images: u64) {
        self.loss += loss * images as f64;
        self.correct += correct;
        self.images += images;
    }

    /// Mean loss an image; nothing where there are no images.
    pub fn loss(&self) -> Option<f64> {
        (self.images > 0).then(|| self.loss / self.images as f64)
    }

    /// Percent of images classified right; nothing where there are no images.
    pub fn top1(&self) -> Option<f64> {
        (self.images > 0).then(|| 100.0 * self.correct as f64 / self.images as f64)
    }
}

/// Where a loss comes from, for the message when it is not finite.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub epoch: u64,
    pub step: u64,
    pub lr: f64,
}

struct Pending {
    loss: Tensor,
    correct: Tensor,
    images: usize,
    place: Place,
}

/// Batches whose losses are left on a device before they are read, all at once: reading makes the host wait for all work
/// that was submitted, which the device then lacks for a moment.
const UNREAD: usize = 32;

/// Collects the batches' losses. On the CPU a loss is read at once; elsewhere many are read together, so that the device
/// seldom runs dry.
#[derive(Default)]
pub(super) struct Meter {
    pending: Vec<Pending>,
    /// Since the epoch's beginning.
    pub epoch: Sums,
    /// Since the last step record.
    pub interval: Sums,
    /// Of batches read since [`Meter::take_step`].
    step: Sums,
}

impl Meter {
    /// Goes on from what a checkpoint holds.
    pub(super) fn new(epoch: Sums, interval: Sums) -> Self {
        Self { epoch, interval, ..Self::default() }
    }

    /// Takes up a batch's mean loss and number of right answers.
    ///
    /// # Errors
    /// When a loss that is read by now is not finite: this batch's or, on other devices, one of the last [`UNREAD`].
    pub(super) fn push(&mut self, loss: &Tensor, correct: Tensor, images: usize, place: Place) -> Result<()> {
        self.pending.push(Pending { loss: loss.detach(), correct, images, place });
        if loss.device().is_cpu() || self.pending.len() >= UNREAD {
            return self.flush();
        }
        Ok(())
    }

    /// Reads what is not read yet.
    ///
    /// # Errors
    /// As [`Meter::push`].
    pub(super) fn flush(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(());
        }
        let losses = pending.iter().map(|p| p.loss.to_dtype(DType::F32)).collect::<candle_core::Result<Vec<_>>>()?;
        let losses = Tensor::stack(&losses, 0)?.to_vec1::<f32>()?;
        let correct: Vec<&Tensor> = pending.iter().map(|p| &p.correct).collect();
        let correct = Tensor::stack(&correct, 0)?.to_vec1::<u32>()?;
        pending.iter().zip(losses.into_iter().zip(correct)).try_for_each(|(p, (loss, c))| self.read(p, loss, c))
    }

    /// Right answers and images of the batches read since the last call.
    pub(super) fn take_step(&mut self) -> (u64, u64) {
        let step = std::mem::take(&mut self.step);
        (step.correct, step.images)
    }

    fn read(&mut self, batch: &Pending, loss: f32, correct: u32) -> Result<()> {
        let (loss, correct) = (f64::from(loss), u64::from(correct));
        let Place { epoch, step, lr } = batch.place;
        if !loss.is_finite() {
            return Err(Error::LossNotFinite { loss, epoch, step, lr });
        }
        for sums in [&mut self.epoch, &mut self.interval, &mut self.step] {
            sums.add(loss, correct, batch.images as u64);
        }
        Ok(())
    }
}
