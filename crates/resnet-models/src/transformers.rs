//! Configurations as Hugging Face's transformers writes them: `config.json` with `model_type` "resnet".

use std::collections::BTreeMap;

use resnet_blocks::{Branch, StrideIn};
use serde::Deserialize;

use crate::{Config, Error};

#[derive(Deserialize)]
struct File {
    model_type: String,
    #[serde(default = "embedding_size")]
    embedding_size: usize,
    #[serde(default = "hidden_sizes")]
    hidden_sizes: Vec<usize>,
    #[serde(default = "depths")]
    depths: Vec<usize>,
    #[serde(default = "layer_type")]
    layer_type: String,
    #[serde(default = "hidden_act")]
    hidden_act: String,
    #[serde(default)]
    downsample_in_first_stage: bool,
    #[serde(default)]
    downsample_in_bottleneck: bool,
    #[serde(default)]
    id2label: BTreeMap<String, String>,
    num_labels: Option<usize>,
}

// What transformers leaves out of a file where it is as usual.
fn embedding_size() -> usize {
    64
}
fn hidden_sizes() -> Vec<usize> {
    vec![256, 512, 1024, 2048]
}
fn depths() -> Vec<usize> {
    vec![3, 4, 6, 3]
}
fn layer_type() -> String {
    "bottleneck".into()
}
fn hidden_act() -> String {
    "relu".into()
}

impl Config {
    /// The network of a `config.json` of transformers; its weights get torchvision's names when they are loaded.
    ///
    /// # Errors
    /// [`Error::Transformers`] if it is not JSON, describes another kind of network, or a ResNet that this crate lacks.
    pub fn from_transformers(json: &str) -> Result<Self, Error> {
        let file: File = serde_json::from_str(json).map_err(|error| Error::Transformers(error.to_string()))?;
        let lacks = |what: String| Err(Error::Transformers(what));
        if file.model_type != "resnet" {
            return lacks(format!("model_type is {:?}, not \"resnet\"", file.model_type));
        }
        if file.hidden_act != "relu" {
            return lacks(format!("hidden_act is {:?}; only \"relu\" is known", file.hidden_act));
        }
        if file.downsample_in_first_stage {
            return lacks("downsample_in_first_stage is set; only networks without are known".into());
        }
        if file.depths.is_empty() || file.depths.len() != file.hidden_sizes.len() {
            let (depths, sizes) = (&file.depths, &file.hidden_sizes);
            return lacks(format!("depths {depths:?} and hidden_sizes {sizes:?} do not fit together"));
        }
        let branch = match (file.layer_type.as_str(), file.downsample_in_bottleneck) {
            ("basic", _) => Branch::Basic,
            ("bottleneck", true) => Branch::Bottleneck(StrideIn::First),
            ("bottleneck", false) => Branch::Bottleneck(StrideIn::Middle),
            (other, _) => return lacks(format!("layer_type {other:?}; \"basic\" and \"bottleneck\" are known")),
        };
        if let Some(size) = file.hidden_sizes.iter().find(|&&size| size == 0 || size % branch.expansion() != 0) {
            return lacks(format!("a hidden size of {size} does not divide by {}", branch.expansion()));
        }
        let plain = Self::default();
        let classes = match (file.num_labels, file.id2label.len()) {
            (Some(labels), _) => labels,
            (None, 0) => plain.classes,
            (None, labels) => labels,
        };
        Ok(Self {
            name: format!("resnet{}", depth(&file.depths, branch)),
            stem_channels: file.embedding_size,
            widths: file.hidden_sizes.iter().map(|size| size / branch.expansion()).collect(),
            blocks: file.depths,
            branch,
            classes,
            ..plain
        })
    }
}

/// Layers with weights on the longest way: the number in the name.
fn depth(blocks: &[usize], branch: Branch) -> usize {
    blocks.iter().sum::<usize>() * branch.layers() + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_configurations_are_those_of_the_registry() -> Result<(), Error> {
        let fifty = r#"{"model_type": "resnet", "depths": [3, 4, 6, 3], "hidden_sizes": [256, 512, 1024, 2048],
            "embedding_size": 64, "layer_type": "bottleneck", "hidden_act": "relu", "downsample_in_first_stage": false}"#;
        assert_eq!(Config::from_transformers(fifty)?, crate::config("resnet50")?);
        let eighteen = r#"{"model_type": "resnet", "depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512],
            "layer_type": "basic", "id2label": {"0": "cat", "1": "dog"}}"#;
        assert_eq!(Config::from_transformers(eighteen)?, crate::config("resnet18")?.with_classes(2));
        Ok(())
    }

    #[test]
    fn what_cannot_be_built_is_an_error_that_says_why() {
        for (json, word) in [
            ("{", "EOF"),
            (r#"{"model_type": "vit"}"#, "vit"),
            (r#"{"model_type": "resnet", "hidden_act": "gelu"}"#, "gelu"),
            (r#"{"model_type": "resnet", "depths": [1]}"#, "hidden_sizes"),
            (r#"{"model_type": "resnet", "layer_type": "wide"}"#, "wide"),
            (r#"{"model_type": "resnet", "hidden_sizes": [255, 1, 1, 1]}"#, "255"),
        ] {
            let error = Config::from_transformers(json).unwrap_err().to_string();
            assert!(error.contains(word), "{json}: {error}");
        }
    }
}
