//! How a data set is cut into batches.

use serde::{Deserialize, Serialize};

use super::mix::MixConfig;
use crate::{Error, Result};

/// How a data set is cut into batches.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderConfig {
    /// Images a batch.
    pub batch_size: usize,
    /// New order every epoch; otherwise the data set's own order.
    pub shuffle: bool,
    /// Decides order and augmentation.
    pub seed: u64,
    /// Leaves out a last batch that is not full.
    pub drop_last: bool,
    /// Threads; with 0 the batch is made by whoever asks for it.
    pub workers: usize,
    /// Batches made ahead, over all threads; every thread makes one ahead at least.
    pub prefetch: usize,
    /// What an image that cannot be read does.
    pub on_broken: OnBroken,
    /// Of data sets that are shuffled by runs ([`Dataset::runs`](crate::Dataset::runs)): images that are mixed with one another. What of them
    /// is kept in memory is up to the data set: tar shards keep none, parquet files two such buffers.
    pub shuffle_buffer: usize,
    /// Which of `world_size` processes this is, from 0: each reads its own part of every epoch.
    pub rank: usize,
    /// Processes that share an epoch (1).
    pub world_size: usize,
    /// How often an image comes in an epoch, each time augmented anew (repeated augmentation, Hoffer et al. 2019). An
    /// epoch is no longer for it: it has images of fewer kinds, as with timm's `RepeatAugSampler`.
    pub repeats: usize,
    /// Mixing of the images of a batch.
    pub mix: Option<MixConfig>,
}

/// What an image that cannot be read does to its epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBroken {
    /// Ends it with the error.
    #[default]
    Fail,
    /// Is left out of its batch, which names it in [`Batch::broken`](crate::Batch::broken).
    Skip,
}

impl Default for LoaderConfig {
    /// Batches of 128 in the data set's order, one thread, four batches ahead.
    fn default() -> Self {
        Self {
            batch_size: 128,
            shuffle: false,
            seed: 0,
            drop_last: false,
            workers: 1,
            prefetch: 4,
            on_broken: OnBroken::Fail,
            shuffle_buffer: 1024,
            rank: 0,
            world_size: 1,
            repeats: 1,
            mix: None,
        }
    }
}

impl LoaderConfig {
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |setting, message: String| Err(Error::Setting { setting, message });
        for (setting, value) in
            [("batch_size", self.batch_size), ("repeats", self.repeats), ("world_size", self.world_size)]
        {
            if value == 0 {
                return wrong(setting, "must be at least 1".to_string());
            }
        }
        if self.rank >= self.world_size {
            let last = self.world_size - 1;
            return wrong("rank", format!("{} is not one of the {} ranks, 0 to {last}", self.rank, self.world_size));
        }
        self.mix.as_ref().map_or(Ok(()), MixConfig::check)
    }
}
