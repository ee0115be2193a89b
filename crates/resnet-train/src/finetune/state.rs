//! `state.safetensors` of a fine-tuning: all that it takes to go on after the last whole epoch.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Tensor, Var};
use resnet_models::weights::{self, LoadOptions};
use serde::{Deserialize, Serialize};

use crate::optimizer::Sgd;
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

/// Reads a state, its weights into the network.
pub(super) fn load(path: &Path, named: &[(String, Var)]) -> Result<State> {
    let wrong = |message: String| Error::Checkpoint { path: path.to_owned(), message };
    let mut file = weights::load_with(path, &LoadOptions { keep_names: true, ..LoadOptions::default() })?;
    let json = file.metadata.get(KEY).ok_or_else(|| wrong("it is no state of a fine-tuning".into()))?;
    let place: Place =
        serde_json::from_str(json).map_err(|error| wrong(format!("its metadata cannot be read: {error}")))?;
    let mut take = |part: &str| -> Result<Vec<Tensor>> {
        let own = |(name, var): &(String, Var)| match file.tensors.remove(&format!("{part}/{name}")) {
            Some(t) if t.shape() == var.shape() => Ok(t.to_dtype(var.dtype())?.to_device(var.device())?),
            Some(t) => Err(wrong(format!("{name} has shape {:?} in it and {:?} in the network", t.dims(), var.dims()))),
            None => Err(wrong(format!("it has no tensor {part}/{name}: it belongs to another network"))),
        };
        named.iter().map(own).collect()
    };
    let weights = take("weights")?;
    let best = place.best.map(|_| take("best")).transpose()?;
    // Every check comes before the first change.
    super::steps::restore(named, &weights)?;
    let velocity = file.tensors.into_iter();
    let velocity = velocity.filter_map(|(name, t)| Some((name.strip_prefix("velocity/")?.to_string(), t))).collect();
    Ok(State { place, best, velocity })
}
