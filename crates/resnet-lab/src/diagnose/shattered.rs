//! Shattered gradients: plain networks against residual ones, by depth.

use serde::Serialize;

use super::autocorrelation::autocorrelation;
use super::noise::{brown_noise, white_noise};
use super::scalar::{ScalarNetwork, Skip};
use crate::{Error, Result};

/// What is measured. The defaults are those of Balduzzi et al. 2017, figures 1 and 3: 200 neurons a layer, 256 inputs
/// evenly from -2 to 2, means over 20 initialisations.
#[derive(Clone, Debug, PartialEq)]
pub struct ShatteredConfig {
    /// Hidden layers of the networks.
    pub depths: Vec<usize>,
    /// Neurons a hidden layer.
    pub width: usize,
    /// Inputs on the grid.
    pub points: usize,
    /// The greatest lag.
    pub lags: usize,
    /// Initialisations that the autocorrelation is averaged over.
    pub runs: usize,
    /// β of the residual networks, x + β W ρ(BN(x)); all depths are measured with each.
    pub betas: Vec<f64>,
    /// Decides the initialisations.
    pub seed: u64,
}

impl Default for ShatteredConfig {
    fn default() -> Self {
        Self {
            depths: vec![2, 4, 10, 24, 50],
            width: 200,
            points: 256,
            lags: 15,
            runs: 20,
            betas: vec![1.0, 0.1],
            seed: 0,
        }
    }
}

/// One kind of network, or one kind of noise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shattered {
    /// `plain`, `residual`, `white noise` or `brown noise`.
    pub kind: &'static str,
    /// β of a residual network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// Hidden layers; 0 of noise.
    pub depth: usize,
    /// Mean autocorrelation of dy/dx at lags from 0 on.
    pub autocorrelation: Vec<f64>,
    /// dy/dx of the first initialisation at every input, divided by its root mean square.
    pub example: Vec<f64>,
}

impl Shattered {
    /// The kind, with β where there is one: `residual, β = 0.1`.
    pub fn name(&self) -> String {
        self.beta.map_or_else(|| self.kind.to_string(), |beta| format!("{}, β = {beta}", self.kind))
    }
}

/// The mean autocorrelation of every network and of both noises. `done` is told after each of them.
///
/// # Errors
/// When a number of the configuration is 0 or there are not more points than lags.
pub fn shattered(config: &ShatteredConfig, done: &mut dyn FnMut(usize, usize)) -> Result<Vec<Shattered>> {
    if config.depths.is_empty() || config.runs == 0 || config.points <= config.lags.max(1) {
        return Err(Error::Invalid("shattered gradients: give a depth, a run, and more points than lags".into()));
    }
    let step = 4.0 / (config.points - 1) as f32;
    let grid: Vec<f32> = (0..config.points).map(|i| -2.0 + step * i as f32).collect();
    let betas = config.betas.iter().map(|&beta| ("residual", Some(beta)));
    let kinds: Vec<_> = std::iter::once(("plain", None)).chain(betas).collect();
    let total = kinds.len() * config.depths.len();
    let mut all = Vec::with_capacity(total + 2);
    for (kind, beta) in kinds {
        let skip = beta.map_or(Skip::None, Skip::Scaled);
        for &depth in &config.depths {
            let series = |seed| ScalarNetwork::new(depth, config.width, skip, seed)?.gradients(&grid);
            let (autocorrelation, example) = measure(config, series)?;
            all.push(Shattered { kind, beta, depth, autocorrelation, example });
            done(all.len(), total);
        }
    }
    let noise = |kind, series: fn(u64, usize) -> Vec<f64>| -> Result<Shattered> {
        let (autocorrelation, example) = measure(config, |seed| Ok(series(seed, config.points)))?;
        Ok(Shattered { kind, beta: None, depth: 0, autocorrelation, example })
    };
    all.extend([noise("white noise", white_noise)?, noise("brown noise", brown_noise)?]);
    Ok(all)
}

/// The mean autocorrelation over all runs, and the first run's series divided by its root mean square.
fn measure(config: &ShatteredConfig, series: impl Fn(u64) -> Result<Vec<f64>>) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut mean = vec![0.0; config.lags + 1];
    let mut example = Vec::new();
    for run in 0..config.runs {
        let gradients = series(config.seed.wrapping_add(run as u64))?;
        for (sum, r) in mean.iter_mut().zip(autocorrelation(&gradients, config.lags)) {
            *sum += r / config.runs as f64;
        }
        if run == 0 {
            let size = (gradients.iter().map(|g| g * g).sum::<f64>() / gradients.len() as f64).sqrt();
            example = gradients.iter().map(|g| if size > 0.0 { g / size } else { 0.0 }).collect();
        }
    }
    Ok((mean, example))
}
