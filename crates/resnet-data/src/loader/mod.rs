//! Batches, made ahead of time on threads of their own.

mod epoch;
mod frames;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::seed::stream;
use crate::{Dataset, Error, Result, Transform};
pub use epoch::Epoch;
pub use frames::{Frame, Frames};

/// How a data set is cut into batches.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

/// What an image that cannot be read does to its epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBroken {
    /// Ends it with the error.
    #[default]
    Fail,
    /// Is left out of its batch, which names it in [`Batch::broken`].
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
        }
    }
}

/// An image that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which image of the data set.
    pub index: usize,
    /// What is wrong with it; names its file.
    pub message: String,
}

/// A batch on the CPU.
#[derive(Clone, Debug)]
pub struct Batch {
    /// f32 (N, 3, H, W), normalised.
    pub images: Tensor,
    /// u32 (N,).
    pub labels: Tensor,
    /// Which images of the data set these are.
    pub indices: Vec<usize>,
    /// Images that belong here and could not be read; where all of them are, the batch is empty.
    pub broken: Vec<Broken>,
}

/// Cuts a data set into batches, epoch after epoch.
///
/// What a batch holds depends on the seed, the epoch and the batch's number alone: not on the number of threads, nor
/// on their timing, nor on the batches asked for before.
///
/// ```
/// use std::sync::Arc;
/// use resnet_data::{Loader, LoaderConfig, Normalize, Split, Transform, shapes};
/// let set = Arc::new(shapes(Split::Train, 20, 0));
/// let transform = Transform::crop_and_flip(32, Normalize::channel([0.5; 3], [0.25; 3]))?;
/// let config = LoaderConfig { batch_size: 8, shuffle: true, ..LoaderConfig::default() };
/// let loader = Loader::new(set, transform, config)?;
/// let sizes: Vec<_> = loader.epoch(0, 0).map(|batch| batch.map(|batch| batch.indices.len())).collect::<Result<_, _>>()?;
/// assert_eq!(sizes, [8, 8, 4]);
/// # Ok::<(), resnet_data::Error>(())
/// ```
#[derive(Clone)]
pub struct Loader {
    dataset: Arc<dyn Dataset>,
    transform: Transform,
    config: LoaderConfig,
}

impl Loader {
    /// Joins a data set, a transform and a configuration.
    ///
    /// # Errors
    /// [`Error::Setting`] where the batch size is 0 or no batch would come out.
    pub fn new(dataset: Arc<dyn Dataset>, transform: Transform, config: LoaderConfig) -> Result<Self> {
        let images = dataset.len();
        if config.batch_size == 0 {
            return Err(Error::Setting { setting: "batch_size", message: "must be at least 1".to_string() });
        }
        let loader = Self { dataset, transform, config };
        if loader.batches() == 0 {
            let batch = loader.config.batch_size;
            let message = format!("{images} images make no batch of {batch}: use a smaller batch or more images");
            return Err(Error::Setting { setting: "batch_size", message });
        }
        Ok(loader)
    }

    /// Batches an epoch.
    pub fn batches(&self) -> usize {
        match self.config.drop_last {
            true => self.dataset.len() / self.config.batch_size,
            false => self.dataset.len().div_ceil(self.config.batch_size),
        }
    }

    /// Images an epoch: the data set's, less those that `drop_last` leaves out.
    pub fn samples(&self) -> usize {
        self.dataset.len().min(self.batches() * self.config.batch_size)
    }

    /// The data set.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.dataset
    }

    /// The transform.
    pub fn transform(&self) -> &Transform {
        &self.transform
    }

    /// The configuration.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// The batches of an epoch, from batch number `first_batch` on; none where that is the epoch's end or beyond.
    ///
    /// Threads start at once and stop when the iterator is dropped. After an error the iterator ends.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Epoch {
        let source = Source {
            dataset: Arc::clone(&self.dataset),
            transform: self.transform.clone(),
            order: self.order(epoch),
            batch_size: self.config.batch_size,
            batches: self.batches(),
            seed: self.config.seed,
            on_broken: self.config.on_broken,
            epoch,
        };
        Epoch::new(source, first_batch, self.config.workers, self.config.prefetch)
    }

    /// The images of an epoch in order.
    fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.dataset.len()).collect();
        if self.config.shuffle {
            order.shuffle(&mut ChaCha8Rng::from_seed(stream(self.config.seed, epoch, 0, "order")));
        }
        order
    }
}

/// What is needed to make any batch of one epoch.
struct Source {
    dataset: Arc<dyn Dataset>,
    transform: Transform,
    order: Vec<usize>,
    batch_size: usize,
    batches: usize,
    seed: u64,
    on_broken: OnBroken,
    epoch: u64,
}

impl Source {
    /// Makes a batch; `None` where `stop` says so before it is done.
    fn batch(&self, number: usize, stop: &dyn Fn() -> bool) -> Result<Option<Batch>> {
        let start = number * self.batch_size;
        let wanted = &self.order[start..self.order.len().min(start + self.batch_size)];
        let mut indices = Vec::with_capacity(wanted.len());
        let mut broken = Vec::new();
        let mut values = Vec::new();
        let mut size = None;
        for &index in wanted {
            if stop() {
                return Ok(None);
            }
            let origin = || self.dataset.origin(index);
            let mut rng = ChaCha8Rng::from_seed(stream(self.seed, self.epoch, index as u64, "augment"));
            let view = match self.dataset.image(index).and_then(|image| self.transform.view(image, &origin, &mut rng)) {
                Ok(view) => view,
                Err(error) if self.on_broken == OnBroken::Skip && error.is_about_an_image() => {
                    broken.push(Broken { index, message: error.to_string() });
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (height, width) = *size.get_or_insert_with(|| view.size());
            if view.size() != (height, width) {
                return Err(Error::ImageSize {
                    path: origin(),
                    height: view.size().0,
                    width: view.size().1,
                    expected_height: height,
                    expected_width: width,
                    hint: "a batch holds images of one size: add a step that resizes or crops",
                });
            }
            let length = 3 * height * width;
            if values.is_empty() {
                values.resize(wanted.len() * length, 0.0);
            }
            let place = indices.len();
            self.transform.write(&view, &origin, &mut values[place * length..(place + 1) * length])?;
            indices.push(index);
        }
        let (height, width) = size.unwrap_or_default();
        values.truncate(indices.len() * 3 * height * width);
        let labels: Vec<u32> = indices.iter().map(|&index| self.dataset.label(index)).collect();
        Ok(Some(Batch {
            images: Tensor::from_vec(values, (indices.len(), 3, height, width), &Device::Cpu)?,
            labels: Tensor::from_vec(labels, indices.len(), &Device::Cpu)?,
            indices,
            broken,
        }))
    }
}
