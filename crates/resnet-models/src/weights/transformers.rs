//! The names that Hugging Face's transformers gives to ResNets (`model_type` "resnet").

/// torchvision's name for one of transformers', with or without `resnet.` in front; nothing for any other name.
pub(super) fn torchvision_name(name: &str) -> Option<String> {
    let name = name.strip_prefix("resnet.").unwrap_or(name);
    if let Some(rest) = name.strip_prefix("classifier.1.") {
        return Some(format!("fc.{rest}"));
    }
    if let Some(rest) = name.strip_prefix("embedder.embedder.") {
        let (layer, parameter) = rest.split_once('.')?;
        return Some(format!("{}1.{parameter}", kind(layer)?));
    }
    let (stage, rest) = name.strip_prefix("encoder.stages.")?.split_once(".layers.")?;
    let (block, rest) = rest.split_once('.')?;
    let stage = stage.parse::<usize>().ok()?.checked_add(1)?;
    if let Some(rest) = rest.strip_prefix("shortcut.") {
        let (layer, parameter) = rest.split_once('.')?;
        let position = if kind(layer)? == "conv" { 0 } else { 1 };
        return Some(format!("layer{stage}.{block}.downsample.{position}.{parameter}"));
    }
    let (number, rest) = rest.strip_prefix("layer.")?.split_once('.')?;
    let (layer, parameter) = rest.split_once('.')?;
    let number = number.parse::<usize>().ok()?.checked_add(1)?;
    Some(format!("layer{stage}.{block}.{}{number}.{parameter}", kind(layer)?))
}

fn kind(layer: &str) -> Option<&'static str> {
    match layer {
        "convolution" => Some("conv"),
        "normalization" => Some("bn"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_those_of_torchvision() {
        for (theirs, ours) in [
            ("resnet.embedder.embedder.convolution.weight", "conv1.weight"),
            ("embedder.embedder.normalization.running_var", "bn1.running_var"),
            ("resnet.encoder.stages.0.layers.2.layer.1.convolution.weight", "layer1.2.conv2.weight"),
            ("resnet.encoder.stages.3.layers.0.layer.2.normalization.bias", "layer4.0.bn3.bias"),
            ("resnet.encoder.stages.1.layers.0.shortcut.convolution.weight", "layer2.0.downsample.0.weight"),
            ("resnet.encoder.stages.1.layers.0.shortcut.normalization.bias", "layer2.0.downsample.1.bias"),
            ("classifier.1.weight", "fc.weight"),
        ] {
            assert_eq!(torchvision_name(theirs).as_deref(), Some(ours));
        }
        for other in ["conv1.weight", "fc.weight", "encoder.stages.x.layers.0.layer.0.convolution.weight", "resnet."] {
            assert_eq!(torchvision_name(other), None);
        }
    }
}
