//! What weights know of themselves: the metadata of a file of weights, read and written here alone.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::escape::cut;
use crate::{Config, Error, Outputs, Preprocessing, weights};

/// What is known of weights beside their tensors: the network, its classes, the pictures that it takes, what its outputs
/// mean, and how it was trained.
///
/// In a safetensors file it is the metadata (`__metadata__`), a text for each key; a PyTorch checkpoint has no place for
/// it. [`from_pretrained`](crate::from_pretrained) reads it, so that weights of one's own need no other file beside them:
///
/// ```
/// use candle_core::{D, DType, Device, Tensor};
/// use candle_nn::{AdamW, ModuleT, Optimizer, ParamsAdamW, loss};
/// use resnet_models::{Config, ModelCard, Network, Parameters, Preprocessing, from_pretrained};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("mine.safetensors").display().to_string();
/// # let file = file.as_str();
/// let device = Device::Cpu;
/// let parameters = Parameters::new(1, DType::F32, &device);
/// let network = Network::new(&Config::cifar("mine", 1).with_classes(2), parameters.builder())?;
///
/// // Any loop of one's own: dark squares are class 0, bright ones class 1.
/// let images = Tensor::new(&[-1_f32, 1., -0.5, 0.5], &device)?.reshape((4, 1, 1, 1))?.broadcast_as((4, 3, 16, 16))?;
/// let images = images.contiguous()?;
/// let labels = Tensor::new(&[0_u32, 1, 0, 1], &device)?;
/// let trained = parameters.trainable().into_iter().map(|(_, var)| var).collect();
/// let mut optimizer = AdamW::new(trained, ParamsAdamW::default())?;
/// for _ in 0..4 {
///     optimizer.backward_step(&loss::cross_entropy(&network.forward_t(&images, true)?, &labels)?)?;
/// }
///
/// let pictures = Preprocessing { size: 16, crop: 1.0, mean: [0.5; 3], std: [0.5; 3], ..Preprocessing::default() };
/// let card = ModelCard::new(network.config()).with_classes(["dark", "bright"]).with_preprocessing(pictures);
/// card.save(file, &parameters.tensors())?;
///
/// let mine = from_pretrained(file)?;
/// assert_eq!(mine.classes.as_deref().unwrap(), ["dark", "bright"]);
/// assert_eq!(mine.preprocessing, Some(pictures));
/// let expected = network.forward_t(&images, false)?;
/// assert_eq!(mine.network.forward_t(&images, false)?.to_vec2::<f32>()?, expected.to_vec2::<f32>()?);
/// # Ok(())
/// # }
/// ```
///
/// # The metadata, version 1
/// | key | value |
/// | --- | --- |
/// | `model_card` | the version, `1` |
/// | `format` | `pt`, as other readers of safetensors want it |
/// | `arch` | the network's name, [`Config::name`] |
/// | `config` | JSON: all fields of the [`Config`] |
/// | `classes` | JSON: a list of names |
/// | `outputs` | JSON: a word of [`Outputs`]; where it is missing, what follows from their number |
/// | `preprocessing` | JSON: all fields of the [`Preprocessing`] |
/// | `dataset` | the data set that it was trained on |
/// | `normalize` | JSON: how the trainer normalised images, also where that is a mean image |
/// | `division` | JSON: which images of an undivided folder were held back |
/// | `recipe` | JSON: the recipe that it was trained by |
/// | `pretrained` | the weights that training began with |
/// | `seed`, `epoch`, `step` | whole numbers |
/// | `program` | what wrote it: name, version, revision |
///
/// Every key but `model_card` may be missing. Other keys are kept as they are. A field of `config`, `preprocessing` or
/// `outputs` that is not known is refused, as the network would be another one without it; so is a newer version.
///
/// Version 0, of earlier files, has no `model_card`: it is known by `arch`, `classes` and `normalize`, and has the network as
/// `arch` with changes of some fields (`network`), or as a whole (`config`).
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ModelCard {
    /// The network.
    pub network: Option<Config>,
    /// Names of its classes.
    pub classes: Option<Vec<String>>,
    /// What its outputs mean, where that is said.
    pub outputs: Option<Outputs>,
    /// The pictures that it takes.
    pub preprocessing: Option<Preprocessing>,
    /// How it was trained.
    pub training: Training,
    /// Metadata under other keys, which says nothing to this program.
    pub other: BTreeMap<String, String>,
}

/// How weights were trained, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Training {
    /// The data set, as `--dataset` of the program names it.
    pub dataset: Option<String>,
    /// How images were normalised: a trainer's own word, of `resnet_train::recipe::Normalization`.
    pub normalize: Option<Json>,
    /// Which images of a folder were held back: `resnet_data::TrainTestSplit`.
    pub split: Option<Json>,
    /// The recipe.
    pub recipe: Option<Json>,
    /// The weights that training began with.
    pub pretrained: Option<String>,
    /// The seed of first values, order and augmentation.
    pub seed: Option<u64>,
    /// Epochs done.
    pub epoch: Option<u64>,
    /// Steps done.
    pub step: Option<u64>,
    /// The program: name, version, revision.
    pub program: Option<String>,
}

/// A value that another crate knows the type of, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// The value as JSON.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn of(value: &impl Serialize) -> serde_json::Result<Self> {
        serde_json::to_string(value).map(Self)
    }

    /// The value.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(&self.0)
    }
}

/// A key of the metadata whose value cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its metadata {key:?}: {message}")]
pub struct BadCard {
    /// The key.
    pub key: &'static str,
    /// What is wrong with the value.
    pub message: String,
}

impl BadCard {
    /// The error of that file.
    pub(crate) fn in_file(self, file: &Path) -> Error {
        Error::Config { file: file.to_owned(), message: self.to_string() }
    }

    /// Of a key, for `map_err`; what comes out of a file is cut to a length that fits a message.
    fn of<E: ToString>(key: &'static str) -> impl Fn(E) -> Self {
        move |error| Self { key, message: cut(&error.to_string(), 300) }
    }
}

const VERSION: &str = "model_card";
/// No network's name is longer.
const LONGEST_NAME: usize = 80;
/// All keys of all versions.
const KEYS: [&str; 17] = [
    VERSION,
    "format",
    "arch",
    "config",
    "network",
    "classes",
    "outputs",
    "preprocessing",
    "dataset",
    "normalize",
    "division",
    "recipe",
    "pretrained",
    "seed",
    "epoch",
    "step",
    "program",
];

impl ModelCard {
    /// The version that is written, and the newest that is read.
    pub const VERSION: u32 = 1;

    /// The card of a network of which nothing else is known.
    pub fn new(network: &Config) -> Self {
        Self { network: Some(network.clone()), ..Self::default() }
    }

    /// With names of the classes.
    pub fn with_classes<S: Into<String>>(mut self, classes: impl IntoIterator<Item = S>) -> Self {
        self.classes = Some(classes.into_iter().map(Into::into).collect());
        self
    }

    /// With what the outputs mean.
    pub fn with_outputs(mut self, outputs: Outputs) -> Self {
        self.outputs = Some(outputs);
        self
    }

    /// With the pictures that the network takes.
    pub fn with_preprocessing(mut self, preprocessing: Preprocessing) -> Self {
        self.preprocessing = Some(preprocessing);
        self
    }

    /// With how it was trained.
    pub fn with_training(mut self, training: Training) -> Self {
        self.training = training;
        self
    }

    /// Whether the fields make sense, each by itself and together.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), BadCard> {
        if let Some(network) = &self.network {
            network.check().map_err(BadCard::of("config"))?;
            let (count, outputs) = (network.classes, self.outputs.unwrap_or(Outputs::of(network.classes)));
            if let Some(names) = self.classes.as_ref().map(Vec::len).filter(|&names| !outputs.fits(names, count)) {
                return Err(BadCard::of("classes")(format!("{names} names for {count} classes")));
            }
        }
        self.preprocessing.map_or(Ok(()), |own| own.check()).map_err(BadCard::of("preprocessing"))
    }

    /// Writes weights with this card to a safetensors file, as [`weights::save`] does.
    ///
    /// # Errors
    /// [`Error::Config`] where the card makes no sense ([`ModelCard::check`]), [`Error::Weights`] when the file cannot be
    /// written.
    pub fn save(&self, path: impl AsRef<Path>, tensors: &[(String, Tensor)]) -> Result<(), Error> {
        let path = path.as_ref();
        let metadata = self.metadata().map_err(|error| error.in_file(path))?;
        Ok(weights::save(path, tensors, &metadata)?)
    }

    /// The metadata.
    ///
    /// # Errors
    /// As [`ModelCard::check`].
    pub fn metadata(&self) -> Result<BTreeMap<String, String>, BadCard> {
        self.check()?;
        let training = &self.training;
        let text = |json: &Option<Json>| json.as_ref().map(|json| json.0.clone());
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let values = [
            (VERSION, Some(Self::VERSION.to_string())),
            ("format", Some("pt".to_owned())),
            ("arch", self.network.as_ref().map(|network| network.name.clone())),
            ("config", written("config", &self.network)?),
            ("classes", written("classes", &self.classes)?),
            ("outputs", written("outputs", &self.outputs)?),
            ("preprocessing", written("preprocessing", &self.preprocessing)?),
            ("dataset", training.dataset.clone()),
            ("normalize", text(&training.normalize)),
            ("division", text(&training.split)),
            ("recipe", text(&training.recipe)),
            ("pretrained", training.pretrained.clone()),
            ("seed", number(training.seed)),
            ("epoch", number(training.epoch)),
            ("step", number(training.step)),
            ("program", training.program.clone()),
        ];
        let own = values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        Ok(self.other.clone().into_iter().chain(own).collect())
    }

    /// The card that metadata of any version is; `None` of other programs' metadata.
    ///
    /// # Errors
    /// The key whose value cannot be.
    pub fn read(metadata: &BTreeMap<String, String>) -> Result<Option<Self>, BadCard> {
        let Some(card) = Self::read_without_network(metadata)? else { return Ok(None) };
        Ok(Some(Self { network: network(metadata)?, ..card }))
    }

    /// As [`ModelCard::read`], for a network that is known otherwise.
    pub(crate) fn read_without_network(metadata: &BTreeMap<String, String>) -> Result<Option<Self>, BadCard> {
        if !is_card(metadata)? {
            return Ok(None);
        }
        let text = |key: &str| metadata.get(key).cloned();
        let number = |key: &'static str| metadata.get(key).map(|n| n.parse().map_err(BadCard::of(key))).transpose();
        let card = Self {
            network: None,
            classes: value(metadata, "classes")?,
            outputs: value(metadata, "outputs")?,
            preprocessing: value(metadata, "preprocessing")?,
            training: Training {
                dataset: text("dataset"),
                normalize: text("normalize").map(Json),
                split: text("division").map(Json),
                recipe: text("recipe").map(Json),
                pretrained: text("pretrained"),
                seed: number("seed")?,
                epoch: number("epoch")?,
                step: number("step")?,
                program: text("program"),
            },
            other: metadata
                .iter()
                .filter(|(key, _)| !KEYS.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        };
        card.preprocessing.map_or(Ok(()), |own| own.check()).map_err(BadCard::of("preprocessing"))?;
        Ok(Some(card))
    }
}

/// Whether it is metadata of a version that is known. Other programs' values under the same keys are none of ours.
fn is_card(metadata: &BTreeMap<String, String>) -> Result<bool, BadCard> {
    match metadata.get(VERSION).map(|version| version.parse::<u32>()) {
        Some(Ok(version)) if version > ModelCard::VERSION => {
            let message = format!("{version} is a newer version than {}: use a newer program", ModelCard::VERSION);
            Err(BadCard { key: VERSION, message })
        }
        Some(Ok(1..)) => Ok(true),
        _ => Ok(["arch", "classes", "normalize"].iter().all(|key| metadata.contains_key(*key))),
    }
}

/// The network, as a whole or as a name of the registry with changes.
fn network(metadata: &BTreeMap<String, String>) -> Result<Option<Config>, BadCard> {
    if let Some(fields) = value(metadata, "config")? {
        let config = Config::default().changed(&fields).map_err(BadCard::of("config"))?;
        return Ok(Some(Config { name: cut(&config.name, LONGEST_NAME), ..config }));
    }
    let Some(arch) = metadata.get("arch") else { return Ok(None) };
    let config = crate::config(&cut(arch, LONGEST_NAME)).map_err(BadCard::of("arch"))?;
    let changes = value(metadata, "network")?.unwrap_or_default();
    config.changed(&changes).map(Some).map_err(BadCard::of("network"))
}

/// A value of JSON.
fn value<T: DeserializeOwned>(metadata: &BTreeMap<String, String>, key: &'static str) -> Result<Option<T>, BadCard> {
    metadata.get(key).map(|text| serde_json::from_str(text).map_err(BadCard::of(key))).transpose()
}

fn written<T: Serialize>(key: &'static str, value: &Option<T>) -> Result<Option<String>, BadCard> {
    value.as_ref().map(|value| serde_json::to_string(value).map_err(BadCard::of(key))).transpose()
}

#[cfg(test)]
mod tests;
