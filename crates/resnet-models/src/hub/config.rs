//! `config.json`, as timm and transformers write it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::source::PREPROCESSOR;
use crate::{Error, Interpolation, Preprocessing};

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
    /// The network's name.
    pub arch: String,
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
    serde_json::from_slice(&bytes).map_err(|error| wrong(path, format!("it is no configuration: {error}")))
}

fn typed<T: DeserializeOwned>(path: &Path, value: Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|error| wrong(path, format!("it is no configuration: {error}")))
}

/// timm's form, in which the pictures' part stands under `pretrained_cfg`, or in old files beside the name.
#[derive(Deserialize)]
struct Timm {
    architecture: String,
    #[serde(default)]
    model_args: BTreeMap<String, Value>,
    label_names: Option<Vec<String>>,
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
    label_names: Option<Vec<String>>,
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
    Ok(ModelConfig {
        arch: config.architecture,
        preprocessing: Some(preprocessing),
        classes: config.label_names.or(weights.label_names),
    })
}

/// True for an argument that says what holds anyway. The number of classes is the weights' own.
fn is_usual(argument: &str, value: &Value) -> bool {
    match argument {
        "num_classes" => true,
        "in_chans" => value == 3,
        "global_pool" => value == "avg",
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

/// transformers' form of a ResNet.
#[derive(Deserialize)]
struct Transformers {
    model_type: String,
    #[serde(default)]
    depths: Vec<usize>,
    #[serde(default)]
    layer_type: String,
    #[serde(default)]
    hidden_act: String,
    embedding_size: Option<usize>,
    #[serde(default)]
    hidden_sizes: Vec<usize>,
    #[serde(default)]
    downsample_in_first_stage: bool,
    #[serde(default)]
    downsample_in_bottleneck: bool,
    #[serde(default)]
    id2label: BTreeMap<usize, String>,
}

/// (type of block, depths, name, name with the stride in the first convolution).
const TRANSFORMERS: [(&str, [usize; 4], &str, &str); 5] = [
    ("basic", [2, 2, 2, 2], "resnet18", "resnet18"),
    ("basic", [3, 4, 6, 3], "resnet34", "resnet34"),
    ("bottleneck", [3, 4, 6, 3], "resnet50", "resnet50_v1"),
    ("bottleneck", [3, 4, 23, 3], "resnet101", "resnet101_v1"),
    ("bottleneck", [3, 8, 36, 3], "resnet152", "resnet152_v1"),
];

fn transformers(path: &Path, value: Value) -> Result<ModelConfig, Error> {
    let config: Transformers = typed(path, value)?;
    if config.model_type != "resnet" {
        return Err(wrong(path, format!("it is of a {:?}, not of a ResNet", config.model_type)));
    }
    let row = TRANSFORMERS.iter().find(|row| row.0 == config.layer_type && row.1[..] == config.depths[..]);
    let widths: &[usize] = if config.layer_type == "basic" { &[64, 128, 256, 512] } else { &[256, 512, 1024, 2048] };
    let usual = config.hidden_sizes == widths
        && config.embedding_size == Some(64)
        && config.hidden_act == "relu"
        && !config.downsample_in_first_stage;
    let Some(row) = row.filter(|_| usual) else {
        return Err(wrong(path, "its depths, widths or activation are of no ResNet-18, 34, 50, 101 or 152"));
    };
    let arch = if config.downsample_in_bottleneck { row.3 } else { row.2 };
    let labels: Vec<String> = config.id2label.into_values().collect();
    let pictures = path.with_file_name(PREPROCESSOR);
    Ok(ModelConfig {
        arch: arch.to_owned(),
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
