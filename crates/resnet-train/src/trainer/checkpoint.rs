//! `state.safetensors`: weights, velocities, averages and counters in one file, so that no crash can part them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Tensor, Var};
use resnet_models::weights::{self, Checkpoint, LoadOptions, WeightsError};
use serde::{Deserialize, Serialize};

use super::data_fingerprint::DataFingerprint;
use super::lr_scheduler::HoldState;
use super::meter::Sums;
use crate::optimizer::{Ema, Optimizer};
use crate::schedule::PlateauState;
use crate::{Error, Result};

/// Tensors by name.
pub(super) type Named = Vec<(String, Tensor)>;

/// The metadata key that the counters stand under.
const KEY: &str = "training";

/// The best evaluation so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Test images classified right, in percent.
    pub top1: f64,
    /// Mean cross-entropy on the test set, classes weighted as in training.
    pub loss: f64,
}

/// Where a training stands. Together with the recipe's seed this is all the state of the random generators too: each
/// order and augmentation is drawn from (seed, epoch, image) alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Epochs completed, evaluation included.
    pub epoch: u64,
    /// The phase under way, counted from 0.
    #[serde(default)]
    pub phase: usize,
    /// Optimizer steps done before the phase.
    #[serde(default)]
    pub phase_begin: u64,
    /// Evaluations of the phase since its best one, or its beginning.
    #[serde(default)]
    pub without_gain: u64,
    /// Batches of the current epoch already trained on.
    pub batch: usize,
    /// Optimizer steps done.
    pub step: u64,
    /// The step after which an epoch was last ended: evaluated where due, and logged.
    pub ended_at: u64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Updates of the average of the weights.
    pub ema_updates: u64,
    /// Whether the average is one of running statistics too; before it was one of weights alone, with the statistics of
    /// the last step.
    #[serde(default)]
    pub ema_statistics: bool,
    /// Batches of an epoch: resuming on another set or batch size would lose the place.
    pub batches_per_epoch: usize,
    /// The best evaluation.
    pub best: Option<Best>,
    /// The low rate that training began with.
    pub hold: HoldState,
    /// What the test error has done to the rate.
    #[serde(default)]
    pub plateau: PlateauState,
    /// Which images the run has.
    #[serde(default)]
    pub data: Option<DataFingerprint>,
    /// Images that could not be read, and what is wrong with each.
    #[serde(default)]
    pub broken: BTreeMap<usize, String>,
    /// Loss and accuracy since the epoch began.
    pub epoch_sums: Sums,
    /// Loss and accuracy since the last record of the log.
    pub interval_sums: Sums,
}

impl Counters {
    /// Whether the numbers fit each other, in epochs of so many steps: a damaged file shall not lead anywhere.
    fn is_possible(&self, accumulation: usize) -> bool {
        let steps = |batches: usize| batches.div_ceil(accumulation.max(1)) as u64;
        let before = self.epoch.checked_mul(steps(self.batches_per_epoch));
        let step = before.and_then(|before| before.checked_add(steps(self.batch)));
        self.batch <= self.batches_per_epoch
            && step == Some(self.step)
            && self.ended_at <= self.step
            && self.phase_begin <= self.step
            && self.seconds.is_finite()
            && self.best.is_none_or(|best| best.epoch <= self.epoch.saturating_add(1))
    }
}

/// Writes a checkpoint; a file of that name stays until the new one is complete.
pub(super) fn save(
    path: &Path,
    named: &[(String, Var)],
    optimizer: &Optimizer,
    ema: Option<&Ema>,
    best: Option<&[(String, Tensor)]>,
    counters: &Counters,
) -> Result<()> {
    let mut tensors: Vec<(String, Tensor)> =
        named.iter().map(|(name, var)| (format!("weights/{name}"), var.as_detached_tensor())).collect();
    tensors.extend(optimizer.state()?);
    if let Some(ema) = ema {
        tensors.extend(ema.state()?.into_iter().map(|(name, t)| (format!("ema/{name}"), t)));
    }
    tensors.extend(best.unwrap_or_default().iter().map(|(name, t)| (format!("best/{name}"), t.clone())));
    let json = serde_json::to_string(counters).map_err(|error| Error::Invalid(format!("checkpoint: {error}")))?;
    Ok(weights::save(path, &tensors, &BTreeMap::from([(KEY.to_string(), json)]))?)
}

/// The tensors and the metadata of a run's state, whose own file it is: there is nothing to fetch again.
pub(crate) fn read_state(path: &Path) -> Result<Checkpoint> {
    let options = LoadOptions { keep_names: true, ..LoadOptions::default() };
    weights::load_with(path, &options).map_err(|error| {
        let reason = match error {
            WeightsError::Damaged { reason, .. } | WeightsError::Unsupported { reason, .. } => reason,
            WeightsError::UnknownFormat { found, .. } => found.split("; fetch").next().unwrap_or_default().to_string(),
            other => return other.into(),
        };
        let message = format!("it is damaged: {reason}; the run cannot go on: begin another, in another folder");
        Error::Checkpoint { path: path.to_owned(), message }
    })
}

/// A checkpoint that was read: what it says of the run, before anything is taken from it.
pub(super) struct Saved {
    path: PathBuf,
    pub counters: Counters,
    tensors: BTreeMap<String, Tensor>,
}

impl Saved {
    /// Reads a file of [`save`]'s.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let wrong = |message: String| Error::Checkpoint { path: path.to_owned(), message };
        let file = read_state(path)?;
        if file.metadata.contains_key("finetuning") {
            return Err(wrong(Error::OLD_FINETUNING.into()));
        }
        let json =
            file.metadata.get(KEY).ok_or_else(|| wrong(format!("its metadata has no {KEY:?}: not a run's state")))?;
        let counters =
            serde_json::from_str(json).map_err(|error| wrong(format!("its metadata cannot be read: {error}")))?;
        Ok(Self { path: path.to_owned(), counters, tensors: file.tensors })
    }

    /// Takes it into the network, the optimizer and the average.
    pub(super) fn load(
        self,
        accumulation: usize,
        named: &[(String, Var)],
        optimizer: &mut Optimizer,
        ema: Option<&mut Ema>,
    ) -> Result<(Counters, Option<Named>)> {
        let Self { path, counters, tensors } = self;
        let wrong = |message: String| Error::Checkpoint { path: path.clone(), message };
        if !counters.is_possible(accumulation) {
            return Err(wrong("its counters contradict each other: the file is damaged".into()));
        }
        let mut parts: BTreeMap<&str, BTreeMap<String, Tensor>> = BTreeMap::new();
        for (name, tensor) in tensors {
            // The optimizer's own are told apart by itself.
            let known = ["velocity", "moment1", "moment2", "weights", "ema", "best"];
            let part = known.into_iter().find(|p| name.starts_with(&format!("{p}/")));
            let part = part.ok_or_else(|| wrong(format!("tensor {name} belongs to no part of a run's state")))?;
            match part {
                "weights" | "ema" | "best" => {
                    parts.entry(part).or_default().insert(name[part.len() + 1..].to_string(), tensor)
                }
                _ => parts.entry("optimizer").or_default().insert(name, tensor),
            };
        }
        let mut take = |part| parts.remove(part).unwrap_or_default();
        let weights = take("weights");
        let mut best = take("best");
        // Every check comes before the first change.
        for part in [Some(&weights), Some(&best).filter(|best| !best.is_empty())].into_iter().flatten() {
            for (name, var) in named {
                match part.get(name) {
                    Some(t) if t.shape() == var.shape() => {}
                    Some(t) => {
                        let (saved, now) = (t.dims(), var.dims());
                        return Err(wrong(format!("{name} has shape {saved:?} in it and {now:?} in the network")));
                    }
                    None => return Err(wrong(format!("it has no weight {name}: it belongs to another network"))),
                }
            }
        }
        if let Some(name) = weights.keys().find(|name| !named.iter().any(|(n, _)| n == *name)) {
            return Err(wrong(format!(
                "it has a weight {name} that the network has not: it belongs to another network"
            )));
        }
        for (name, var) in named {
            var.set(&weights[name].to_dtype(var.dtype())?.to_device(var.device())?)?;
        }
        optimizer.load_state(take("optimizer"), counters.step - counters.phase_begin)?;
        if let Some(ema) = ema {
            ema.load_state(&take("ema"), counters.ema_updates)?;
        }
        let best = named.iter().filter_map(|(name, _)| Some((name.clone(), best.remove(name)?))).collect::<Vec<_>>();
        Ok((counters, Some(best).filter(|best| !best.is_empty())))
    }
}
