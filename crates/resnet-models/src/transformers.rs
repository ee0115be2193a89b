//! Configurations as Hugging Face's transformers writes them: `config.json` with `model_type` "resnet".

use resnet_blocks::{Branch, StrideIn};

use crate::hub::json::{Fields, shown};
use crate::{Config, Error};

/// No published network has more blocks in a stage, or wider layers: what an unknown file asks for beyond is no network.
const MOST_BLOCKS: usize = 1000;
const MOST_CHANNELS: usize = 1 << 16;
const MOST_STAGES: usize = 16;

impl Config {
    /// The network of a `config.json` of transformers; its weights get torchvision's names when they are loaded.
    ///
    /// # Errors
    /// [`Error::Transformers`] if it is not JSON, describes another kind of network, or a ResNet that this crate lacks.
    pub fn from_transformers(json: &str) -> Result<Self, Error> {
        let fields = Fields::parse(json.as_bytes()).map_err(Error::Transformers)?;
        Self::of_transformers(&fields).map_err(Error::Transformers)
    }

    /// As [`Config::from_transformers`]; fields that are not there are as transformers has them by default.
    pub(crate) fn of_transformers(fields: &Fields) -> Result<Self, String> {
        let kind = fields.text("model_type")?.unwrap_or_default();
        if kind != "resnet" {
            let of_timm = if kind.starts_with("timm") { " without an `architecture`" } else { "" };
            return Err(format!("`model_type` is {kind:?}{of_timm}; \"resnet\" is known, and configurations of timm"));
        }
        let act = fields.text("hidden_act")?.unwrap_or("relu");
        if act != "relu" {
            return Err(format!("`hidden_act` is {act:?}; only \"relu\" is known"));
        }
        if fields.flag("downsample_in_first_stage")? == Some(true) {
            return Err("`downsample_in_first_stage` is true; only networks without are known".into());
        }
        if let Some(channels) = fields.get("num_channels").filter(|channels| **channels != 3) {
            return Err(format!("`num_channels` is {}; pictures have 3", shown(channels)));
        }
        let depths = fields.counts("depths")?.unwrap_or_else(|| vec![3, 4, 6, 3]);
        let sizes = fields.counts("hidden_sizes")?.unwrap_or_else(|| vec![256, 512, 1024, 2048]);
        if !(1..=MOST_STAGES).contains(&depths.len()) || depths.len() != sizes.len() {
            let (stages, widths) = (depths.len(), sizes.len());
            return Err(format!("`depths` has {stages} stages and `hidden_sizes` {widths}, which do not fit together"));
        }
        within("depths", &depths, MOST_BLOCKS)?;
        within("hidden_sizes", &sizes, MOST_CHANNELS)?;
        let stem = fields.count("embedding_size")?.unwrap_or(64);
        within("embedding_size", &[stem], MOST_CHANNELS)?;
        let inside = fields.flag("downsample_in_bottleneck")?.unwrap_or(false);
        let branch = match (fields.text("layer_type")?.unwrap_or("bottleneck"), inside) {
            ("basic", _) => Branch::Basic,
            ("bottleneck", true) => Branch::Bottleneck(StrideIn::First),
            ("bottleneck", false) => Branch::Bottleneck(StrideIn::Middle),
            (other, _) => return Err(format!("`layer_type` is {other:?}; \"basic\" and \"bottleneck\" are known")),
        };
        if let Some(size) = sizes.iter().find(|&&size| size % branch.expansion() != 0) {
            return Err(format!("`hidden_sizes`: {size} does not divide by {}", branch.expansion()));
        }
        let plain = Self::default();
        let labels = match fields.get("id2label") {
            Some(serde_json::Value::Object(labels)) if !labels.is_empty() => Some(labels.len()),
            _ => None,
        };
        Ok(Self {
            name: format!("resnet{}", depth(&depths, branch)),
            stem_channels: stem,
            widths: sizes.iter().map(|size| size / branch.expansion()).collect(),
            blocks: depths,
            branch,
            classes: fields.count("num_labels")?.or(labels).unwrap_or(plain.classes),
            ..plain
        })
    }
}

fn within(field: &str, numbers: &[usize], most: usize) -> Result<(), String> {
    match numbers.iter().find(|number| !(1..=most).contains(*number)) {
        Some(number) => Err(format!("`{field}`: {number} is not in 1 to {most}")),
        None => Ok(()),
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
            (r#"{"model_type": "vit"}"#, "`model_type` is \"vit\""),
            (r#"{"model_type": "timm_wrapper"}"#, "`architecture`"),
            (r#"{"model_type": "resnet", "num_channels": 1}"#, "`num_channels` is 1"),
            (r#"{"model_type": "resnet", "downsample_in_first_stage": true}"#, "`downsample_in_first_stage`"),
            (r#"{"model_type": "resnet", "depths": [1000000000000, 4, 6, 3]}"#, "`depths`: 1000000000000"),
            (r#"{"model_type": "resnet", "depths": [0, 4, 6, 3]}"#, "`depths`: 0"),
            (r#"{"model_type": "resnet", "depths": "3"}"#, "`depths` is \"3\""),
            (r#"{"model_type": "resnet", "hidden_sizes": [256, 512, 1024, 18446744073709551612]}"#, "`hidden_sizes`"),
            (r#"{"model_type": "resnet", "embedding_size": 0}"#, "`embedding_size`: 0"),
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
