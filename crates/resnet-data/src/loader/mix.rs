//! Batches whose images are mixed with one another.

use rand::Rng;
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Mixing of images within a batch, as timm's `Mixup` in its mode `batch`: each image with the one as far from the
/// batch's end as it is from its beginning, all in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixConfig {
    /// mixup (Zhang et al. 2017): shares are drawn from Beta(mixup, mixup); 0 for none.
    pub mixup: f64,
    /// CutMix (Yun et al. 2019): areas are drawn from Beta(cutmix, cutmix); 0 for none.
    pub cutmix: f64,
    /// How often a batch is mixed, 0 to 1.
    pub probability: f64,
    /// How often it is CutMix, where there are both.
    pub switch: f64,
}

impl Default for MixConfig {
    /// No mixing; each batch, and half of them with CutMix, once there is any.
    fn default() -> Self {
        Self { mixup: 0.0, cutmix: 0.0, probability: 1.0, switch: 0.5 }
    }
}

impl MixConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first that is out of its range.
    pub fn check(&self) -> Result<()> {
        let wrong = |setting, message: String| Err(Error::Setting { setting, message });
        for (setting, value) in [("mix.mixup", self.mixup), ("mix.cutmix", self.cutmix)] {
            if !(value >= 0.0 && value.is_finite()) {
                return wrong(setting, format!("{value} must be 0 or more"));
            }
        }
        for (setting, value) in [("mix.probability", self.probability), ("mix.switch", self.switch)] {
            if !(0.0..=1.0).contains(&value) {
                return wrong(setting, format!("{value} is not between 0 and 1"));
            }
        }
        Ok(())
    }
}

/// How one batch is mixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mix {
    /// Sums: this share of an image itself.
    Mixup(f64),
    /// A rectangle comes from the other image: rows and columns from the first to before the last.
    CutMix { rows: (usize, usize), columns: (usize, usize) },
}

impl Mix {
    /// Draws how a batch of images of (height, width) is mixed; `None` where it is not.
    pub(super) fn draw(config: &MixConfig, (height, width): (usize, usize), rng: &mut impl Rng) -> Option<Self> {
        let (mixup, cutmix) = (config.mixup > 0.0, config.cutmix > 0.0);
        if !(mixup || cutmix) || !rng.random_bool(config.probability) {
            return None;
        }
        let cut = cutmix && (!mixup || rng.random_bool(config.switch));
        let alpha = if cut { config.cutmix } else { config.mixup };
        let share: f64 = Beta::new(alpha, alpha).ok()?.sample(rng);
        if !cut {
            return Some(Self::Mixup(share));
        }
        let (down, right) = (rng.random_range(0..height.max(1)), rng.random_range(0..width.max(1)));
        Some(Self::cut(share, (height, width), (down, right)))
    }

    /// A rectangle of `1 - share` of the area around a place, less what of it lies beyond the edges.
    fn cut(share: f64, (height, width): (usize, usize), (row, column): (usize, usize)) -> Self {
        let ratio = (1.0 - share).sqrt();
        let part = |side: usize, middle: usize| {
            let cut = (side as f64 * ratio) as usize;
            (middle.saturating_sub(cut / 2), (middle + cut.div_ceil(2)).min(side))
        };
        Self::CutMix { rows: part(height, row), columns: part(width, column) }
    }

    /// The share that an image keeps of itself, and its label of the target.
    pub(super) fn share(self, (height, width): (usize, usize)) -> f64 {
        match self {
            Self::Mixup(share) => share,
            Self::CutMix { rows, columns } => {
                1.0 - ((rows.1 - rows.0) * (columns.1 - columns.0)) as f64 / (height * width) as f64
            }
        }
    }

    /// Mixes a batch, (image, channel, row, column): the first image with the last and so on.
    pub(super) fn apply(self, values: &mut [f32], images: usize, (height, width): (usize, usize)) {
        let length = 3 * height * width;
        for i in 0..images / 2 {
            let (front, back) = values.split_at_mut((images - 1 - i) * length);
            let (one, other) = (&mut front[i * length..(i + 1) * length], &mut back[..length]);
            match self {
                Self::Mixup(share) => {
                    let (own, others) = (share as f32, (1.0 - share) as f32);
                    for (a, b) in one.iter_mut().zip(other) {
                        (*a, *b) = (*a * own + *b * others, *b * own + *a * others);
                    }
                }
                Self::CutMix { rows, columns } => {
                    for line in (0..3).flat_map(|channel| (rows.0..rows.1).map(move |row| channel * height + row)) {
                        let part = line * width + columns.0..line * width + columns.1;
                        one[part.clone()].swap_with_slice(&mut other[part]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// timm 1.0.31, shares and rectangles of `timm.data.mixup.rand_bbox` with the middle given:
    ///
    /// ```python
    /// import numpy as np
    /// from timm.data import mixup
    /// for lam, h, w, cy, cx in [(0.3, 8, 10, 1, 9), (0.75, 160, 160, 80, 20), (0.0, 7, 7, 3, 3), (0.99, 5, 5, 4, 0)]:
    ///     middles = iter([cy, cx]); np.random.randint = lambda *a, **k: next(middles)
    ///     print(*mixup.cutmix_bbox_and_lam((1, 3, h, w), lam))
    /// ```
    #[test]
    fn rectangles_are_timms() {
        for (share, size, middle, rows, columns, kept) in RECTANGLES {
            let mix = Mix::cut(share, size, middle);
            assert_eq!(mix, Mix::CutMix { rows, columns }, "{share}");
            assert!((mix.share(size) - kept).abs() < 1e-12, "{share}: {}", mix.share(size));
        }
    }

    type Rectangle = (f64, (usize, usize), (usize, usize), (usize, usize), (usize, usize), f64);
    const RECTANGLES: [Rectangle; 4] = [
        (0.3, (8, 10), (1, 9), (0, 4), (5, 10), 0.75),
        (0.75, (160, 160), (80, 20), (40, 120), (0, 60), 0.8125),
        (0.0, (7, 7), (3, 3), (0, 7), (0, 7), 0.0),
        (0.99, (5, 5), (4, 0), (4, 4), (0, 0), 1.0),
    ];

    /// `x * lam + x.flip(0) * (1 - lam)`, and `x[:, :, 0:1, 1:2] = x.flip(0)[:, :, 0:1, 1:2]`, for three images of 1x2.
    #[test]
    fn images_are_mixed_with_their_mirror_in_the_batch() {
        let batch: Vec<f32> = (0..18).map(|i| i as f32).collect();
        let mut mixed = batch.clone();
        Mix::Mixup(0.75).apply(&mut mixed, 3, (1, 2));
        let want: Vec<f32> = (0..18).map(|i| 0.75 * batch[i] + 0.25 * batch[(2 - i / 6) * 6 + i % 6]).collect();
        assert_eq!(mixed, want);
        let mut cut = batch.clone();
        Mix::CutMix { rows: (0, 1), columns: (1, 2) }.apply(&mut cut, 3, (1, 2));
        let own = |i: usize| if i % 2 == 1 { batch[(2 - i / 6) * 6 + i % 6] } else { batch[i] };
        assert_eq!(cut, (0..18).map(own).collect::<Vec<_>>());
    }

    #[test]
    fn both_kinds_come_up_as_often_as_they_should() {
        let config = MixConfig { mixup: 0.1, cutmix: 1.0, probability: 0.8, ..MixConfig::default() };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut none, mut cut, mut shares) = (0, 0, 0.0);
        for _ in 0..4000 {
            match Mix::draw(&config, (16, 16), &mut rng) {
                None => none += 1,
                Some(mix) => {
                    cut += usize::from(matches!(mix, Mix::CutMix { .. }));
                    let share = mix.share((16, 16));
                    assert!((0.0..=1.0).contains(&share));
                    shares += share;
                }
            }
        }
        assert!((700..900).contains(&none) && (1500..1700).contains(&cut), "{none} {cut}");
        assert!((0.5..0.62).contains(&(shares / (4000 - none) as f64)), "cut at the edges, images keep more than half");
        assert_eq!(Mix::draw(&MixConfig::default(), (4, 4), &mut rng), None);
        assert!(MixConfig { switch: 2.0, ..config }.check().unwrap_err().to_string().contains("mix.switch"));
        assert!(MixConfig { mixup: -1.0, ..config }.check().unwrap_err().to_string().contains("mix.mixup"));
    }
}
