//! What an evaluation counts: loss, top-1 and top-5, who is taken for whom, and the worst errors.

use std::cmp::Ordering;

use candle_core::{DType, Tensor};
use resnet_data::BrokenImage;
use serde::Serialize;

use crate::{Error, Result};

/// How many worst errors an evaluation keeps.
pub const WORST_ERRORS: usize = 32;

/// An image that the network got wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WrongImage {
    /// The image's index in its data set.
    pub index: usize,
    /// Its true class.
    pub label: u32,
    /// The class it was taken for.
    pub predicted: u32,
    /// Cross-entropy, without label smoothing.
    pub loss: f64,
    /// Softmax probability of the true class, 0 to 1.
    pub label_probability: f64,
    /// Softmax probability of the predicted class, 0 to 1.
    pub predicted_probability: f64,
}

/// The result of evaluating a network on a set of labelled images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Images seen.
    pub images: usize,
    /// Images whose greatest logit is their label's.
    pub correct: usize,
    /// `correct` in percent.
    pub top1: f64,
    /// Images whose label is among the five greatest logits, in percent.
    pub top5: f64,
    /// Mean cross-entropy, without label smoothing.
    pub loss: f64,
    /// Images evaluated in a second, loading included.
    pub images_per_second: f64,
    /// Images of class `label` taken for class `predicted`, at `label * classes + predicted`.
    #[serde(skip)]
    pub confusion: Vec<u64>,
    /// Cross-entropy of all images of each class, without label smoothing.
    #[serde(skip)]
    pub class_loss: Vec<f64>,
    /// The errors of greatest loss, worst first, at most [`WORST_ERRORS`].
    #[serde(skip)]
    pub worst: Vec<WrongImage>,
    /// Images that could not be read, where the loader leaves them out; not counted.
    #[serde(skip)]
    pub broken: Vec<BrokenImage>,
}

impl Evaluation {
    /// The mean cross-entropy with the images weighted by their classes' weights, as PyTorch's `CrossEntropyLoss(weight)`
    /// of the whole set at once.
    pub fn weighted_loss(&self, weights: &[f32]) -> f64 {
        let classes = self.class_loss.len();
        let (mut loss, mut total) = (0.0, 0.0);
        for (label, (own, &weight)) in self.class_loss.iter().zip(weights).enumerate() {
            let images: u64 = self.confusion[label * classes..(label + 1) * classes].iter().sum();
            loss += f64::from(weight) * own;
            total += f64::from(weight) * images as f64;
        }
        loss / total
    }
}

/// Counts batches into an [`Evaluation`].
#[derive(Debug, Clone)]
pub struct Counter {
    classes: usize,
    images: usize,
    correct: usize,
    correct5: usize,
    loss: f64,
    confusion: Vec<u64>,
    class_loss: Vec<f64>,
    worst: Vec<WrongImage>,
    broken: Vec<BrokenImage>,
}

impl Counter {
    /// Counts nothing yet, over this many classes.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            images: 0,
            correct: 0,
            correct5: 0,
            loss: 0.0,
            confusion: vec![0; classes * classes],
            class_loss: vec![0.0; classes],
            worst: Vec::new(),
            broken: Vec::new(),
        }
    }

    /// Takes up images that could not be read.
    pub fn add_broken(&mut self, broken: Vec<BrokenImage>) {
        self.broken.extend(broken);
    }

    /// Counts a batch: logits (N, classes), labels (N,), and the images' indices in their data set.
    ///
    /// # Errors
    /// When shapes do not fit, a label is not below the number of classes, or a logit is infinite or not a number.
    pub fn add(&mut self, logits: &Tensor, labels: &Tensor, indices: &[usize]) -> Result<()> {
        let logits = logits.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        let labels = labels.to_dtype(DType::U32)?.to_vec1::<u32>()?;
        if logits.len() != labels.len() || logits.len() != indices.len() {
            return Err(Error::Invalid(format!(
                "{} rows of logits for {} labels and {} indices",
                logits.len(),
                labels.len(),
                indices.len()
            )));
        }
        for ((row, &label), &index) in logits.iter().zip(&labels).zip(indices) {
            if row.len() != self.classes || label as usize >= self.classes {
                return Err(Error::Invalid(format!(
                    "image {index} has label {label} and {} logits, the data set has {} classes",
                    row.len(),
                    self.classes
                )));
            }
            self.add_one(row, label, index)?;
        }
        // Kept short as it grows, not sorted for every image.
        self.worst.sort_by(worse_first);
        self.worst.truncate(WORST_ERRORS);
        Ok(())
    }

    fn add_one(&mut self, row: &[f32], label: u32, index: usize) -> Result<()> {
        if row.iter().any(|x| !x.is_finite()) {
            return Err(Error::LogitsNotFinite { index });
        }
        let rank = rank(row, label as usize);
        let predicted = argmax(row);
        let max = row[predicted];
        let sum: f64 = row.iter().map(|&x| f64::from(x - max).exp()).sum();
        let loss = sum.ln() - f64::from(row[label as usize] - max);
        self.images += 1;
        self.correct += usize::from(rank == 0);
        self.correct5 += usize::from(rank < 5);
        self.loss += loss;
        self.confusion[label as usize * self.classes + predicted] += 1;
        self.class_loss[label as usize] += loss;
        if rank != 0 {
            self.worst.push(WrongImage {
                index,
                label,
                predicted: predicted as u32,
                loss,
                label_probability: (-loss).exp(),
                predicted_probability: 1.0 / sum,
            });
        }
        Ok(())
    }

    /// The result, after `seconds` of work.
    ///
    /// # Errors
    /// When nothing was counted.
    pub fn finish(self, seconds: f64) -> Result<Evaluation> {
        if let (0, Some(first)) = (self.images, self.broken.first()) {
            let message = &first.message;
            return Err(Error::Invalid(format!(
                "none of {} images could be read; the first: {message}",
                self.broken.len()
            )));
        }
        if self.images == 0 {
            return Err(Error::Invalid("there are no images to evaluate".into()));
        }
        let n = self.images as f64;
        Ok(Evaluation {
            images: self.images,
            correct: self.correct,
            top1: 100.0 * self.correct as f64 / n,
            top5: 100.0 * self.correct5 as f64 / n,
            loss: self.loss / n,
            images_per_second: n / seconds.max(1e-9),
            confusion: self.confusion,
            class_loss: self.class_loss,
            worst: self.worst,
            broken: self.broken,
        })
    }
}

fn worse_first(a: &WrongImage, b: &WrongImage) -> Ordering {
    b.loss.total_cmp(&a.loss).then(a.index.cmp(&b.index))
}

/// The index of the greatest value, the first where several are equal.
fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, x) in row.iter().enumerate() {
        if *x > row[best] {
            best = i;
        }
    }
    best
}

/// How many classes come before the label's; of equal ones the first comes first, so that rank 0 is [`argmax`].
fn rank(row: &[f32], label: usize) -> usize {
    let own = row[label];
    row.iter().enumerate().filter(|&(i, x)| *x > own || (*x == own && i < label)).count()
}

/// How many rows of the logits (N, classes) have their greatest value at the label, as a scalar tensor of u32 on
/// the logits' device.
pub fn correct(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let predicted = logits.detach().argmax(candle_core::D::Minus1)?;
    Ok(predicted.eq(&labels.to_dtype(predicted.dtype())?)?.to_dtype(DType::U32)?.sum_all()?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn tensors(rows: &[[f32; 6]], labels: &[u32]) -> (Tensor, Tensor) {
        (
            Tensor::from_slice(rows.as_flattened(), (rows.len(), 6), &Device::Cpu).unwrap(),
            Tensor::new(labels, &Device::Cpu).unwrap(),
        )
    }

    #[test]
    fn counts_ranks_and_confusions() {
        let rows = [[0., 1., 2., 3., 4., 5.], [0., 1., 2., 3., 4., 5.], [0., 1., 2., 3., 4., 5.], [1.; 6]];
        let (logits, labels) = tensors(&rows, &[5, 1, 0, 0]);
        assert_eq!(correct(&logits, &labels).unwrap().to_scalar::<u32>().unwrap(), 2);
        let mut counter = Counter::new(6);
        counter.add(&logits, &labels, &[10, 11, 12, 13]).unwrap();
        let result = counter.finish(2.0).unwrap();
        assert_eq!((result.images, result.correct), (4, 2));
        assert_eq!((result.top1, result.top5, result.images_per_second), (50.0, 75.0, 2.0));
        let log_sum: f64 = (0..6).map(|i| f64::from(i).exp()).sum::<f64>().ln();
        let want = ((log_sum - 5.0) + (log_sum - 1.0) + log_sum + 6f64.ln()) / 4.0;
        assert!((result.loss - want).abs() < 1e-6);
        assert_eq!(result.confusion.iter().sum::<u64>(), 4);
        assert_eq!(result.confusion[5], 1);
        assert_eq!(result.worst.iter().map(|w| w.index).collect::<Vec<_>>(), [12, 11]);
        assert_eq!((result.worst[0].label, result.worst[0].predicted), (0, 5));
        assert!((result.worst[0].label_probability - (-log_sum).exp()).abs() < 1e-9);
        assert!((result.worst[0].predicted_probability - (5.0 - log_sum).exp()).abs() < 1e-9);
    }

    #[test]
    fn logits_that_are_not_finite_are_an_error_not_a_hit() {
        let (logits, labels) = tensors(&[[f32::NAN; 6]], &[0]);
        let message = Counter::new(6).add(&logits, &labels, &[7]).unwrap_err().to_string();
        assert!(message.contains("image 7"), "{message}");
    }

    #[test]
    fn only_the_worst_are_kept() {
        let mut counter = Counter::new(6);
        for i in 0..100 {
            let (logits, labels) = tensors(&[[0., i as f32, 0., 0., 0., 0.]], &[5]);
            counter.add(&logits, &labels, &[i]).unwrap();
        }
        let result = counter.finish(1.0).unwrap();
        assert_eq!(result.worst.len(), WORST_ERRORS);
        assert_eq!(result.worst[0].index, 99);
    }

    #[test]
    fn labels_past_the_classes_are_refused() {
        let (logits, labels) = tensors(&[[0.; 6]], &[6]);
        let message = Counter::new(6).add(&logits, &labels, &[3]).unwrap_err().to_string();
        assert!(message.contains("label 6") && message.contains("image 3"), "{message}");
    }
}
