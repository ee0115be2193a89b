//! What an experiment's file says.

use std::collections::BTreeMap;
use std::fmt;

use resnet_train::recipe::{Compute, parse_toml};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// Name and file of each, in the order of the papers.
const EXPERIMENTS: &[(&str, &str)] = &[
    ("degradation", include_str!("data/degradation.toml")),
    ("cifar-table6", include_str!("data/cifar-table6.toml")),
    ("shortcuts", include_str!("data/shortcuts.toml")),
    ("activations", include_str!("data/activations.toml")),
    ("preact-depth", include_str!("data/preact-depth.toml")),
    ("plain-vs-residual-imagenet", include_str!("data/plain-vs-residual-imagenet.toml")),
    ("architectures", include_str!("data/architectures.toml")),
];

/// How much of an experiment is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// As published: days on a GPU.
    Full,
    /// What two cores do in about two hours; the order of the variants is what counts.
    Cpu,
    /// Minutes: whether everything works.
    Smoke,
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Cpu => "cpu",
            Self::Smoke => "smoke",
        })
    }
}

/// A table or figure of a paper.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// What `resnet reproduce` calls it.
    #[serde(skip)]
    pub name: String,
    /// What it shows, in a line.
    pub title: String,
    /// The paper and its table or figure.
    pub source: String,
    /// What it shows and what to look at, in the paper's terms.
    pub about: String,
    /// The data set of the published results.
    pub dataset: String,
    /// How it is run at each scale.
    pub scale: BTreeMap<Scale, ScaleConfig>,
    /// What is compared, in the order of the table.
    pub variants: Vec<Variant>,
}

/// How an experiment is run at one scale.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleConfig {
    /// The recipe, by name.
    pub recipe: String,
    /// Another data set than the published.
    #[serde(default)]
    pub dataset: Option<String>,
    /// Another length; the schedule is stretched with it.
    #[serde(default)]
    pub epochs: Option<u64>,
    /// What the networks compute in; as the recipe says where nothing is said.
    #[serde(default)]
    pub dtype: Option<Compute>,
    /// Only the first images of the training set.
    #[serde(default)]
    pub train_images: Option<usize>,
    /// Only the first images of the test set.
    #[serde(default)]
    pub test_images: Option<usize>,
    /// Runs of each variant, with seeds from 0 on; one where nothing is said.
    #[serde(default)]
    pub seeds: Option<u32>,
    /// Networks in place of others.
    #[serde(default)]
    pub replace: BTreeMap<String, String>,
    /// Only these variants.
    #[serde(default)]
    pub variants: Vec<String>,
    /// Test error in percent above which the paper says "fail". A limit of the published length: what has trained for
    /// a few epochs may be above it and yet do well.
    #[serde(default)]
    pub fail_above: Option<f64>,
    /// MultiCrop of each test image in the last evaluation.
    #[serde(default)]
    pub crop: resnet_train::multi_crop::Crop,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// As the paper calls it.
    pub name: String,
    /// Variants of one group are drawn into one chart.
    #[serde(default)]
    pub group: String,
    /// The network, by its name in the registry.
    pub arch: String,
    /// Fields of the network's configuration that differ from the registry's.
    #[serde(default)]
    pub network: Map<String, Value>,
    /// Another data set than the experiment's.
    #[serde(default)]
    pub dataset: Option<String>,
    /// What the paper prints.
    #[serde(default)]
    pub published: Published,
}

/// A published value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Top-1 test error in percent.
    #[serde(default)]
    pub error: Option<f64>,
    /// Top-5 test error in percent.
    #[serde(default)]
    pub top5: Option<f64>,
    /// The paper says "fail".
    #[serde(default)]
    pub fail: bool,
    /// What stands beside it.
    #[serde(default)]
    pub note: String,
    /// The table or figure.
    #[serde(default)]
    pub source: String,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = match (self.error, self.top5) {
            (Some(error), Some(top5)) => format!("{error:.2} / {top5:.2}"),
            (Some(error), None) => format!("{error:.2}"),
            _ if self.fail => "fail".into(),
            _ if self.note.is_empty() => "-".into(),
            _ => String::new(),
        };
        let note = match (number.is_empty(), self.note.is_empty()) {
            (_, true) => String::new(),
            (true, false) => self.note.clone(),
            (false, false) => format!(" ({})", self.note),
        };
        let source = if self.source.is_empty() { String::new() } else { format!(", {}", self.source) };
        write!(f, "{number}{note}{source}")
    }
}

impl Experiment {
    /// The names of all experiments.
    pub fn names() -> Vec<&'static str> {
        EXPERIMENTS.iter().map(|(name, _)| *name).collect()
    }

    /// An experiment by name.
    ///
    /// # Errors
    /// When there is none of that name; the message has the nearest.
    pub fn load(name: &str) -> Result<Self> {
        let Some((known, text)) = EXPERIMENTS.iter().find(|(known, _)| *known == name) else {
            let names = Self::names();
            let nearest = resnet_models::weights::nearest(name, names.iter().copied());
            let hint = nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"));
            return Err(Error::Invalid(format!(
                "no experiment is called {name:?}{hint} (there are {})",
                names.join(", ")
            )));
        };
        let mut experiment: Self = parse_toml(text, known)?;
        experiment.name = (*known).to_string();
        Ok(experiment)
    }
}
