//! The random numbers of dropout: a function of seed, step, operation and position, with no other state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Result;

/// Where the dropout operations of a [`Graph`](crate::Graph) take their numbers from; clones share it.
///
/// A pass in training takes the current step and counts on. The masks of step n depend on the seed and on n alone, so
/// that a run which sets both goes on exactly where another one stopped.
///
/// ```
/// let rng = resnet_ops::DropoutRng::default();
/// rng.set(7, 1000); // seed 7, and the next pass is number 1000
/// assert_eq!(rng.step(), 1000);
/// ```
#[derive(Debug, Clone, Default)]
pub struct DropoutRng(Arc<State>);

#[derive(Debug, Default)]
struct State {
    seed: AtomicU64,
    step: AtomicU64,
}

impl DropoutRng {
    /// Sets the seed and the number of the next pass.
    pub fn set(&self, seed: u64, step: u64) {
        self.0.seed.store(seed, Ordering::Relaxed);
        self.0.step.store(step, Ordering::Relaxed);
    }

    /// The number of the next pass in training.
    pub fn step(&self) -> u64 {
        self.0.step.load(Ordering::Relaxed)
    }

    /// The numbers of the next pass.
    pub(crate) fn next(&self) -> Draw {
        let (seed, step) = (self.0.seed.load(Ordering::Relaxed), self.0.step.fetch_add(1, Ordering::Relaxed));
        Draw { key: mix(mix(seed) ^ step), offset: 0 }
    }
}

/// The random numbers of one pass.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Draw {
    key: u64,
    /// Added to the index of a node: its position in the graph that the node was cut from.
    offset: usize,
}

impl Draw {
    /// The numbers for a part of a graph that begins at node `offset`: its nodes draw what they draw in the whole.
    pub(crate) fn shifted(self, offset: usize) -> Self {
        Self { offset: self.offset + offset, ..self }
    }

    /// What the node of that index drops at that rate.
    ///
    /// # Errors
    /// If the rate is not in [0, 1).
    pub(crate) fn mask(self, node: usize, rate: f64) -> Result<Mask> {
        check_rate(rate)?;
        let threshold = (rate * RANGE).round() as u64;
        Ok(Mask { key: mix(self.key ^ mix((node + self.offset) as u64)), threshold, scale: (1. / (1. - rate)) as f32 })
    }
}

/// # Errors
/// If the rate is not in [0, 1).
pub(crate) fn check_rate(rate: f64) -> Result<()> {
    if !(0. ..1.).contains(&rate) {
        bail!("dropout: rate = {rate} is not in [0, 1)");
    }
    Ok(())
}

/// Random numbers have 24 bits.
const RANGE: f64 = 16_777_216.;

/// What is dropped, by position: 0, or 1 / (1 − rate).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mask {
    key: u64,
    threshold: u64,
    scale: f32,
}

impl Mask {
    /// The factor at a position.
    #[inline(always)]
    pub(crate) fn factor(self, position: usize) -> f32 {
        let drawn = mix(self.key.wrapping_add((position as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))) >> 40;
        if drawn < self.threshold { 0. } else { self.scale }
    }
}

/// SplitMix64's finaliser (Steele et al. 2014).
#[inline(always)]
fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_depend_on_seed_step_and_node_only() -> Result<()> {
        let factors = |seed, step, node| -> Result<Vec<f32>> {
            let rng = DropoutRng::default();
            rng.set(seed, step);
            let mask = rng.next().mask(node, 0.5)?;
            Ok((0..64).map(|i| mask.factor(i)).collect())
        };
        assert_eq!(factors(1, 2, 3)?, factors(1, 2, 3)?);
        for other in [factors(2, 2, 3)?, factors(1, 3, 3)?, factors(1, 2, 4)?] {
            assert_ne!(factors(1, 2, 3)?, other);
        }
        Ok(())
    }

    #[test]
    fn the_share_that_is_dropped_is_the_rate() -> Result<()> {
        for rate in [0., 0.1, 0.5, 0.9] {
            let mask = Draw::default().mask(5, rate)?;
            let dropped = (0..100_000).filter(|&i| mask.factor(i) == 0.).count() as f64 / 1e5;
            // Five standard deviations of a binomial share of 100,000.
            assert!((dropped - rate).abs() < 5. * (rate * (1. - rate) / 1e5).sqrt() + 1e-9, "{rate}: {dropped}");
        }
        assert!(Draw::default().mask(5, 1.).is_err());
        Ok(())
    }
}
