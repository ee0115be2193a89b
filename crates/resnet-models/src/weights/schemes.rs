//! Schemes of names that weights are written in.

use candle_core::Tensor;

/// Whose names tensors have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Names {
    /// torchvision's and timm's, which are this project's too.
    #[default]
    Torchvision,
    /// Those of transformers' `ResNetForImageClassification`.
    Transformers,
}

impl Names {
    /// Renames tensors that have torchvision's names.
    ///
    /// # Errors
    /// The first name that has no counterpart.
    pub fn apply(self, tensors: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, String> {
        match self {
            Self::Torchvision => Ok(tensors),
            Self::Transformers => tensors
                .into_iter()
                .map(|(name, tensor)| to_transformers(&name).map(|theirs| (theirs, tensor)).ok_or(name))
                .collect(),
        }
    }
}

/// transformers' name of a tensor that torchvision names so; `None` for names that its ResNets do not have.
pub(super) fn to_transformers(name: &str) -> Option<String> {
    if let Some(leaf) = name.strip_prefix("fc.") {
        return Some(format!("classifier.1.{leaf}"));
    }
    for (ours, theirs) in [("conv1.", "convolution"), ("bn1.", "normalization")] {
        if let Some(leaf) = name.strip_prefix(ours) {
            return Some(format!("resnet.embedder.embedder.{theirs}.{leaf}"));
        }
    }
    let (stage, rest) = name.strip_prefix("layer")?.split_once('.')?;
    let (block, rest) = rest.split_once('.')?;
    let path = format!("resnet.encoder.stages.{}.layers.{}", number(stage)?.checked_sub(1)?, number(block)?);
    let (part, leaf) = rest.rsplit_once('.')?;
    Some(match part {
        "downsample.0" => format!("{path}.shortcut.convolution.{leaf}"),
        "downsample.1" => format!("{path}.shortcut.normalization.{leaf}"),
        _ => {
            let (theirs, index) = match (part.strip_prefix("conv"), part.strip_prefix("bn")) {
                (Some(index), _) => ("convolution", index),
                (_, Some(index)) => ("normalization", index),
                _ => return None,
            };
            format!("{path}.layer.{}.{theirs}.{leaf}", number(index)?.checked_sub(1)?)
        }
    })
}

fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|&number: &usize| number < 10_000)
}

#[cfg(test)]
mod tests {
    use super::super::transformers::torchvision_name;
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for (theirs, ours) in [
            ("resnet.embedder.embedder.convolution.weight", "conv1.weight"),
            ("resnet.embedder.embedder.normalization.running_mean", "bn1.running_mean"),
            ("resnet.encoder.stages.0.layers.1.layer.2.convolution.weight", "layer1.1.conv3.weight"),
            ("resnet.encoder.stages.3.layers.0.layer.0.normalization.bias", "layer4.0.bn1.bias"),
            ("resnet.encoder.stages.1.layers.0.shortcut.convolution.weight", "layer2.0.downsample.0.weight"),
            ("resnet.encoder.stages.1.layers.0.shortcut.normalization.weight", "layer2.0.downsample.1.weight"),
            ("classifier.1.bias", "fc.bias"),
        ] {
            assert_eq!(torchvision_name(theirs).as_deref(), Some(ours));
            assert_eq!(to_transformers(ours).as_deref(), Some(theirs));
        }
        for name in ["layer1.0.se.fc1.weight", "layer0.0.conv1.weight", "stages.0", "layer1"] {
            assert_eq!(to_transformers(name), None, "{name}");
        }
    }
}
