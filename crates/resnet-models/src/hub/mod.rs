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

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{DType, Device};
use resnet_hub::{Hub, Progress};

use crate::weights::{self, AssignOptions, Checkpoint, WeightsError};
use crate::{Config, Error, Network, Outputs, Parameters, Preprocessing};
use config::ModelConfig;
pub use published::{Published, published};

/// What [`from_pretrained_with`] is told beside the name.
#[derive(Debug, Clone)]
pub struct PretrainedOptions {
    /// The network's name, where the files do not give it or give another.
    pub arch: Option<String>,
    /// A branch, a tag or a commit of the repository; `main` where none is given.
    pub revision: Option<String>,
    /// The hub; that of the environment variables (`HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`, …) where none is given.
    pub hub: Option<Hub>,
    /// Where the parameters lie.
    pub device: Device,
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
        Self { arch: None, revision: None, hub: None, device: Device::Cpu, new_head: None }
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
    /// What the weights' file says beside them.
    pub metadata: BTreeMap<String, String>,
    /// The weights' file.
    pub file: PathBuf,
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
    let files = source::find(name, options, progress)?;
    let config = files.config.as_deref().map(ModelConfig::read).transpose()?;
    let checkpoint = weights::load(files.weights(progress)?)?;
    let known = match (&options.arch, &config) {
        (Some(arch), _) => crate::config(arch)?,
        (None, Some(config)) => config.network.clone(),
        (None, None) => named(&checkpoint)?,
    };
    let (network, parameters) = build(known, &checkpoint, options)?;
    let classes = match (&options.new_head, &config) {
        (Some(_), _) => None,
        (None, Some(config)) => config.classes.clone(),
        (None, None) => ours(&checkpoint, "classes")?,
    };
    let preprocessing = match &config {
        Some(config) => config.preprocessing,
        None => match ours::<Preprocessing>(&checkpoint, "preprocessing")? {
            Some(own) => {
                let wrong = |error| json::wrong(&checkpoint.file, format!("its metadata \"preprocessing\": {error}"));
                own.check().map_err(|error| wrong(error.to_string()))?;
                Some(own)
            }
            None => torchvision::preprocessing(&checkpoint.file),
        },
    };
    let count = network.config().classes;
    let said = match (&options.new_head, &config) {
        (Some(_), _) => None,
        (None, Some(config)) => config.outputs,
        (None, None) => ours(&checkpoint, "outputs")?,
    };
    // One of one is no choice, whatever is said.
    let outputs = said.filter(|said| count > 1 || *said != Outputs::OneOf).unwrap_or(Outputs::of(count));
    let outputs = if count == 1 && outputs == Outputs::AnyOf { Outputs::Binary } else { outputs };
    let fit = |names: &Vec<String>| outputs.fits(names.len(), count);
    let unfitting_names = classes.as_ref().filter(|names| !fit(names)).map(Vec::len);
    Ok(Pretrained {
        classes: classes.filter(fit),
        unfitting_names,
        outputs,
        network,
        parameters,
        preprocessing,
        metadata: checkpoint.metadata,
        file: checkpoint.file,
    })
}

/// The network that weights without a configuration beside them are of: as their metadata or their file's name say.
fn named(checkpoint: &Checkpoint) -> Result<Config, Error> {
    if let Some(whole) = ours(checkpoint, "config")? {
        return Ok(whole);
    }
    let arch = checkpoint.metadata.get("arch").cloned().or_else(|| in_file_name(checkpoint));
    let Some(arch) = arch else {
        return Err(Error::Nameless { file: checkpoint.file.clone(), fitting: fitting(checkpoint) });
    };
    crate::config(&arch)?.with_changes(&ours(checkpoint, "network")?.unwrap_or_default())
}

fn build(
    mut config: Config,
    checkpoint: &Checkpoint,
    options: &PretrainedOptions,
) -> Result<(Network, Parameters), Error> {
    let (classes, parameters) = match options.new_head {
        Some(head) => (Some(head.classes), Parameters::new(head.seed, DType::F32, &options.device)),
        None => (classes_of(checkpoint), Parameters::zeros(DType::F32, &options.device)),
    };
    if let Some(classes) = classes {
        config = config.with_classes(classes);
    }
    if config.classes == 0 {
        return Err(Error::NoClasses);
    }
    let network = Network::new(&config, parameters.builder())?;
    let except = match options.new_head {
        Some(_) => vec![format!("{}.", network.config().head())],
        None => Vec::new(),
    };
    let assigned = weights::assign(checkpoint, &parameters.named(), &AssignOptions { except, ..Default::default() });
    assigned.map_err(|error| match error {
        WeightsError::Mismatch(mismatch) => Error::OtherNetwork { mismatch, fitting: fitting(checkpoint) },
        other => other.into(),
    })?;
    Ok((network, parameters))
}

/// Names that a head has in one family or another.
const HEADS: [&str; 3] = ["fc.weight", "head.fc.weight", "head.weight"];

/// The number of rows of the head's weight.
fn classes_of(checkpoint: &Checkpoint) -> Option<usize> {
    let head = HEADS.iter().find_map(|name| checkpoint.tensors.get(*name))?;
    head.dims().first().copied().filter(|&classes| classes > 0)
}

/// The networks that weights fit by names and shapes.
fn fitting(checkpoint: &Checkpoint) -> Vec<&'static str> {
    let classes = classes_of(checkpoint);
    // Making all networks takes long: the last block rules most of them out.
    let may_fit = |arch: &&str| {
        crate::config(arch).is_ok_and(|config| {
            let last = config.block_configs().last().map(|(path, _)| format!("{path}."));
            last.is_some_and(|last| checkpoint.tensors.keys().any(|name| name.starts_with(&last)))
        })
    };
    let fits = |arch: &&str| {
        let parameters = Parameters::zeros(DType::F32, &Device::Cpu);
        let named = crate::create(arch, parameters.builder(), classes).map(|_| parameters.named());
        named.is_ok_and(|named| {
            let same = |(name, var): &(String, candle_core::Var)| {
                checkpoint.tensors.get(name).is_some_and(|t| t.dims() == var.dims())
            };
            named.len() == checkpoint.tensors.len() && named.iter().all(same)
        })
    };
    crate::names().into_iter().filter(may_fit).filter(fits).collect()
}

/// The network that a published file is named after: `resnet50-0676ba61.pth`.
fn in_file_name(checkpoint: &Checkpoint) -> Option<String> {
    let stem = checkpoint.file.file_stem()?.to_str()?;
    let (name, sum) = stem.split_once('-')?;
    let is_sum = sum.len() == 8 && sum.chars().all(|c| c.is_ascii_hexdigit());
    (is_sum && crate::config(name).is_ok()).then(|| name.to_owned())
}

/// A value of a trainer's checkpoint. Other programs' values under the same key are none of ours.
fn ours<T: serde::de::DeserializeOwned>(checkpoint: &Checkpoint, key: &str) -> Result<Option<T>, Error> {
    let is_ours = ["arch", "classes", "normalize"].iter().all(|key| checkpoint.metadata.contains_key(*key));
    let Some(text) = checkpoint.metadata.get(key).filter(|_| is_ours) else { return Ok(None) };
    let value = serde_json::from_str(text);
    value.map(Some).map_err(|error| Error::Config {
        file: checkpoint.file.clone(),
        message: format!("its metadata {key:?} cannot be read: {error}"),
    })
}
