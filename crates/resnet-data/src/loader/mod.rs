//! Batches, made ahead of time on threads of their own.

mod config;
mod epoch;
mod frames;
mod mix;
mod order;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::seed::stream;
use crate::{Dataset, Error, Result, Transform};
pub use config::{LoaderConfig, OnBroken};
pub use epoch::Epoch;
pub use frames::{Frame, Frames};
use mix::Mix;
pub use mix::MixConfig;
use order::ImageRef;

/// An image that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenImage {
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
    pub broken: Vec<BrokenImage>,
    /// What the images were mixed with, if they were.
    pub mixed: Option<Mixed>,
}

/// What the images of a batch were mixed with.
#[derive(Clone, Debug)]
pub struct Mixed {
    /// u32 (N,): labels of the images mixed in.
    pub labels: Tensor,
    /// The share that each image kept of itself; the labels above have the rest.
    pub share: f64,
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
    /// [`Error::Setting`] where a number of the configuration cannot work or no batch would come out.
    pub fn new(dataset: Arc<dyn Dataset>, transform: Transform, config: LoaderConfig) -> Result<Self> {
        config.check()?;
        let images = dataset.len();
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
            true => self.images() / self.config.batch_size,
            false => self.images().div_ceil(self.config.batch_size),
        }
    }

    /// Images an epoch: the data set's, or this rank's part of them, less those that `drop_last` leaves out.
    pub fn samples(&self) -> usize {
        self.images().min(self.batches() * self.config.batch_size)
    }

    fn images(&self) -> usize {
        order::count(self.dataset.len(), &self.config)
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
        let longest_run = self.dataset.runs().into_iter().flatten().map(|run| run.len()).max();
        self.dataset.expect(order::wanted_at_once(&self.config, longest_run.unwrap_or(0)));
        let source = Source {
            dataset: Arc::clone(&self.dataset),
            transform: self.transform.clone(),
            order: order::order(&*self.dataset, &self.config, epoch),
            batch_size: self.config.batch_size,
            batches: self.batches(),
            seed: self.config.seed,
            on_broken: self.config.on_broken,
            mix: self.config.mix,
            epoch,
        };
        Epoch::new(source, first_batch, self.config.workers, self.config.prefetch)
    }
}

/// What is needed to make any batch of one epoch.
struct Source {
    dataset: Arc<dyn Dataset>,
    transform: Transform,
    order: Vec<ImageRef>,
    batch_size: usize,
    batches: usize,
    seed: u64,
    on_broken: OnBroken,
    mix: Option<MixConfig>,
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
        for &ImageRef { index, copy } in wanted {
            if stop() {
                return Ok(None);
            }
            let origin = || self.dataset.origin(index);
            let purpose = if copy == 0 { "augment".to_string() } else { format!("again{copy}") };
            let mut rng = ChaCha8Rng::from_seed(stream(self.seed, self.epoch, index as u64, &purpose));
            let view = match self.dataset.image(index).and_then(|image| self.transform.view(image, &origin, &mut rng)) {
                Ok(view) => view,
                Err(error) if self.on_broken == OnBroken::Skip && error.is_about_an_image() => {
                    broken.push(BrokenImage { index, message: error.to_string() });
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
        let mut rng = ChaCha8Rng::from_seed(stream(self.seed, self.epoch, number as u64, "mix"));
        let mix = self.mix.and_then(|mix| Mix::draw(&mix, (height, width), &mut rng));
        let mixed = match mix {
            Some(mix) if !indices.is_empty() => {
                mix.apply(&mut values, indices.len(), (height, width));
                let others = labels.iter().rev().copied().collect();
                let labels = Tensor::from_vec(others, indices.len(), &Device::Cpu)?;
                Some(Mixed { labels, share: mix.share((height, width)) })
            }
            _ => None,
        };
        Ok(Some(Batch {
            images: Tensor::from_vec(values, (indices.len(), 3, height, width), &Device::Cpu)?,
            labels: Tensor::from_vec(labels, indices.len(), &Device::Cpu)?,
            indices,
            broken,
            mixed,
        }))
    }
}
