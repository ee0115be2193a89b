//! Recipes: everything that decides a training run, in one TOML file.

mod builtin;
mod flat;
mod length;
mod loss;
mod normalization;
mod overrides;
mod parse;

use std::path::Path;

use candle_core::DType;
use resnet_data::{Augment, MixConfig};
use serde::{Deserialize, Serialize};

pub use flat::{first_difference, flat};
pub use length::Length;
pub use loss::{LossConfig, LossKind};
pub use normalization::Normalization;
pub use overrides::Overrides;
pub use parse::toml as parse_toml;

use crate::optimizer::{EmaConfig, OptimizerConfig};
use crate::schedule::Schedule;
use crate::{Error, Result};

/// The dtype that a network computes in; weights are f32 in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compute {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16 activations, f32 weights and statistics.
    Bf16,
}

impl Compute {
    /// candle's name for it.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// A low rate that training begins with, in place of the schedule's, until something is reached.
///
/// He et al. 2015 need it for ResNet-110 (until the training error is below 80 %), He et al. 2016 for every CIFAR
/// network (400 iterations).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The low rate.
    pub lr: f64,
    /// Ends after so many iterations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u64>,
    /// Ends after so many epochs, which may be a part of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Ends once the training error over a hundred iterations, as a share, is below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_train_error: Option<f64>,
    /// The networks it is for; for all where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_for: Vec<String>,
}

impl Hold {
    /// Keeps its share of a training whose length, which was in iterations or else in epochs, becomes so many epochs times
    /// `factor` of it.
    fn stretch(&mut self, was_in_iterations: bool, factor: f64) {
        match (self.iterations, self.epochs) {
            (Some(iterations), _) if was_in_iterations => {
                (self.iterations, self.epochs) = (None, Some(iterations as f64 * factor));
            }
            (None, Some(epochs)) if !was_in_iterations => self.epochs = Some(epochs * factor),
            // How many iterations an epoch has, only the data tell.
            _ => {}
        }
    }
}

/// A training run as data.
///
/// ```
/// use resnet_train::recipe::Recipe;
/// let recipe = Recipe::load("he2015-cifar")?;
/// assert_eq!((recipe.iterations, recipe.batch_size), (Some(64_000), 128));
/// # Ok::<(), resnet_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What it is for, in a sentence.
    #[serde(default)]
    pub description: String,
    /// The network where the command line names none.
    pub arch: String,
    /// Fields of the network's configuration that differ from the registry's.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub network: serde_json::Map<String, serde_json::Value>,
    /// The data set where the command line names none.
    pub dataset: String,
    /// Length of the training; either this or `iterations`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Length of the training in optimizer steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u64>,
    /// Images of one batch: of an optimizer step, where there is no `accumulation`.
    pub batch_size: usize,
    /// Images whose mean and variance a norm takes in training, at most; without it those of the batch. A greater batch is
    /// passed in even parts, each of which moves the running statistics in turn (ghost batch norm, Hoffer et al. 2017,
    /// algorithm 1), and the step's gradient is the mean over all images. In published trainings on several devices these
    /// are the images of one device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm_batch_size: Option<usize>,
    /// Batches of one optimizer step, whose gradients are averaged.
    #[serde(default = "one")]
    pub accumulation: usize,
    /// Decides initial weights, order and augmentation.
    #[serde(default)]
    pub seed: u64,
    /// What the network computes in.
    #[serde(default)]
    pub dtype: Compute,
    /// Computes activations again in the backward pass instead of keeping all of them: for networks that do not fit into
    /// memory otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recompute: bool,
    /// Greatest norm of a step's gradient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Leaves out the last batch of an epoch where it is not full.
    #[serde(default)]
    pub drop_last: bool,
    /// Epochs from one evaluation to the next; the last epoch is always evaluated.
    #[serde(default = "every_epoch")]
    pub evaluate_every: u64,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// The learning rate.
    pub schedule: Schedule,
    /// A low rate to begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// The loss.
    #[serde(default)]
    pub loss: LossConfig,
    /// Evaluates and keeps an average of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaConfig>,
    /// From bytes to the network's input.
    #[serde(default)]
    pub normalize: Normalization,
    /// Steps of augmentation, in order; for training only.
    #[serde(default)]
    pub augment: Vec<Augment>,
    /// Mixes the images of a batch; for training only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<MixConfig>,
    /// How often an image comes in an epoch (repeated augmentation); epochs are no longer for it.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub repeats: usize,
    /// Steps before evaluation, in order.
    #[serde(default)]
    pub test_transform: Vec<Augment>,
}

fn one() -> usize {
    1
}
fn is_one(n: &usize) -> bool {
    *n == 1
}
fn every_epoch() -> u64 {
    1
}

impl Recipe {
    /// The names of the embedded recipes.
    pub fn names() -> Vec<&'static str> {
        builtin::RECIPES.iter().map(|(name, _)| *name).collect()
    }

    /// An embedded recipe by name, or the one in a file.
    ///
    /// # Errors
    /// When there is none of that name, the file cannot be read, or a key or value in it is wrong.
    pub fn load(name_or_path: &str) -> Result<Self> {
        if let Some((name, text)) = builtin::RECIPES.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(text, name);
        }
        let path = Path::new(name_or_path);
        if !path.exists() && path.extension().is_none() {
            let names = Self::names();
            return Err(Error::UnknownRecipe {
                name: name_or_path.to_string(),
                hint: match parse::nearest(name_or_path, names.iter().copied()) {
                    Some(name) => format!("did you mean {name:?}?"),
                    None => format!("the recipes are {}", names.join(", ")),
                },
            });
        }
        let text = crate::files::read_text(path).map_err(Error::io("read", path))?;
        Self::parse(&text, name_or_path)
    }

    /// Reads a recipe; `origin` is its file or name, for messages.
    ///
    /// # Errors
    /// When a key is unknown, missing or has a value out of its range.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let recipe: Self = parse::toml(text, origin)?;
        recipe.check().map_err(|error| Error::Recipe { origin: origin.to_string(), message: error.to_string() })?;
        Ok(recipe)
    }

    /// Checks every value that can be checked without data.
    ///
    /// # Errors
    /// Names the first key that is wrong.
    pub fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::Invalid(message));
        match (self.epochs, self.iterations) {
            (Some(0), _) | (_, Some(0)) => return invalid("epochs or iterations must be 1 or more".into()),
            (Some(_), Some(_)) => return invalid("epochs and iterations exclude each other: leave out one".into()),
            (None, None) => return invalid("the length is missing: give epochs or iterations".into()),
            _ => {}
        }
        for (key, value) in
            [("batch_size", self.batch_size), ("accumulation", self.accumulation), ("repeats", self.repeats)]
        {
            if value == 0 {
                return invalid(format!("{key} must be 1 or more"));
            }
        }
        // A mean over one image has no variance where its map is one pixel.
        if let Some(images @ (0 | 1)) = self.norm_batch_size {
            return invalid(format!("norm_batch_size = {images} must be 2 or more"));
        }
        if self.evaluate_every == 0 {
            return invalid("evaluate_every must be 1 or more".into());
        }
        self.loss.check()?;
        if let Some(mix) = &self.mix {
            mix.check()?;
        }
        if let Some(norm) = self.clip_norm
            && !(norm > 0.0 && norm.is_finite())
        {
            return invalid(format!("clip_norm = {norm} must be above 0"));
        }
        if let Some(ema) = self.ema
            && !(0.0..1.0).contains(&ema.decay)
        {
            return invalid(format!("ema.decay = {} must be in [0, 1)", ema.decay));
        }
        if let Some(hold) = &self.hold {
            let ends = [hold.iterations.is_some(), hold.epochs.is_some(), hold.until_train_error.is_some()];
            if ends.into_iter().filter(|given| *given).count() != 1 {
                return invalid("hold: give one of iterations, epochs and until_train_error".into());
            }
            if let Some(epochs) = hold.epochs
                && !(epochs > 0.0 && epochs.is_finite())
            {
                return invalid(format!("hold.epochs = {epochs} must be above 0"));
            }
            if !(hold.lr > 0.0 && hold.lr.is_finite()) {
                return invalid(format!("hold.lr = {} must be above 0", hold.lr));
            }
        }
        self.optimizer.check()?;
        self.schedule.check()
    }

    /// The length of the training.
    pub fn length(&self) -> Length {
        match (self.epochs, self.iterations) {
            (_, Some(iterations)) => Length::Iterations(iterations),
            (epochs, None) => Length::Epochs(epochs.unwrap_or(1)),
        }
    }

    /// The length in epochs, by the size of the data set that the recipe names; unknown for images of one's own where it is
    /// given in iterations.
    pub(crate) fn length_in_epochs(&self) -> Option<f64> {
        let images = length::training_images(&self.dataset);
        match self.length() {
            Length::Epochs(n) => Some(n as f64),
            Length::Iterations(n) => images.map(|all| (n as usize * self.batch_size * self.accumulation) as f64 / all),
        }
    }

    /// Forward passes of one batch, the last of an epoch apart.
    pub(crate) fn passes_per_batch(&self) -> usize {
        self.norm_batch_size.map_or(1, |images| self.batch_size.div_ceil(images))
    }

    /// The low rate to begin with, where it applies to this recipe's network.
    pub fn active_hold(&self) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| hold.only_for.is_empty() || hold.only_for.contains(&self.arch))
    }

    /// Only what decides the training of this network: without the description, and without a low rate to begin with that
    /// is for other networks.
    pub fn decisive(&self) -> Self {
        let hold = self.active_hold().map(|hold| Hold { only_for: Vec::new(), ..hold.clone() });
        Self { description: String::new(), hold, ..self.clone() }
    }

    /// The recipe as TOML, complete: parsing it gives the same recipe.
    ///
    /// # Errors
    /// When a value cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Invalid(format!("recipe: {error}")))
    }
}

#[cfg(test)]
mod tests;
