//! The order of an epoch, as numbers: it depends on the seed, the epoch and the rank alone.

use std::ops::Range;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::config::LoaderConfig;
use crate::Dataset;
use crate::seed::stream;

/// One image of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImageRef {
    /// Which image of the data set.
    pub(super) index: usize,
    /// Which of its repetitions in this epoch, from 0.
    pub(super) copy: usize,
}

/// Images of an epoch: of every rank as many.
pub(super) fn count(images: usize, config: &LoaderConfig) -> usize {
    match config.repeats {
        // With repetitions there are as many images as without, of fewer kinds; a remainder is left out.
        2.. => images / config.world_size,
        _ => images.div_ceil(config.world_size),
    }
}

/// The images of an epoch, in order.
///
/// With W ranks, rank R has every W-th image, or, in shards, every W-th run of images if no rank lacks more than a tenth of
/// its share by that; where they do not come out even, some come twice, as in PyTorch's `DistributedSampler`.
pub(super) fn order(dataset: &dyn Dataset, config: &LoaderConfig, epoch: u64) -> Vec<ImageRef> {
    let mut rng = ChaCha8Rng::from_seed(stream(config.seed, epoch, 0, "order"));
    let (rank, world, count) = (config.rank, config.world_size, count(dataset.len(), config));
    let runs = dataset.runs().filter(|_| config.shuffle);
    let (indices, divided) = match runs {
        Some(mut runs) => {
            runs.shuffle(&mut rng);
            // Where some rank would get far fewer images than its share, all runs are read and their images divided.
            let held = |rank: usize| runs.iter().skip(rank).step_by(world).map(Range::len).sum::<usize>();
            let divided = (0..world).map(held).min().is_some_and(|least| 10 * least >= 9 * count);
            if divided {
                runs = runs.into_iter().skip(rank).step_by(world).collect();
            }
            (in_windows(&runs, config.shuffle_buffer, &mut rng), divided)
        }
        None => {
            let mut indices: Vec<usize> = (0..dataset.len()).collect();
            if config.shuffle {
                indices.shuffle(&mut rng);
            }
            (indices, false)
        }
    };
    let (skip, step) = if divided { (0, 1) } else { (rank, world) };
    let repeated = |&index: &usize| (0..config.repeats.max(1)).map(move |copy| ImageRef { index, copy });
    indices.iter().flat_map(repeated).cycle().skip(skip).step_by(step).take(count).collect()
}

/// The images of runs, mixed within a buffer: it is filled with whole runs, emptied in random order, and filled again.
fn in_windows(runs: &[Range<usize>], buffer: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    let mut begun = 0;
    for (number, run) in runs.iter().enumerate() {
        order.extend(run.clone());
        if order.len() - begun >= buffer || number + 1 == runs.len() {
            order[begun..].shuffle(rng);
            begun = order.len();
        }
    }
    order
}

/// Images that may be wanted at about the same time: two buffers, one being emptied while the next is begun, or the
/// batches that the threads have in hand.
pub(super) fn wanted_at_once(config: &LoaderConfig, longest_run: usize) -> usize {
    let in_hand = config.batch_size * (config.workers + config.prefetch + 1);
    if config.shuffle { in_hand + 2 * (config.shuffle_buffer + longest_run) } else { in_hand }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Image, Result};

    /// 100 images in runs of 10, or without any.
    struct Runs(bool);

    impl Dataset for Runs {
        fn len(&self) -> usize {
            100
        }
        fn classes(&self) -> &[String] {
            &[]
        }
        fn label(&self, _: usize) -> u32 {
            0
        }
        fn image(&self, _: usize) -> Result<Image> {
            Ok(Image::filled(1, 1, [0; 3]))
        }
        fn runs(&self) -> Option<Vec<Range<usize>>> {
            self.0.then(|| (0..10).map(|run| run * 10..run * 10 + 10).collect())
        }
    }

    fn indices(runs: bool, config: &LoaderConfig, epoch: u64) -> Vec<usize> {
        order(&Runs(runs), config, epoch).into_iter().map(|place| place.index).collect()
    }

    fn shuffled() -> LoaderConfig {
        LoaderConfig { shuffle: true, shuffle_buffer: 25, seed: 4, ..LoaderConfig::default() }
    }

    #[test]
    fn a_buffer_holds_whole_runs_in_random_order() {
        let found = indices(true, &shuffled(), 0);
        assert_eq!(found, indices(true, &shuffled(), 0), "it repeats");
        assert_ne!(found, indices(true, &shuffled(), 1));
        let mut all = found.clone();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        // Three runs fill the buffer of 25: each window of 30 has three whole runs, mixed.
        for window in found.chunks(30) {
            let runs: std::collections::BTreeSet<usize> = window.iter().map(|index| index / 10).collect();
            assert_eq!(runs.len(), window.len() / 10);
            assert!(!window.is_sorted());
        }
        assert!(indices(true, &LoaderConfig { shuffle: false, ..shuffled() }, 0).is_sorted());
    }

    #[test]
    fn ranks_divide_the_images_and_have_equally_many() {
        for runs in [false, true] {
            for (world, each) in [(2, 50), (3, 34), (7, 15), (16, 7)] {
                for shuffle in [false, true] {
                    let part =
                        |rank| indices(runs, &LoaderConfig { rank, world_size: world, shuffle, ..shuffled() }, 3);
                    let parts: Vec<Vec<usize>> = (0..world).map(part).collect();
                    assert!(parts.iter().all(|part| part.len() == each), "{world}");
                    let mut all = parts.concat();
                    all.sort_unstable();
                    all.dedup();
                    // Runs do not always come out even: whoever has more of them leaves some out.
                    let missing = 100 - all.len();
                    let divided = runs && shuffle && world <= 10;
                    assert!(missing == 0 || (divided && missing <= 10 * world), "{runs} {world}: {missing}");
                    assert!(missing == 0 || 100 % world != 0);
                }
            }
        }
    }

    /// timm's `RepeatAugSampler`: as many images as ever, each three times in a row, of one epoch's first third.
    #[test]
    fn repetitions_stand_side_by_side() {
        let config = LoaderConfig { repeats: 3, ..shuffled() };
        let found = order(&Runs(false), &config, 0);
        let plain = indices(false, &shuffled(), 0);
        assert_eq!(found.len(), 100);
        for (place, found) in found.iter().enumerate() {
            assert_eq!(*found, ImageRef { index: plain[place / 3], copy: place % 3 });
        }
        let second = order(&Runs(false), &LoaderConfig { rank: 1, world_size: 3, ..config }, 0);
        assert!(second.iter().all(|place| place.copy == 1) && second.len() == 33, "each rank its own view of an image");
    }
}
