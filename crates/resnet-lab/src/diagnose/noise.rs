//! The two noises that gradients are compared with.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Independent standard normal values.
pub fn white_noise(seed: u64, len: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.sample(StandardNormal)).collect()
}

/// Sums of white noise: a random walk.
pub fn brown_noise(seed: u64, len: usize) -> Vec<f64> {
    let mut at = 0.0;
    let step = |step: f64| {
        at += step;
        at
    };
    white_noise(seed, len).into_iter().map(step).collect()
}
