//! Equation (8) of He et al. 2016: with factors λ on the shortcuts, what passes through them is multiplied by their
//! product, which vanishes or explodes with depth.

use candle_core::{DType, Device};
use resnet_models::{Config, Network, Parameters, ShortcutKind};
use serde::Serialize;
use serde_json::json;

use super::batch::Batch;
use super::identity::Cuts;
use super::signal::{BlockSignal, signal};
use super::vjp::norm;
use crate::{Error, Result};

/// The products are of any batch, and are taken in f64 without the fast kernels.
const PRODUCT_IMAGES: usize = 4;

/// The blocks of one stage, all with a shortcut λ x.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScalingRow {
    /// The factor on every shortcut.
    pub lambda: f64,
    /// Block l.
    pub shallow: String,
    /// Block L, the last of the stage.
    pub deep: String,
    /// Units between them.
    pub units: usize,
    /// Π λ = λ^units.
    pub predicted: f64,
    /// What the shortcuts bring: ‖∂E/∂x_l - ∂E/∂x_L · ∂/∂x_l Σ F̂(x_i, W_i)‖ / ‖∂E/∂x_L‖, where the first gradient comes
    /// by backpropagation through the whole network and the second term from the branches alone.
    pub measured: f64,
    /// ‖∂E/∂x_l‖ / ‖∂E/∂x_L‖, shortcuts and branches together.
    pub with_branches: f64,
}

/// What one factor gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// The factor on every shortcut.
    pub lambda: f64,
    /// Signal and gradient after each block, with the given weights.
    pub signals: Vec<BlockSignal>,
    /// A row a stage.
    pub rows: Vec<ScalingRow>,
}

/// The network of that configuration with `lambda` on every shortcut and 1 on every branch, and with those weights:
/// fresh ones, or a checkpoint's. They are copied.
///
/// # Errors
/// When the network has no shortcut or something after the addition (which equation (8) leaves out), a weight is
/// missing, or the batch does not fit the network.
pub fn scaling(config: &Config, weights: &Parameters, lambda: f64, batch: &Batch) -> Result<Scaling> {
    if !config.block.order.is_pre_activation() || config.block.shortcut == ShortcutKind::None {
        return Err(Error::Invalid(format!(
            "{}: equation (8) is about shortcuts with nothing after the addition: choose a pre-activation network, as \
             preact_resnet56",
            config.name
        )));
    }
    let merge = json!({ "merge": { "scaled": { "shortcut": lambda, "branch": 1.0 } } });
    let config = config.with_changes(merge.as_object().unwrap_or(&serde_json::Map::new()))?;
    let network = network(&config, weights)?;
    let signals = signal(&network, batch)?;
    let cuts = Cuts::new(&network, &batch.first(PRODUCT_IMAGES)?)?;
    let mut rows = Vec::new();
    for (first, last) in stages(&signals) {
        let Some(split) = cuts.split(first, last)? else { continue };
        let units = last - first;
        let deep = norm(&split.at_deep)?.max(f64::MIN_POSITIVE);
        rows.push(ScalingRow {
            lambda,
            shallow: signals[first].block.clone(),
            deep: signals[last].block.clone(),
            units,
            predicted: lambda.powi(units as i32),
            measured: norm(&(&split.at_shallow - &split.through_branches)?)? / deep,
            with_branches: norm(&split.at_shallow)? / deep,
        });
    }
    Ok(Scaling { lambda, signals, rows })
}

fn network(config: &Config, weights: &Parameters) -> Result<Network> {
    let parameters = Parameters::zeros(DType::F32, &Device::Cpu);
    let network = Network::new(config, parameters.builder())?;
    for (name, var) in parameters.named() {
        let Some(value) = weights.get(&name) else {
            return Err(Error::Invalid(format!("{}: the weights have no {name}", config.name)));
        };
        var.set(&value.to_dtype(DType::F32)?.copy()?)?;
    }
    Ok(network)
}

/// First and last block of every stage, where there are two or more.
fn stages(signals: &[BlockSignal]) -> Vec<(usize, usize)> {
    let stage = |i: usize| signals[i].block.rsplit_once('.').map(|(stage, _)| stage);
    let mut stages = Vec::new();
    let mut first = 0;
    for i in 1..=signals.len() {
        if i == signals.len() || stage(i) != stage(first) {
            if i - first > 1 {
                stages.push((first, i - 1));
            }
            first = i;
        }
    }
    stages
}
