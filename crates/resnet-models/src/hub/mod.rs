//! Pretrained networks: from the Hugging Face hub, or from folders and files of the same form.
//!
//! [`from_pretrained`] makes the network, reads its weights and what its configuration says of pictures and classes.
//! Read are repositories of timm (`timm/resnet50.a1_in1k`), of transformers (`microsoft/resnet-50`), checkpoints of
//! torchvision (`resnet50-0676ba61.pth`) and of this project's trainer.

mod config;
pub(crate) mod json;
mod labels;
mod processor;
mod published;
mod source;
mod timm;
mod torchvision;

use std::path::{Path, PathBuf};

use candle_core::Device;
use resnet_hub::{Hub, Progress};

use crate::escape::cut;
use crate::fit::{Fitted, fit, fitting, foreign};
use crate::weights::{LoadOptions, WeightsFile};
use crate::{Config, Error, ModelCard, Network, Outputs, Parameters, Preprocessing, Training};
use config::ModelConfig;
pub use published::{Published, published};

/// What [`from_pretrained_with`] is told beside the name.
#[derive(Debug, Clone)]
pub struct PretrainedOptions {
    /// The network's name, where the files do not give it or give another.
    pub arch: Option<String>,
    /// The network itself, where it is none of the registry's; in place of [`Self::arch`].
    pub config: Option<Config>,
    /// A branch, a tag or a commit of the repository; `main` where none is given.
    pub revision: Option<String>,
    /// The hub; that of the environment variables (`HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`, …) where none is given.
    pub hub: Option<Hub>,
    /// Where the parameters lie.
    pub device: Device,
    /// Keys that lead to the weights in a checkpoint of PyTorch's, joined by dots (`state_dict_ema`); the likeliest where
    /// none are given.
    pub entry: Option<String>,
    /// What the names of the network's tensors begin with (`module.encoder_k`), where the file has several networks.
    pub prefix: Option<String>,
    /// A new head for so many classes, with values from the seed, in place of the weights' own.
    pub new_head: Option<NewHead>,
}

/// A head to be trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewHead {
    /// Number of classes.
    pub classes: usize,
    /// Decides its first values.
    pub seed: u64,
}

impl Default for PretrainedOptions {
    /// From the hub's `main`, on the CPU, whole.
    fn default() -> Self {
        Self {
            arch: None,
            config: None,
            revision: None,
            hub: None,
            device: Device::Cpu,
            entry: None,
            prefix: None,
            new_head: None,
        }
    }
}

/// A network with its weights, and what is known of them.
#[derive(Clone)]
pub struct Pretrained {
    /// The network.
    pub network: Network,
    /// Its parameters, by name.
    pub parameters: Parameters,
    /// The pictures that it was made for, where that is known.
    pub preprocessing: Option<Preprocessing>,
    /// Names of its classes, where they are known; with a new head there are none. Of [`Outputs::Binary`] there may be two:
    /// no and yes.
    pub classes: Option<Vec<String>>,
    /// What its outputs mean: as the files say, else by their number.
    pub outputs: Outputs,
    /// The number of names that the files give, where the network has not so many classes. Then [`Self::classes`] is none.
    pub unfitting_names: Option<usize>,
    /// What was guessed, converted or left alone of the weights' file, a line each.
    pub notes: Vec<String>,
    /// What stands in the place of a head where that is no linear layer. Without a head the network has 0 classes.
    pub other_head: Option<String>,
    /// How the weights were trained, where their file says it.
    pub training: Training,
    /// The weights' file.
    pub file: PathBuf,
}

impl Pretrained {
    /// What is known of the weights, to be kept with them wherever they are written.
    pub fn card(&self) -> ModelCard {
        ModelCard {
            classes: self.classes.clone(),
            outputs: Some(self.outputs),
            preprocessing: self.preprocessing,
            training: self.training.clone(),
            ..ModelCard::new(self.network.config())
        }
    }
}

/// A pretrained network: `OWNER/NAME` or `OWNER/NAME@REVISION` on the hub, timm's name of weights without its owner
/// (`resnet50.a1_in1k`), a folder with `config.json` and weights, or a file of weights.
///
/// # Errors
/// [`Error::Hub`] where a file cannot be downloaded, [`Error::Config`] where the configuration is none that is known,
/// [`Error::UnknownNetwork`] and [`Error::Nameless`] where the network's name is, [`Error::Untagged`] where a name is
/// that of a network and not of weights, [`Error::Weights`] where the weights do not fit.
///
/// ```no_run
/// use candle_nn::ModuleT;
/// # let images = candle_core::Tensor::zeros((1, 3, 224, 224), candle_core::DType::F32, &candle_core::Device::Cpu)?;
/// let pretrained = resnet_models::from_pretrained("timm/resnet50.a1_in1k")?;
/// let logits = pretrained.network.forward_t(&images, false)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn from_pretrained(name: &str) -> Result<Pretrained, Error> {
    from_pretrained_with(name, &PretrainedOptions::default(), &mut ())
}

/// As [`from_pretrained`], with options and a listener for downloads.
///
/// # Errors
/// As [`from_pretrained`].
pub fn from_pretrained_with(
    name: &str,
    options: &PretrainedOptions,
    progress: &mut dyn Progress,
) -> Result<Pretrained, Error> {
    // The name first: a wrong one should not wait for a large file.
    if let Some(arch) = &options.arch {
        crate::config(arch)?;
    }
    if let Some(config) = &options.config {
        config.check()?;
    }
    let files = source::find(name, options, progress)?;
    let config = files.config.as_deref().map(ModelConfig::read).transpose()?;
    let file = WeightsFile::open(&files.weights(progress)?)?;
    let card = card(&file, options.config.is_some() || options.arch.is_some() || config.is_some())?;
    let part = LoadOptions { entry: options.entry.clone(), prefix: options.prefix.clone(), keep_names: false };
    let known = match (&options.config, &options.arch, &config) {
        (Some(own), _, _) => own.clone(),
        (None, Some(arch), _) => crate::config(arch)?,
        (None, None, Some(config)) => config.network.clone(),
        (None, None, None) => card.network.map_or_else(|| named(&file, &part), Ok)?,
    };
    // What a file says is told of with its name.
    let said_by = files.config.as_deref().filter(|_| options.arch.is_none()).unwrap_or(&file.file);
    known.check().map_err(|error| Error::Config { file: said_by.to_owned(), message: error.to_string() })?;
    let own_classes = file.classes();
    let fitted = fit(known, &file, &part, options.new_head, &options.device);
    let Fitted { network, parameters, checkpoint, mut notes } = fitted.map_err(|error| match error {
        // Numbers that only the layers find impossible.
        Error::Tensor(error) => Error::Config { file: said_by.to_owned(), message: crate::message(&error) },
        other => other,
    })?;
    let classes = match (&options.new_head, &config) {
        (Some(_), _) => None,
        (None, Some(config)) => config.classes.clone(),
        (None, None) => card.classes.or(own_classes),
    };
    let preprocessing = match &config {
        Some(config) => config.preprocessing,
        None => card.preprocessing.or_else(|| torchvision::preprocessing(&checkpoint.file)),
    };
    let count = network.config().classes;
    if let Some(stated) = config.as_ref().and_then(|config| config.stated).filter(|_| options.new_head.is_none())
        && count > 0
        && stated != count
    {
        notes.push(format!("its configuration has {stated} classes, its head {count}: the head's number is taken"));
    }
    let said = match (&options.new_head, &config) {
        (Some(_), _) => None,
        (None, Some(config)) => config.outputs,
        (None, None) => card.outputs,
    };
    // One of one is no choice, whatever is said.
    let outputs = said.filter(|said| count > 1 || *said != Outputs::OneOf).unwrap_or(Outputs::of(count));
    let outputs = if count == 1 && outputs == Outputs::AnyOf { Outputs::Binary } else { outputs };
    let fit = |names: &Vec<String>| outputs.fits(names.len(), count);
    // Without a head there is nothing to name.
    let classes = classes.filter(|_| count > 0);
    if let Some(named) = config.as_ref().and_then(|config| config.named).filter(|named| *named < count)
        && classes.as_ref().is_some_and(fit)
    {
        notes.push(format!("its configuration names {named} of {count} classes: the others are numbered"));
    }
    let unfitting_names = classes.as_ref().filter(|names| !fit(names)).map(Vec::len);
    Ok(Pretrained {
        classes: classes.filter(fit),
        unfitting_names,
        outputs,
        network,
        parameters,
        preprocessing,
        notes,
        other_head: checkpoint.other_head,
        training: card.training,
        file: checkpoint.file,
    })
}

/// What the weights' file says of them; of the network only where no other is asked for.
fn card(file: &WeightsFile, asked: bool) -> Result<ModelCard, Error> {
    let metadata = file.metadata();
    let card = if asked { ModelCard::read_without_network(&metadata) } else { ModelCard::read(&metadata) };
    Ok(card.map_err(|error| error.in_file(&file.file))?.unwrap_or_default())
}

/// The network of weights without card and configuration: as another program's metadata or the file's name say.
fn named(file: &WeightsFile, part: &LoadOptions) -> Result<Config, Error> {
    let arch = file.metadata().remove("arch").and_then(|arch| crate::config(&cut(&arch, 80)).ok());
    if let Some(config) = arch.or_else(|| in_file_name(&file.file)) {
        return Ok(config);
    }
    match foreign(file, part) {
        Some(what) => Err(Error::Foreign { file: file.file.clone(), what }),
        None => Err(Error::Nameless { file: file.file.clone(), fitting: fitting(file, part) }),
    }
}

/// The network that a published file is named after: `resnet50-0676ba61.pth`.
fn in_file_name(file: &Path) -> Option<Config> {
    let stem = file.file_stem()?.to_str()?;
    let (name, sum) = stem.split_once('-')?;
    let is_sum = sum.len() == 8 && sum.chars().all(|c| c.is_ascii_hexdigit());
    crate::config(name).ok().filter(|_| is_sum)
}
