//! `state.safetensors` of a fine-tuning: all that it takes to go on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Tensor, Var};
use resnet_models::weights;
use serde::{Deserialize, Serialize};

use super::run::PHASES;
use crate::optimizer::Sgd;
use crate::trainer::{DataFingerprint, Sums, read_state};
use crate::{Error, Result};

/// The metadata key that the counters stand under.
const KEY: &str = "finetuning";

/// Where a fine-tuning stands. Order and augmentation follow from (seed, epoch, image), so that this is all.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Place {
    /// 0 while the head learns alone, then 1.
    pub phase: usize,
    /// Epochs done in the phase.
    pub done: u64,
    /// Epochs without gain up to now.
    pub without_gain: u64,
    /// Steps done before the phase.
    pub first: u64,
    /// Steps done.
    pub step: u64,
    /// Batches done of the epoch under way, images learned from in them, and their losses.
    #[serde(default)]
    pub batch: usize,
    #[serde(default)]
    pub learned: usize,
    #[serde(default)]
    pub sums: Sums,
    /// Which images the run has.
    #[serde(default)]
    pub data: Option<DataFingerprint>,
    /// Epochs done in all.
    pub epochs: u64,
    /// The best epoch, counted from 1, and the loss on the held-back images after it, classes weighted as in training.
    pub best: Option<(u64, f64)>,
    /// Whether that loss is weighted; before it was not.
    #[serde(default)]
    pub weighted: bool,
    /// Images that could not be read.
    pub broken: BTreeMap<usize, String>,
    /// Seconds of the calls before and of this one.
    pub seconds: f64,
}

impl Place {
    /// Whether the numbers fit each other, in epochs of so many batches: a damaged file shall not lead anywhere.
    fn is_possible(&self, batches: usize) -> bool {
        self.phase < PHASES
            && self.batch <= batches
            && self.done <= self.epochs
            && self.first <= self.step
            && self.seconds.is_finite()
            && self.best.is_none_or(|(epoch, _)| epoch <= self.epochs)
    }
}

/// What a state holds beside the weights, which are read into the network.
pub(super) struct State {
    pub place: Place,
    /// Values of the best epoch, in the order of the network's tensors.
    pub best: Option<Vec<Tensor>>,
    /// Velocities of the phase's optimizer.
    pub velocity: BTreeMap<String, Tensor>,
}

/// Writes a state; a file of that name stays until the new one is complete.
pub(super) fn save(
    path: &Path,
    named: &[(String, Var)],
    best: Option<&[Tensor]>,
    sgd: Option<&Sgd>,
    place: &Place,
) -> Result<()> {
    let mut tensors: Vec<(String, Tensor)> =
        named.iter().map(|(name, var)| (format!("weights/{name}"), var.as_detached_tensor())).collect();
    if let Some(best) = best {
        tensors.extend(named.iter().zip(best).map(|((name, _), value)| (format!("best/{name}"), value.clone())));
    }
    if let Some(sgd) = sgd {
        tensors.extend(sgd.state()?.into_iter().map(|(name, t)| (format!("velocity/{name}"), t)));
    }
    let json = serde_json::to_string(place).map_err(|error| Error::Invalid(format!("state: {error}")))?;
    Ok(weights::save(path, &tensors, &BTreeMap::from([(KEY.to_string(), json)]))?)
}

/// A state that was read: where the run stands, before anything is taken from it.
pub(super) struct Saved {
    path: PathBuf,
    pub place: Place,
    tensors: BTreeMap<String, Tensor>,
}

impl Saved {
    /// Reads a file of [`save`]'s.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let wrong = |message: String| Error::Checkpoint { path: path.to_owned(), message };
        let file = read_state(path)?;
        let json = file.metadata.get(KEY).ok_or_else(|| wrong("it is no state of a fine-tuning".into()))?;
        let place =
            serde_json::from_str(json).map_err(|error| wrong(format!("its metadata cannot be read: {error}")))?;
        Ok(Self { path: path.to_owned(), place, tensors: file.tensors })
    }

    /// Takes its weights into the network.
    pub(super) fn load(self, named: &[(String, Var)], batches: usize) -> Result<State> {
        let Self { path, place, mut tensors } = self;
        let wrong = |message: String| Error::Checkpoint { path: path.clone(), message };
        if !place.is_possible(batches) {
            return Err(wrong("its counters contradict each other: the file is damaged".into()));
        }
        let mut take = |part: &str| -> Result<Vec<Tensor>> {
            let own = |(name, var): &(String, Var)| match tensors.remove(&format!("{part}/{name}")) {
                Some(t) if t.shape() == var.shape() => Ok(t.to_dtype(var.dtype())?.to_device(var.device())?),
                Some(t) => {
                    let (saved, now) = (t.dims(), var.dims());
                    Err(wrong(format!("{name} has shape {saved:?} in it and {now:?} in the network")))
                }
                None => Err(wrong(format!("it has no tensor {part}/{name}: it belongs to another network"))),
            };
            named.iter().map(own).collect()
        };
        let weights = take("weights")?;
        let best = place.best.map(|_| take("best")).transpose()?;
        // Every check comes before the first change.
        super::steps::restore(named, &weights)?;
        let velocity = tensors.into_iter();
        let velocity =
            velocity.filter_map(|(name, t)| Some((name.strip_prefix("velocity/")?.to_string(), t))).collect();
        Ok(State { place, best, velocity })
    }
}
