//! Training loss and accuracy, read from the device without making it wait.

use candle_core::{DType, Device, Tensor};
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

/// Where a loss or a gradient comes from, for the message when it is not finite.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepInfo {
    /// Counted from 1.
    pub epoch: u64,
    /// Counted from 1.
    pub step: u64,
    pub lr: f64,
}

struct Pending {
    loss: Tensor,
    correct: Tensor,
    images: usize,
    place: StepInfo,
}

/// Batches whose numbers may lie on a device unread. It bounds memory alone, two tensors of one value a batch: log and
/// epoch's end ask for the numbers sooner, as a rule.
const UNREAD: usize = 512;

/// Collects the batches' losses. On the CPU a loss is read at once. Elsewhere all are read when somebody asks for them
/// ([`Meter::flush`]): reading makes the host wait for all work that was submitted, which the device then lacks for a
/// moment.
///
/// A loss that is not finite is noticed as late. The steps since then are lost, up to the log's next record (50 steps
/// unless the user wants another number) or [`UNREAD`] batches. None of it is kept: a checkpoint is written after a flush
/// only. The error names the step that the loss is of.
#[derive(Default)]
pub(crate) struct Meter {
    /// Whether losses wait for a flush.
    deferred: bool,
    pending: Vec<Pending>,
    /// Since the epoch's beginning.
    pub epoch: Sums,
    /// Since the last step record.
    pub interval: Sums,
    /// Of batches read since [`Meter::take_step`].
    step: Sums,
}

impl Meter {
    /// Of a training on that device, from nothing.
    pub(crate) fn new(device: &Device) -> Self {
        Self { deferred: !device.is_cpu(), ..Self::default() }
    }

    /// Goes on from what a checkpoint holds.
    pub(crate) fn going_on(self, epoch: Sums, interval: Sums) -> Self {
        Self { epoch, interval, ..self }
    }

    /// Takes up a batch's mean loss and number of right answers.
    ///
    /// # Errors
    /// When a loss that is read by now is not finite: this batch's or, on other devices, one of the last [`UNREAD`].
    pub(crate) fn push(&mut self, loss: &Tensor, correct: Tensor, images: usize, place: StepInfo) -> Result<()> {
        self.pending.push(Pending { loss: loss.detach(), correct, images, place });
        if !self.deferred || self.pending.len() >= UNREAD {
            return self.flush();
        }
        Ok(())
    }

    /// Reads what is not read yet.
    ///
    /// # Errors
    /// As [`Meter::push`].
    pub(crate) fn flush(&mut self) -> Result<()> {
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

    /// The error for a gradient's norm that is not finite. A loss that was left unread and is not finite either came
    /// first, and is named instead.
    pub(crate) fn gradient_not_finite(&mut self, norm: f64, place: StepInfo) -> Error {
        let StepInfo { epoch, step, lr } = place;
        match self.flush() {
            Err(error) => error,
            Ok(()) => Error::GradientNotFinite { norm, epoch, step, lr },
        }
    }

    fn read(&mut self, batch: &Pending, loss: f32, correct: u32) -> Result<()> {
        let (loss, correct) = (f64::from(loss), u64::from(correct));
        let StepInfo { epoch, step, lr } = batch.place;
        if !loss.is_finite() {
            return Err(Error::LossNotFinite { loss, epoch, step, lr });
        }
        for sums in [&mut self.epoch, &mut self.interval, &mut self.step] {
            sums.add(loss, correct, batch.images as u64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deferred() -> Meter {
        Meter { deferred: true, ..Meter::new(&Device::Cpu) }
    }

    /// A batch of 4 images, 3 of them right, at that step of epoch 2.
    fn push(meter: &mut Meter, loss: f32, step: u64) -> Result<()> {
        let tensor = |value: f32| Tensor::new(value, &Device::Cpu).unwrap();
        let correct = tensor(3.0).to_dtype(DType::U32).unwrap();
        meter.push(&tensor(loss), correct, 4, StepInfo { epoch: 2, step, lr: 0.1 })
    }

    fn place(error: &Error) -> (u64, u64) {
        match error {
            Error::LossNotFinite { epoch, step, .. } => (*epoch, *step),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn losses_that_are_read_together_sum_to_the_bits_of_those_read_at_once() {
        let (mut now, mut later) = (Meter::new(&Device::Cpu), deferred());
        for step in 1..=50 {
            let loss = 1.0 / step as f32;
            push(&mut now, loss, step).unwrap();
            push(&mut later, loss, step).unwrap();
            assert_eq!(now.epoch.images, 4 * step);
            assert_eq!(later.epoch, Sums::default(), "nobody asked");
        }
        later.flush().unwrap();
        assert_eq!((later.epoch, later.interval), (now.epoch, now.interval));
        assert_eq!(later.epoch.top1(), Some(75.0));
        assert_eq!((later.take_step(), later.take_step()), ((150, 200), (0, 0)));
    }

    #[test]
    fn a_checkpoints_sums_are_gone_on_from() {
        let mut meter = deferred();
        push(&mut meter, 2.0, 1).unwrap();
        meter.flush().unwrap();
        let mut resumed = deferred().going_on(meter.epoch, Sums::default());
        push(&mut resumed, 4.0, 2).unwrap();
        resumed.flush().unwrap();
        assert_eq!((resumed.epoch.loss(), resumed.interval.loss()), (Some(3.0), Some(4.0)));
    }

    #[test]
    fn a_loss_that_is_not_finite_is_named_by_its_own_step_however_late_it_is_read() {
        let mut now = Meter::new(&Device::Cpu);
        push(&mut now, 1.0, 6).unwrap();
        assert_eq!(place(&push(&mut now, f32::INFINITY, 7).unwrap_err()), (2, 7));
        let mut later = deferred();
        for (step, loss) in [(6, 1.0), (7, f32::NAN), (8, f32::NAN), (9, 1.0)] {
            push(&mut later, loss, step).unwrap();
        }
        assert_eq!(place(&later.flush().unwrap_err()), (2, 7));
    }

    #[test]
    fn unread_losses_are_bounded() {
        let mut meter = deferred();
        for step in 1..=2 * UNREAD as u64 {
            push(&mut meter, 1.0, step).unwrap();
            assert!(meter.pending.len() < UNREAD);
        }
        assert_eq!(meter.epoch.images, 8 * UNREAD as u64);
    }

    #[test]
    fn an_unread_loss_is_named_before_the_gradient_that_it_spoiled() {
        let at = StepInfo { epoch: 2, step: 8, lr: 0.1 };
        let mut meter = deferred();
        push(&mut meter, f32::NAN, 7).unwrap();
        assert_eq!(place(&meter.gradient_not_finite(f64::NAN, at)), (2, 7));
        push(&mut meter, 1.0, 8).unwrap();
        let error = meter.gradient_not_finite(f64::INFINITY, at);
        assert!(matches!(error, Error::GradientNotFinite { epoch: 2, step: 8, .. }), "{error}");
    }
}
