//! A recipe, two data sets and a device, put together.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::{DType, Device, Tensor, Var};
use resnet_data::{Dataset, Loader, LoaderConfig, OnBroken, Transform};
use resnet_models::{Network, Parameters, Preprocessing};

use super::batch_of_one;
use super::device_batch::DeviceBatch;
use super::evaluate::evaluate;
use super::preprocessing::with_pictures;
use super::progress::Progress;
use super::run::{Outcome, Run};
use super::run_dir::RunInfo;
use crate::metrics::Evaluation;
use crate::recipe::{Compute, Recipe};
use crate::stack::with_large_stack;
use crate::{Error, Result};

/// How [`Session::train`] runs: nothing here changes the weights' bits.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    /// The run directory; without one `runs/ARCH-DATASET` with a number.
    pub out: Option<PathBuf>,
    /// Goes on with the run in the directory.
    pub resume: bool,
    /// Once true, the step under way is finished, a checkpoint written, and training ends.
    pub stop: Arc<AtomicBool>,
    /// Ends as if stopped after so many steps of this call: for jobs of limited time.
    pub max_steps: Option<u64>,
    /// Steps from one record of the log to the next.
    pub log_every: u64,
    /// Where the data set lies, for `config.toml`.
    pub data_dir: Option<String>,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self { out: None, resume: false, stop: Arc::default(), max_steps: None, log_every: 50, data_dir: None }
    }
}

/// How images are read for a [`Session`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loading {
    /// Threads for each of both sets.
    pub workers: usize,
    /// What an image that cannot be read does.
    pub on_broken: OnBroken,
    /// Which of `world_size` processes this is: it trains on its part of every epoch. Each evaluates on all images.
    pub rank: usize,
    /// Processes that share an epoch.
    pub world_size: usize,
    /// Of shards: images that are mixed with one another.
    pub shuffle_buffer: usize,
}

impl Default for Loading {
    /// One process and one thread; a broken image ends the training.
    fn default() -> Self {
        let LoaderConfig { workers, on_broken, rank, world_size, shuffle_buffer, .. } = LoaderConfig::default();
        Self { workers, on_broken, rank, world_size, shuffle_buffer }
    }
}

/// A network to begin from in place of random weights.
pub struct Pretrained {
    /// The network, with a head for the data set's classes.
    pub network: Network,
    /// Its parameters.
    pub parameters: Parameters,
    /// Where its weights come from, for the report and the run's files.
    pub name: String,
    /// The pictures that it takes.
    pub preprocessing: Preprocessing,
}

/// The classes' weights, as numbers and where the loss is taken.
pub(super) struct WeightedClasses {
    pub values: Vec<f32>,
    pub tensor: Tensor,
}

/// A network with everything it takes to train it.
pub struct Session {
    pub(super) recipe: Recipe,
    pub(super) network: Network,
    pub(super) parameters: Parameters,
    pub(super) train: Loader,
    pub(super) test: Loader,
    pub(super) device: Device,
    loading: Loading,
    /// Where the weights come from and the pictures that they take, of a pretrained network.
    pretrained: Option<String>,
    pub(super) pictures: Option<Preprocessing>,
    pub(super) class_weights: Option<WeightedClasses>,
    /// Images of an epoch of which the last would be a batch of its own, which is passed over.
    last_alone: Option<usize>,
    device_dataset: Option<super::device_dataset::DeviceDataset>,
}

impl Session {
    /// Makes the recipe's network with fresh weights, and loaders over both sets with so many threads each.
    ///
    /// # Errors
    /// When the recipe's network is unknown, its batch does not fit the training set, or an image cannot be read.
    pub fn new(
        recipe: Recipe,
        train: Arc<dyn Dataset>,
        test: Arc<dyn Dataset>,
        device: &Device,
        workers: usize,
    ) -> Result<Self> {
        Self::with_loading(recipe, train, test, device, Loading { workers, ..Loading::default() })
    }

    /// As [`Session::new`], with all that can be said about the reading of images.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn with_loading(
        recipe: Recipe,
        train: Arc<dyn Dataset>,
        test: Arc<dyn Dataset>,
        device: &Device,
        loading: Loading,
    ) -> Result<Self> {
        Self::open(recipe, None, train, test, device, loading)
    }

    /// As [`Session::with_loading`], from a pretrained network: what the recipe says of the network, of normalisation and of
    /// the evaluation's transform gives way to the network's own, and the sizes of crops are those of its pictures.
    ///
    /// # Errors
    /// As [`Session::new`]; when the network's head is not for the data set's classes.
    pub fn pretrained(
        recipe: Recipe,
        pretrained: Pretrained,
        train: Arc<dyn Dataset>,
        test: Arc<dyn Dataset>,
        device: &Device,
        loading: Loading,
    ) -> Result<Self> {
        let recipe = Recipe { arch: pretrained.network.config().name.clone(), network: Default::default(), ..recipe };
        Self::open(with_pictures(recipe, &pretrained.preprocessing)?, Some(pretrained), train, test, device, loading)
    }

    fn open(
        mut recipe: Recipe,
        pretrained: Option<Pretrained>,
        train: Arc<dyn Dataset>,
        test: Arc<dyn Dataset>,
        device: &Device,
        loading: Loading,
    ) -> Result<Self> {
        recipe.check()?;
        if train.classes() != test.classes() {
            return Err(Error::Invalid(other_classes(train.classes(), test.classes())));
        }
        recipe.normalize = recipe.normalize.measured(&*train, loading.on_broken)?;
        let normalize = recipe.normalize.resolve(&*train)?;
        let classes = train.classes().len();
        let (name, pictures) = pretrained.as_ref().map(|own| (own.name.clone(), own.preprocessing)).unzip();
        let (mut network, parameters) = match pretrained {
            Some(own) => (own.network, own.parameters),
            None => {
                let parameters = Parameters::new(recipe.seed, DType::F32, device);
                let (changes, builder) = (&recipe.network, parameters.builder());
                (resnet_models::create_changed(&recipe.arch, changes, builder, Some(classes))?, parameters)
            }
        };
        let head = network.config().classes;
        if head != classes {
            let data = &recipe.dataset;
            return Err(Error::Invalid(format!("{data} has {classes} classes, and the network a head for {head}")));
        }
        if recipe.dtype == Compute::Bf16 {
            network = network.with_compute_dtype(DType::BF16);
        }
        if recipe.recompute && !device.is_cpu() {
            return Err(Error::Invalid("activations are computed again (recompute) on the CPU only".into()));
        }
        if recipe.recompute {
            network = network.with_recomputation(0);
        }
        let config = LoaderConfig {
            batch_size: recipe.batch_size,
            shuffle: true,
            seed: recipe.seed,
            drop_last: recipe.drop_last,
            workers: loading.workers,
            on_broken: loading.on_broken,
            shuffle_buffer: loading.shuffle_buffer,
            ..LoaderConfig::default()
        };
        let transform = Transform::new(recipe.augment.clone(), normalize.clone())?;
        let (rank, world_size) = (loading.rank, loading.world_size);
        let own = LoaderConfig { rank, world_size, repeats: recipe.repeats, mix: recipe.mix, ..config.clone() };
        let mut train = Loader::new(train, transform.clone(), own.clone())?;
        let mut last_alone = None;
        let trains_norms = recipe.phases().iter().any(|(phase, _)| !phase.freeze_norms);
        if trains_norms && batch_of_one::is_last(network.graph(), &train)? {
            last_alone = Some(train.samples());
            train = Loader::new(train.dataset().clone(), transform, LoaderConfig { drop_last: true, ..own })?;
        }
        let labels = (0..train.dataset().len()).map(|index| train.dataset().label(index));
        let class_weights = match recipe.loss.class_weights.of(labels, classes) {
            Some(values) => {
                let tensor = Tensor::from_slice(&values, classes, device)?;
                Some(WeightedClasses { values, tensor })
            }
            None => None,
        };
        let transform = Transform::new(recipe.test_transform.clone(), normalize)?;
        let test = Loader::new(test, transform, LoaderConfig { shuffle: false, drop_last: false, ..config })?;
        Ok(Self {
            device_dataset: super::device_dataset::DeviceDataset::new(&train, device, recipe.dtype.dtype())?,
            pretrained: name,
            pictures,
            class_weights,
            recipe,
            network,
            parameters,
            train,
            test,
            device: device.clone(),
            loading,
            last_alone,
        })
    }

    /// The training set's batches of an epoch from number `first` on, on the device.
    pub(super) fn batches(&self, epoch: u64, first: usize) -> Box<dyn Iterator<Item = Result<DeviceBatch>> + '_> {
        if let Some(device_dataset) = &self.device_dataset {
            return Box::new(device_dataset.epoch(&self.train, epoch, first));
        }
        Box::new(self.train.epoch(epoch, first).map(|batch| DeviceBatch::new(batch?, &self.device)))
    }

    /// The recipe, with the normalisation as measured on the training set.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network's weights and statistics: to begin from others than random ones, set them here.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The loader of the training set, augmented and in random order.
    pub fn train_loader(&self) -> &Loader {
        &self.train
    }

    /// The loader of the test set.
    pub fn test(&self) -> &Loader {
        &self.test
    }

    /// Trains to the recipe's end, or until stopped, in a run directory.
    ///
    /// # Errors
    /// When the directory holds a run already (or, resuming, none, or one of another configuration), a file cannot be
    /// read or written, or the loss, the gradient or a weight is not finite. The last good checkpoint is kept then. A new
    /// run that fails before its first step, as on images that do not fit, leaves no files.
    pub fn train(&self, options: &TrainOptions, progress: &mut dyn Progress) -> Result<Outcome> {
        with_large_stack(|| {
            let result = Run::open(self, options).and_then(|mut run| run.go(progress));
            progress.finish();
            result
        })
    }

    /// Evaluates the network as it is on the test set.
    ///
    /// # Errors
    /// As [`evaluate`](super::evaluate()).
    pub fn evaluate(&self, progress: &mut dyn Progress) -> Result<Evaluation> {
        let result = evaluate(&self.network, &self.test, &self.device, None, progress)?;
        progress.finish();
        result.ok_or_else(|| Error::Invalid("the evaluation was stopped".into()))
    }

    /// What is to be said of the batches before training begins.
    pub(super) fn notices(&self) -> Vec<String> {
        let batch = self.recipe.batch_size;
        let alone = |images| {
            format!(
                "{images} images in batches of {batch}: the last batch of an epoch would hold 1 image, too few for the \
                 norms' statistics, and is passed over, another image each epoch"
            )
        };
        self.last_alone.map(alone).into_iter().collect()
    }

    /// `resnet20-cifar10`: what a run directory is called by default.
    pub fn name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        let what = if self.pretrained.is_some() { "finetuned" } else { &self.recipe.dataset };
        format!("{}-{what}", self.recipe.arch).chars().map(plain).collect()
    }

    /// All weights and statistics by name.
    pub(super) fn named(&self) -> Vec<(String, Var)> {
        self.parameters.named()
    }

    pub(super) fn info(&self, options: &TrainOptions) -> RunInfo {
        RunInfo {
            version: env!("CARGO_PKG_VERSION").into(),
            revision: super::revision(),
            device: match &self.device {
                Device::Cpu => "cpu".into(),
                Device::Cuda(_) => "cuda".into(),
                Device::Metal(_) => "metal".into(),
            },
            pretrained: self.pretrained.clone(),
            data_dir: options.data_dir.clone(),
            on_broken: self.loading.on_broken,
            rank: self.loading.rank,
            world_size: self.loading.world_size,
            shuffle_buffer: self.loading.shuffle_buffer,
            train_images: self.train.dataset().len(),
            test_images: self.test.dataset().len(),
            classes: self.train.dataset().classes().to_vec(),
        }
    }
}

/// The first class that is not the same in both sets.
fn other_classes(train: &[String], test: &[String]) -> String {
    let number = train.iter().zip(test).take_while(|(a, b)| a == b).count();
    let what = match (train.get(number), test.get(number)) {
        (Some(learned), Some(tested)) => format!(
            "class {number} is {} in the training set and {} in the test set",
            resnet_data::shown(learned),
            resnet_data::shown(tested)
        ),
        (Some(only), None) => format!("class {number}, {}, is in the training set alone", resnet_data::shown(only)),
        (None, only) => {
            let only = only.map(resnet_data::shown).unwrap_or_default();
            format!("class {number}, {only}, is in the test set alone")
        }
    };
    format!("{what}: both need the same classes in the same order")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_class_that_differs_is_named() {
        let said = |train: &[&str], test: &[&str]| {
            let list = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
            other_classes(&list(train), &list(test))
        };
        assert!(said(&["ant", "bee"], &["ant", "cat"]).starts_with("class 1 is bee in the training set and cat in"));
        assert!(said(&["ant", "bee"], &["ant"]).starts_with("class 1, bee, is in the training set alone: both"));
        assert!(said(&["ant"], &["ant", "cat"]).starts_with("class 1, cat, is in the test set alone"));
    }
}
