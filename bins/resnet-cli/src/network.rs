//! A network with weights from a file or from the hub.

mod parts;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use resnet_data::{Dataset, Filter, Normalize, Split, TrainTestSplit, Transform, shown};
use resnet_models::hub::NewHead;
use resnet_models::{Json, Network, Outputs, Parameters, Preprocessing, PretrainedOptions, from_pretrained_with};
use resnet_train::multi_crop;
use resnet_train::recipe::Normalization;
use serde::de::DeserializeOwned;

use crate::args::{DatasetArgs, NormalizeArgs, WeightsArgs};
use crate::failure::bad_input;
use crate::output::{self, Download};

/// Pictures of more rows are meant only where somebody says so: no published network takes them.
const MOST_SAID: usize = 1024;

/// A network with its weights, and what is known of them.
pub struct Loaded {
    /// The network, on the device asked for.
    pub network: Network,
    /// Its parameters.
    pub parameters: Parameters,
    /// Names of the classes, where they are known.
    pub classes: Option<Vec<String>>,
    /// What its outputs mean.
    pub outputs: Outputs,
    /// The data set that it was trained on, where the file names it.
    pub dataset: Option<String>,
    /// What `--hub` or `--weights` said, for messages.
    pub name: String,
    /// What was guessed, converted or left alone of the weights' file.
    notes: Vec<String>,
    /// What stands in the place of a head where that is no linear layer.
    other_head: Option<String>,
    preprocessing: Option<Preprocessing>,
    normalize: Option<Normalization>,
    /// The file of the weights: what a run wrote lies beside it.
    file: PathBuf,
    /// How the folder that it was trained on was split, where it had no parts of its own.
    train_test_split: Option<TrainTestSplit>,
}

/// Makes the network and reads its weights; its number of classes is that of the weights.
pub fn load(args: &WeightsArgs, device: &Device) -> anyhow::Result<Loaded> {
    load_with(args, device, None)
}

/// As [`load`], with a new head if one is given.
pub fn load_with(args: &WeightsArgs, device: &Device, new_head: Option<NewHead>) -> anyhow::Result<Loaded> {
    args.check()?;
    let name = match (&args.hub, &args.weights) {
        (Some(hub), _) => hub.clone(),
        (None, Some(file)) => {
            if let Some(arch) = &args.arch {
                resnet_models::config(arch)?;
            }
            file.display().to_string()
        }
        (None, None) => return Err(bad_input("name the weights: --hub NAME or --weights FILE")),
    };
    let options = PretrainedOptions {
        arch: args.arch.clone(),
        revision: args.revision.clone(),
        device: device.clone(),
        entry: args.part.entry.clone(),
        prefix: args.part.prefix.clone(),
        new_head,
        ..PretrainedOptions::default()
    };
    let loaded = from_pretrained_with(&name, &options, &mut Download::default())?;
    let mut classes = loaded.classes;
    if let Some(names) = loaded.unfitting_names {
        let count = loaded.network.config().classes;
        output::say(format!("{name} has names for {names} classes and weights for {count}: the classes are numbered"));
        classes = Some((0..count).map(|class| class.to_string()).collect());
    }
    let training = loaded.training;
    Ok(Loaded {
        normalize: value(training.normalize, "normalize", &loaded.file)?,
        train_test_split: value(training.split, "division", &loaded.file)?,
        dataset: training.dataset,
        file: loaded.file,
        network: loaded.network,
        parameters: loaded.parameters,
        other_head: loaded.other_head,
        notes: loaded.notes,
        classes,
        outputs: loaded.outputs,
        preprocessing: loaded.preprocessing,
        name,
    })
}

/// A value of the weights' card.
fn value<T: DeserializeOwned>(json: Option<Json>, key: &str, file: &Path) -> anyhow::Result<Option<T>> {
    let wrong = |error| bad_input(format!("{}: metadata {key:?}: {error}", file.display()));
    json.map(|json| json.read().map_err(wrong)).transpose()
}

impl Loaded {
    /// Says what was guessed, converted or left alone: once it is known that the weights are of use.
    pub fn tell(&self) {
        self.notes.iter().for_each(|note| output::inform(format!("{}: {note}", self.name)));
    }

    /// Refuses weights without a head, which tell no classes.
    pub fn must_have_head(&self) -> anyhow::Result<()> {
        if self.network.config().classes > 0 {
            return Ok(());
        }
        let name = &self.name;
        let why = match &self.other_head {
            Some(what) => format!("they have no head that is one linear layer ({what})"),
            None => "they have no head".to_owned(),
        };
        Err(bad_input(format!("{name}: these weights tell no classes: {why}; use embed, or finetune to train a head")))
    }

    /// Refuses networks whose images are not of three channels.
    pub fn must_take_colour(&self) -> anyhow::Result<()> {
        match self.network.config().in_chans {
            3 => Ok(()),
            other => Err(bad_input(format!(
                "{}: these weights take images of {other} channels, and this command reads images of 3 (red, green, blue); \
                 use forward with a tensor{}",
                self.name,
                if other == 1 { ", predict or embed" } else { "" }
            ))),
        }
    }

    /// Whether pictures are to become grey; refuses networks that take neither colour nor grey.
    pub fn takes_grey(&self) -> anyhow::Result<bool> {
        match self.network.config().in_chans {
            1 => Ok(true),
            _ => self.must_take_colour().map(|()| false),
        }
    }

    /// What the flags say, else what the weights say, else ImageNet's.
    ///
    /// Weights that were trained with the mean image of a set need that set's training images.
    pub fn normalize(&self, flags: &NormalizeArgs, data: &DatasetArgs) -> anyhow::Result<Normalize> {
        if let (Some(mean), Some(std)) = (flags.mean, flags.std) {
            return Ok(Normalize::channel(mean, std));
        }
        if let Some(Preprocessing { mean, std, .. }) = self.preprocessing {
            return Ok(Normalize::channel(self.alike(mean), self.alike(std)));
        }
        match (&self.normalize, &self.dataset) {
            (Some(Normalization::Channel { mean, std }), _) => Ok(Normalize::channel(*mean, *std)),
            (Some(from_images), Some(dataset)) => {
                Ok(from_images.resolve(&*self.open(data, dataset, Split::Train)?)?)
            }
            _ => {
                output::note("the weights do not say how images were normalised: ImageNet's --mean and --std are used");
                let usual = Preprocessing::default();
                Ok(Normalize::channel(self.alike(usual.mean), self.alike(usual.std)))
            }
        }
    }

    /// What becomes of a picture: as the flags say, else as the weights say, else the middle at the network's size.
    ///
    /// Images made for a network that says nothing, as CIFAR's, are taken whole.
    pub fn transform(
        &self,
        flags: &NormalizeArgs,
        data: &DatasetArgs,
        dataset: Option<&Arc<dyn Dataset>>,
    ) -> anyhow::Result<Transform> {
        if self.preprocessing.is_some() {
            return Ok(self.preprocessing(flags)?.transform()?);
        }
        let (size, normalize) = (self.image_size(flags)?, self.normalize(flags, data)?);
        Ok(match flags.crop_pct {
            Some(crop) => {
                let pictures = Preprocessing { size, crop, ..Preprocessing::default() };
                pictures.check().map_err(|error| bad_input(format!("--crop-pct: {}", error.message)))?;
                Transform::center_crop(size, crop, Filter::Bilinear, normalize)?
            }
            None => multi_crop::center(size, dataset.map(|set| &**set), normalize)?,
        })
    }

    /// For grey pictures the mean of three channels' numbers.
    fn alike(&self, numbers: [f32; 3]) -> [f32; 3] {
        match self.network.config().in_chans {
            1 => [numbers.iter().sum::<f32>() / 3.0; 3],
            _ => numbers,
        }
    }

    /// The pictures that the network takes: as the flags say, else as the weights say, else the usual ones.
    ///
    /// # Errors
    /// As [`Loaded::image_size`].
    pub fn preprocessing(&self, flags: &NormalizeArgs) -> anyhow::Result<Preprocessing> {
        let size = self.image_size(flags)?;
        // Thumbnails are taken whole.
        let usual = Preprocessing { crop: if size >= 128 { 0.875 } else { 1.0 }, ..Preprocessing::default() };
        let mut own = self.preprocessing.unwrap_or(usual);
        if let (None, Some(Normalization::Channel { mean, std })) = (self.preprocessing, &self.normalize) {
            (own.mean, own.std) = (*mean, *std);
        }
        Ok(Preprocessing {
            size,
            crop: flags.crop_pct.unwrap_or(own.crop),
            mean: flags.mean.unwrap_or(self.alike(own.mean)),
            std: flags.std.unwrap_or(self.alike(own.std)),
            ..own
        })
    }

    /// What pictures are resized with: as the weights say, else bilinearly.
    pub fn filter(&self) -> Filter {
        self.preprocessing.map_or(Filter::Bilinear, |own| own.interpolation.into())
    }

    /// # Errors
    /// Where the network's output for a file is no number.
    pub fn must_be_finite(&self, output: &[f32], path: &Path) -> anyhow::Result<()> {
        if output.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        let (name, path) = (&self.name, shown(path));
        Err(bad_input(format!("{name}: the network's output for {path} is not finite; these weights cannot be used")))
    }

    /// Rows and columns of the network's input.
    ///
    /// # Errors
    /// Where a file asks for so large ones that they take gigabytes, and no flag does.
    pub fn image_size(&self, flags: &NormalizeArgs) -> anyhow::Result<usize> {
        let own = self.preprocessing.map_or(self.network.config().image_size, |own| own.size);
        match flags.image_size {
            Some(size) => Ok(size as usize),
            None if own > MOST_SAID => Err(bad_input(format!(
                "{}: it asks for pictures of {own}x{own} pixels, which take gigabytes: if that is meant, say --image-size {own}",
                self.name
            ))),
            None => Ok(own),
        }
    }
}
