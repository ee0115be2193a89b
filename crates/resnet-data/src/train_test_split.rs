//! Which images of a folder without splits are for training, and which for validation.

use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::seed::stream;

/// The rule by which the images of a folder without `train` and `val` are split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SplitRule {
    /// Every fifth image of a class, its second first. A class of one image has it in the training part.
    EveryFifth,
    /// A share of each class, drawn by a seed: one image at least where the class has two or more.
    Share {
        /// Decides which.
        seed: u64,
        /// The share, 0 to 1.
        share: f64,
    },
}

/// How the images of a folder were split: the rule, and what tells the images that it took for validation.
///
/// Kept beside weights, it says later whether the same rule still takes the same images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainTestSplit {
    /// The rule.
    pub rule: SplitRule,
    /// A fingerprint (FNV-1a of 64 bits) of the paths of the validation images within the folder.
    #[serde(rename = "held_back")]
    pub test_fingerprint: u64,
}

impl SplitRule {
    /// For each image, given by its class, whether it is for validation.
    pub(crate) fn mask(self, labels: &[u32], classes: usize) -> Vec<bool> {
        match self {
            Self::EveryFifth => {
                let mut seen = vec![0_usize; classes];
                let is_test = |&label: &u32| {
                    let place = &mut seen[label as usize];
                    *place += 1;
                    *place % 5 == 2
                };
                labels.iter().map(is_test).collect()
            }
            Self::Share { seed, share } => {
                let mut is_test = vec![false; labels.len()];
                for class in 0..classes {
                    let mut own: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] as usize == class).collect();
                    own.shuffle(&mut ChaCha8Rng::from_seed(stream(seed, class as u64, 0, "split")));
                    let most = own.len().saturating_sub(1);
                    let count = ((own.len() as f64 * share).round() as usize).max(1).min(most);
                    own[..count].iter().for_each(|&i| is_test[i] = true);
                }
                is_test
            }
        }
    }
}

/// FNV-1a over paths: the same for a folder wherever it lies, whatever separates its parts there.
pub(crate) fn fingerprint<'a>(paths: impl Iterator<Item = &'a Path>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for path in paths {
        for part in path.components() {
            part.as_os_str().to_string_lossy().bytes().for_each(&mut take);
            take(b'/');
        }
        take(b'\n');
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_tell_paths_apart() {
        let of = |paths: &[&str]| fingerprint(paths.iter().map(Path::new));
        assert_eq!(of(&["a/1.png", "b/2.png"]), of(&["a//1.png", "b/./2.png"]));
        for other in [&["a/1.png"][..], &["b/2.png", "a/1.png"], &["a/1.pngb", "2.png"], &["a/1.png", "b/3.png"]] {
            assert_ne!(of(&["a/1.png", "b/2.png"]), of(other), "{other:?}");
        }
        // It is kept in files: another program, or another version, must find the same.
        assert_eq!(of(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(of(&["a"]), 0xe621_1b19_0469_64e9);
    }
}
