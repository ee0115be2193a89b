//! `config.json`, whoever wrote it.

use std::path::Path;

use super::json::{Fields, read, wrong};
use super::labels::LabelNames;
use super::source::PREPROCESSOR;
use super::{processor, timm};
use crate::{Config, Error, Outputs, Preprocessing};

/// The key that tells whose configuration it is, where it is not timm's.
const OF_TRANSFORMERS: &str = "model_type";

/// True where transformers wrote it.
pub(super) fn is_of_transformers(path: &Path) -> Result<bool, Error> {
    let fields = read(path)?;
    Ok(!timm::wrote(&fields) && fields.get(OF_TRANSFORMERS).is_some())
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
    /// How many of the classes it names.
    pub named: Option<usize>,
    /// How many classes it says there are, beside their names.
    pub stated: Option<usize>,
    /// What the outputs mean, where that is said.
    pub outputs: Option<Outputs>,
}

impl ModelConfig {
    /// Reads `config.json` and, where it is transformers', the file about pictures beside it.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let fields = read(path)?;
        let config = if timm::wrote(&fields) {
            timm::config(&fields)
        } else if fields.get(OF_TRANSFORMERS).is_some() {
            transformers(&fields)
        } else {
            Err("it has neither `architecture` (timm) nor `model_type` (transformers): no network is named".into())
        };
        let mut config = config.map_err(|message| wrong(path, message))?;
        let pictures = path.with_file_name(PREPROCESSOR);
        if !timm::wrote(&fields) && pictures.is_file() {
            let read = read(&pictures)?;
            config.preprocessing = Some(processor::preprocessing(&read).map_err(|message| wrong(&pictures, message))?);
        }
        Ok(config)
    }
}

/// `problem_type`, which transformers and its wrapper of timm's networks write.
pub(super) fn outputs(fields: &Fields) -> Result<Option<Outputs>, String> {
    let Some(name) = fields.text("problem_type")? else { return Ok(None) };
    let unknown = || {
        let known = "single_label_classification, multi_label_classification and regression";
        format!("`problem_type` {name:?} is none of {known}")
    };
    Outputs::from_problem_type(name).map(Some).ok_or_else(unknown)
}

fn transformers(fields: &Fields) -> Result<ModelConfig, String> {
    let network = Config::of_transformers(fields)?;
    let names = LabelNames::of(fields, "id2label")?;
    Ok(ModelConfig {
        named: names.as_ref().map(LabelNames::len),
        stated: fields.count("num_labels").unwrap_or(None),
        preprocessing: None,
        classes: names.map(|names| names.all(&Default::default(), fields.count("num_labels").unwrap_or(None))),
        outputs: outputs(fields)?,
        network,
    })
}
