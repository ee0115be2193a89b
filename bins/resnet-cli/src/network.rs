//! A network with weights from a file.

use candle_core::{DType, Device, Var};
use resnet_data::{Normalize, Split};
use resnet_models::weights::{self, AssignOptions, Checkpoint, WeightsError};
use resnet_models::{Network, Parameters};
use resnet_train::recipe::Normalization;

use crate::args::{DatasetArgs, NormalizeArgs, WeightsArgs};
use crate::failure::bad_input;
use crate::output;

/// What torchvision's weights, and most others, were trained with.
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// See [`IMAGENET_MEAN`].
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// A network with its weights, and what their file says of them.
pub struct Loaded {
    /// The network, on the device asked for.
    pub network: Network,
    /// Names of the classes, where the file gives them.
    pub classes: Option<Vec<String>>,
    /// The data set that it was trained on, where the file names it.
    pub dataset: Option<String>,
    normalize: Option<Normalization>,
}

/// Makes the network and reads its weights; its number of classes is that of the weights.
pub fn load(args: &WeightsArgs, device: &Device) -> anyhow::Result<Loaded> {
    // The name first: a wrong one should not wait for a large file.
    if let Some(arch) = &args.arch {
        resnet_models::config(arch)?;
    }
    let checkpoint = weights::load(&args.weights)?;
    let metadata = &checkpoint.metadata;
    let Some(arch) = args.arch.as_ref().or_else(|| metadata.get("arch")) else {
        let file = args.weights.display();
        return Err(bad_input(format!("{file} does not name its network: add --arch NAME{}", suggestion(&checkpoint))));
    };
    let parameters = Parameters::zeros(DType::F32, device);
    let changes = parsed(&checkpoint, "network")?.unwrap_or_default();
    let network = resnet_models::create_changed(arch, &changes, parameters.builder(), classes_of(&checkpoint))?;
    weights::assign(&checkpoint, &parameters.named(), &AssignOptions::default()).map_err(|error| match error {
        WeightsError::Mismatch(_) => bad_input(format!("{error}{}", suggestion(&checkpoint))),
        other => other.into(),
    })?;
    let classes: Option<Vec<String>> = parsed(&checkpoint, "classes")?;
    Ok(Loaded {
        classes: classes.filter(|names| names.len() == network.config().classes),
        dataset: metadata.get("dataset").cloned(),
        normalize: parsed(&checkpoint, "normalize")?,
        network,
    })
}

/// The number of rows of the head's weight.
fn classes_of(checkpoint: &Checkpoint) -> Option<usize> {
    match checkpoint.tensors.get("fc.weight")?.dims() {
        [classes, _] if *classes > 0 => Some(*classes),
        _ => None,
    }
}

/// The networks that weights fit by names and shapes, as the end of a message.
fn suggestion(checkpoint: &Checkpoint) -> String {
    let classes = classes_of(checkpoint);
    let fits = |arch: &&str| {
        let parameters = Parameters::zeros(DType::F32, &Device::Cpu);
        let named = resnet_models::create(arch, parameters.builder(), classes).map(|_| parameters.named());
        named.is_ok_and(|named| {
            let same =
                |(name, var): &(String, Var)| checkpoint.tensors.get(name).is_some_and(|t| t.dims() == var.dims());
            named.len() == checkpoint.tensors.len() && named.iter().all(same)
        })
    };
    match resnet_models::names().into_iter().filter(fits).collect::<Vec<_>>()[..] {
        [] => "; `resnet list` shows the networks".to_owned(),
        ref names => format!("; it fits --arch {}", names.join(" or ")),
    }
}

/// A value of a trainer's checkpoint. Other programs' values under the same key are none of ours.
fn parsed<T: serde::de::DeserializeOwned>(checkpoint: &Checkpoint, key: &str) -> anyhow::Result<Option<T>> {
    let ours = ["arch", "classes", "normalize"].iter().all(|key| checkpoint.metadata.contains_key(*key));
    let Some(text) = checkpoint.metadata.get(key).filter(|_| ours) else { return Ok(None) };
    let value = serde_json::from_str(text);
    value.map(Some).map_err(|error| bad_input(format!("{}: metadata {key:?}: {error}", checkpoint.file.display())))
}

impl Loaded {
    /// What the flags say, else what the weights say, else ImageNet's.
    ///
    /// Weights that were trained with the mean image of a set need that set's training images.
    pub fn normalize(&self, flags: &NormalizeArgs, data: &DatasetArgs) -> anyhow::Result<Normalize> {
        if let (Some(mean), Some(std)) = (flags.mean, flags.std) {
            return Ok(Normalize::channel(mean, std));
        }
        match (&self.normalize, &self.dataset) {
            (Some(Normalization::Channel { mean, std }), _) => Ok(Normalize::channel(*mean, *std)),
            (Some(from_images), Some(dataset)) => Ok(from_images.resolve(&*data.open(dataset, Split::Train)?)?),
            _ => {
                output::note("the weights do not say how images were normalised: ImageNet's --mean and --std are used");
                Ok(Normalize::channel(IMAGENET_MEAN, IMAGENET_STD))
            }
        }
    }
}
