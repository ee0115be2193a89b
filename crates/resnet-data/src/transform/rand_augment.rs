//! Which operations of RandAugment an image gets, and how strong.

use rand::Rng;
use rand_distr::{Distribution, Normal};

use super::operations::Operation;
use super::resize::Filter;
use crate::Image;

/// The greatest magnitude.
const GREATEST: f64 = 10.0;
/// Kinds of operations.
const KINDS: usize = 15;

/// RandAugment's numbers, as [`Augment::RandAugment`](super::Augment::RandAugment) has them.
#[derive(Clone, Copy, Debug)]
pub(super) struct RandAugment {
    pub(super) magnitude: f64,
    pub(super) deviation: f64,
    pub(super) layers: usize,
    pub(super) probability: f64,
    pub(super) filter: Filter,
    pub(super) fill: [u8; 3],
}

impl RandAugment {
    /// Draws the operations and does them, one after the other.
    pub(super) fn apply(&self, mut image: Image, rng: &mut impl Rng) -> Image {
        for _ in 0..self.layers {
            let kind = rng.random_range(0..KINDS);
            if !rng.random_bool(self.probability) {
                continue;
            }
            let magnitude = match Normal::new(self.magnitude, self.deviation) {
                Ok(normal) => normal.sample(rng),
                Err(_) => self.magnitude,
            };
            let level = magnitude.clamp(0.0, GREATEST) / GREATEST;
            let sign = if rng.random_bool(0.5) { -1.0 } else { 1.0 };
            image = operation(kind, level, sign).apply(&image, self.filter.drawn(rng), self.fill);
        }
        image
    }
}

/// The operation of that number at a level from 0 to 1: timm's increasing set, in its order, with its ranges.
fn operation(kind: usize, level: f64, sign: f64) -> Operation {
    let factor = (1.0 + sign * level * 0.9).max(0.1) as f32;
    match kind {
        0 => Operation::AutoContrast,
        1 => Operation::Equalize,
        2 => Operation::Invert,
        3 => Operation::Rotate(sign * level * 30.0),
        4 => Operation::Posterize(4 - (level * 4.0) as u32),
        5 => Operation::Solarize(256 - (level * 256.0) as u32),
        6 => Operation::SolarizeAdd((level * 110.0) as u8),
        7 => Operation::Color(factor),
        8 => Operation::Contrast(factor),
        9 => Operation::Brightness(factor),
        10 => Operation::Sharpness(factor),
        11 => Operation::ShearX(sign * level * 0.3),
        12 => Operation::ShearY(sign * level * 0.3),
        13 => Operation::TranslateX(sign * level * 0.45),
        _ => Operation::TranslateY(sign * level * 0.45),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// timm 1.0.31, `LEVEL_TO_ARG` of `_RAND_INCREASING_TRANSFORMS` at magnitude 6.
    #[test]
    fn strengths_are_timms() {
        let all: Vec<Operation> = (0..KINDS).map(|kind| operation(kind, 0.6, 1.0)).collect();
        let want = [
            Operation::AutoContrast,
            Operation::Equalize,
            Operation::Invert,
            Operation::Rotate(18.0),
            Operation::Posterize(2),
            Operation::Solarize(103),
            Operation::SolarizeAdd(66),
            Operation::Color(1.54),
            Operation::Contrast(1.54),
            Operation::Brightness(1.54),
            Operation::Sharpness(1.54),
            Operation::ShearX(0.18),
            Operation::ShearY(0.18),
            Operation::TranslateX(0.27),
            Operation::TranslateY(0.27),
        ];
        assert_eq!(all, want);
        assert_eq!(operation(9, 1.0, -1.0), Operation::Brightness(0.1));
        assert_eq!(operation(3, 0.5, -1.0), Operation::Rotate(-15.0));
    }
}
