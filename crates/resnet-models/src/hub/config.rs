//! `config.json`, as timm and transformers write it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::labels::LabelNames;
use super::source::PREPROCESSOR;
use crate::{Config, Error, Interpolation, Preprocessing};

/// The keys that tell whose configuration it is.
const OF_TIMM: &str = "architecture";
const OF_TRANSFORMERS: &str = "model_type";

/// True where transformers wrote it.
pub(super) fn is_of_transformers(path: &Path) -> Result<bool, Error> {
    let value: Value = parse(path)?;
    Ok(value.get(OF_TIMM).is_none() && value.get(OF_TRANSFORMERS).is_some())
}

/// What a configuration says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ModelConfig {
    /// The network.
    pub network: Config,
    /// The pictures that the weights were made for.
    pub preprocessing: Option<Preprocessing>,
    /// Names of the classes.
    pub classes: Option<Vec<String>>,
}

impl ModelConfig {
    /// Reads `config.json` and, where it is transformers', the file about pictures beside it.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let value: Value = parse(path)?;
        if value.get(OF_TIMM).is_some() {
            return timm(path, value);
        }
        if value.get(OF_TRANSFORMERS).is_some() {
            return transformers(path, value);
        }
        Err(wrong(path, "it has neither `architecture` (timm) nor `model_type` (transformers): no network is named"))
    }
}

fn wrong(path: &Path, message: impl Into<String>) -> Error {
    Error::Config { file: path.to_owned(), message: message.into() }
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = std::fs::read(path).map_err(|error| wrong(path, error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let what =
            if error.is_data() { "it is no configuration" } else { "it is no JSON: delete it and fetch it again" };
        wrong(path, format!("{what} ({error})"))
    })
}

fn typed<T: DeserializeOwned>(path: &Path, value: Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|error| wrong(path, format!("it is no configuration ({error})")))
}

/// timm's form, in which the pictures' part stands under `pretrained_cfg`, or in old files beside the name.
#[derive(Deserialize)]
struct Timm {
    architecture: String,
    num_classes: Option<usize>,
    #[serde(default)]
    model_args: BTreeMap<String, Value>,
    label_names: Option<LabelNames>,
    #[serde(default)]
    label_descriptions: BTreeMap<String, String>,
    pretrained_cfg: Option<Value>,
}

/// What timm says of the weights.
#[derive(Deserialize)]
struct TimmWeights {
    input_size: Option<[usize; 3]>,
    crop_pct: Option<f64>,
    interpolation: Option<String>,
    mean: Option<[f32; 3]>,
    std: Option<[f32; 3]>,
    label_names: Option<LabelNames>,
    #[serde(default)]
    label_descriptions: BTreeMap<String, String>,
}

fn timm(path: &Path, value: Value) -> Result<ModelConfig, Error> {
    let config: Timm = typed(path, value.clone())?;
    if let Some((argument, value)) = config.model_args.iter().find(|(name, value)| !is_usual(name, value)) {
        let message = format!("`model_args` changes the network ({argument}: {value}), which is not supported");
        return Err(wrong(path, message));
    }
    let weights: TimmWeights = typed(path, config.pretrained_cfg.unwrap_or(value))?;
    let usual = Preprocessing::default();
    let size = match weights.input_size {
        Some([3, height, width]) if height == width && height > 0 => height,
        None => usual.size,
        Some(size) => return Err(wrong(path, format!("`input_size` {size:?} is not that of square colour pictures"))),
    };
    let crop = weights.crop_pct.unwrap_or(usual.crop);
    let preprocessing = Preprocessing {
        size,
        crop,
        interpolation: match weights.interpolation.as_deref() {
            None => usual.interpolation,
            Some(name) => interpolation(path, name)?,
        },
        mean: weights.mean.unwrap_or(usual.mean),
        std: weights.std.unwrap_or(usual.std),
    };
    check(path, &preprocessing)?;
    let network =
        crate::config(&config.architecture).map_err(|error| wrong(path, format!("`architecture`: {error}")))?;
    let mut descriptions = config.label_descriptions;
    descriptions.extend(weights.label_descriptions);
    let names = config.label_names.or(weights.label_names);
    let classes = names.map(|names| names.all(&descriptions, config.num_classes));
    Ok(ModelConfig { network, preprocessing: Some(preprocessing), classes })
}

/// True for an argument that says what holds anyway. The number of classes is the weights' own.
fn is_usual(argument: &str, value: &Value) -> bool {
    match argument {
        "num_classes" => true,
        "in_chans" => value == 3,
        "global_pool" => value == "avg",
        // These act in training only.
        "drop_rate" | "drop_path_rate" | "drop_block_rate" | "zero_init_last" => true,
        _ => value.is_null(),
    }
}

fn interpolation(path: &Path, name: &str) -> Result<Interpolation, Error> {
    match name {
        "bilinear" => Ok(Interpolation::Bilinear),
        "bicubic" => Ok(Interpolation::Bicubic),
        other => Err(wrong(path, format!("`interpolation` {other:?} is neither bilinear nor bicubic"))),
    }
}

fn check(path: &Path, preprocessing: &Preprocessing) -> Result<(), Error> {
    if !(preprocessing.crop > 0.0 && preprocessing.crop <= 1.0) {
        return Err(wrong(path, format!("a crop of {} is not in (0, 1]", preprocessing.crop)));
    }
    if preprocessing.std.iter().any(|std| !std.is_finite() || *std <= 0.0) {
        return Err(wrong(path, format!("deviations {:?} are not three positive numbers", preprocessing.std)));
    }
    Ok(())
}

/// What transformers says beside the network.
#[derive(Deserialize)]
struct Labels {
    #[serde(default)]
    id2label: BTreeMap<usize, String>,
}

fn transformers(path: &Path, value: Value) -> Result<ModelConfig, Error> {
    let config = Config::from_transformers(&value.to_string()).map_err(|error| wrong(path, error.to_string()))?;
    let labels: Labels = typed(path, value)?;
    let labels: Vec<String> = labels.id2label.into_values().collect();
    let pictures = path.with_file_name(PREPROCESSOR);
    Ok(ModelConfig {
        network: config,
        preprocessing: if pictures.is_file() { Some(preprocessor(&pictures)?) } else { None },
        // What transformers writes where nobody gave names.
        classes: Some(labels).filter(|labels| labels.first().is_some_and(|label| label != "LABEL_0")),
    })
}

/// `preprocessor_config.json` of a ConvNextImageProcessor, which transformers' ResNets use.
#[derive(Deserialize)]
struct Preprocessor {
    size: Value,
    crop_pct: Option<f64>,
    resample: Option<u8>,
    image_mean: [f32; 3],
    image_std: [f32; 3],
}

/// From this size on the processor takes pictures whole.
const WHOLE_FROM: usize = 384;

fn preprocessor(path: &Path) -> Result<Preprocessing, Error> {
    let file: Preprocessor = parse(path)?;
    let size = file.size.as_u64().or_else(|| file.size.get("shortest_edge")?.as_u64());
    let Some(size) = size.and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0) else {
        return Err(wrong(path, "`size` names no shortest edge"));
    };
    let preprocessing = Preprocessing {
        size,
        crop: if size < WHOLE_FROM { file.crop_pct.unwrap_or(224.0 / 256.0) } else { 1.0 },
        interpolation: match file.resample {
            Some(2) => Interpolation::Bilinear,
            // Pillow's numbers; the processor's default is 3.
            Some(3) | None => Interpolation::Bicubic,
            Some(other) => {
                return Err(wrong(path, format!("`resample` {other} is neither bilinear (2) nor bicubic (3)")));
            }
        },
        mean: file.image_mean,
        std: file.image_std,
    };
    check(path, &preprocessing)?;
    Ok(preprocessing)
}
