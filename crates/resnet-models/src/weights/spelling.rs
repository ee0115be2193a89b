//! The names that other projects give to the tensors of a ResNet, below whatever prefix.

use std::collections::BTreeMap;

use super::transformers::torchvision_name;

/// Whose names a network in a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spelling {
    /// torchvision's and timm's, and those of OpenMMLab, of most projects of self-supervised training, of old ones.
    Torchvision,
    /// timm's pre-activation networks.
    ResNetV2,
    /// timm's configurable networks.
    Configurable,
    /// transformers'.
    Transformers,
    /// detectron2's.
    Detectron,
    /// Children by number, as `Sequential(*resnet.children())` and fastai have them.
    Numbered,
    /// Those of pytorch-cifar100 (weiaicunzai).
    ResidualFunction,
}

/// Names that tell a spelling, each of the first convolution of the first block.
const ANCHORS: &[(&str, Spelling)] = &[
    ("layer1.0.conv1.weight", Spelling::Torchvision),
    ("stages.0.blocks.0.conv1.weight", Spelling::ResNetV2),
    ("stages.0.0.conv1_1x1.conv.weight", Spelling::Configurable),
    ("stages.0.0.conv1_kxk.conv.weight", Spelling::Configurable),
    ("encoder.stages.0.layers.0.layer.0.convolution.weight", Spelling::Transformers),
    ("res2.0.conv1.weight", Spelling::Detectron),
    ("conv2_x.0.residual_function.0.weight", Spelling::ResidualFunction),
];

/// Names that wrappers put in front of any module's: data parallelism, compilation, sharding, checkpointing.
const WRAPPERS: &[&str] =
    &["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"];

pub(super) fn is_wrapper(part: &str) -> bool {
    WRAPPERS.contains(&part)
}

/// A name without what wrappers put into it.
pub(super) fn unwrapped(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').filter(|part| !is_wrapper(part)).collect();
    parts.join(".")
}

/// The prefix (empty or ending with a dot) and spelling of the network whose first block has this name.
pub(super) fn anchor(name: &str) -> Option<(&str, Spelling)> {
    for &(end, spelling) in ANCHORS {
        if let Some(prefix) = name.strip_suffix(end)
            && (prefix.is_empty() || prefix.ends_with('.'))
        {
            return Some((prefix, spelling));
        }
    }
    let stage = name.strip_suffix(".0.conv1.weight")?;
    let (prefix, number) = match stage.rfind('.') {
        Some(dot) => stage.split_at(dot + 1),
        None => ("", stage),
    };
    is_number(number).then_some((prefix, Spelling::Numbered))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() < 4 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Which of the children by number is what.
#[derive(Debug, Default)]
pub(super) struct Children {
    conv: String,
    norm: String,
    layers: Vec<String>,
}

impl Children {
    /// Of names below a prefix and their numbers of dimensions.
    pub fn of<'a>(names: impl Iterator<Item = (&'a str, usize)>) -> Option<Self> {
        let mut stem: BTreeMap<u32, bool> = BTreeMap::new();
        let mut layers: BTreeMap<u32, ()> = BTreeMap::new();
        for (name, rank) in names {
            let mut parts = name.split('.');
            let Some(number) = parts.next().filter(|part| is_number(part)).and_then(|part| part.parse().ok()) else {
                continue;
            };
            let rest: Vec<&str> = parts.collect();
            match rest[..] {
                ["weight"] if rank == 4 => drop(stem.insert(number, true)),
                // A stem of several convolutions.
                [inner, "weight"] if rank == 4 && is_number(inner) => drop(stem.insert(number, true)),
                ["weight" | "running_mean"] if rank == 1 => drop(stem.entry(number).or_insert(false)),
                [inner, "conv1", "weight"] if is_number(inner) => drop(layers.insert(number, ())),
                _ => {}
            }
        }
        let first = *layers.keys().next()?;
        let conv = stem.iter().find(|(number, is_conv)| **is_conv && **number < first).map(|entry| *entry.0)?;
        let norm = stem.iter().find(|(number, is_conv)| !**is_conv && (conv..first).contains(number));
        Some(Self {
            conv: conv.to_string(),
            norm: norm.map(|entry| entry.0.to_string()).unwrap_or_default(),
            layers: layers.keys().map(u32::to_string).collect(),
        })
    }

    /// The number of the last stage.
    pub fn last(&self) -> Option<usize> {
        self.layers.last()?.parse().ok()
    }

    fn name(&self, name: &str) -> Option<String> {
        let (number, rest) = name.split_once('.')?;
        if number == self.conv {
            return Some(format!("conv1.{rest}"));
        }
        if number == self.norm {
            return Some(format!("bn1.{rest}"));
        }
        let layer = self.layers.iter().position(|layer| layer == number)?;
        Some(format!("layer{}.{}", layer + 1, block(rest)))
    }
}

impl Spelling {
    /// Our name of a tensor below the prefix; `None` where it is no part of the network.
    pub fn name(self, name: &str, children: Option<&Children>) -> Option<String> {
        match self {
            Self::Torchvision => torchvision(name),
            Self::ResNetV2 => belongs(name, &["stem", "stages", "norm"]),
            Self::Configurable => belongs(name, &["stem", "stages", "final_conv"]),
            Self::Transformers => torchvision_name(name)
                .filter(|ours| !ours.starts_with("fc."))
                .or_else(|| belongs(name, &["embedder", "encoder"])),
            Self::Detectron => detectron(name),
            Self::Numbered => children?.name(name),
            Self::ResidualFunction => residual_function(name),
        }
    }
}

fn belongs(name: &str, roots: &[&str]) -> Option<String> {
    let root = name.split('.').next()?;
    roots.contains(&root).then(|| name.to_owned())
}

/// Old and other names for the same layers of torchvision's.
const ALIASES: &[(&str, &str)] = &[
    ("layer0.conv1.", "conv1."),
    ("layer0.bn1.", "bn1."),
    ("layer0.0.", "conv1."),
    ("layer0.1.", "bn1."),
    // OpenMMLab's stem of three convolutions.
    ("stem.0.", "conv1.0."),
    ("stem.1.", "conv1.1."),
    ("stem.3.", "conv1.3."),
    ("stem.4.", "conv1.4."),
    ("stem.6.", "conv1.6."),
    ("stem.7.", "bn1."),
];

/// What modules of a network of torchvision's names are called, without their numbers. Some are of networks that are
/// none of ours: that they are there is to be an error.
const ROOTS: &[&str] =
    &["conv", "bn", "norm", "layer", "maxpool", "relu", "act", "prelu", "attnpool", "downsample", "layernorm", "gn"];

fn torchvision(name: &str) -> Option<String> {
    if let Some((theirs, ours)) = ALIASES.iter().find(|(theirs, _)| name.starts_with(theirs)) {
        return Some(format!("{ours}{}", &name[theirs.len()..]));
    }
    let (root, rest) = name.split_once('.')?;
    if !ROOTS.contains(&root.trim_end_matches(|c: char| c.is_ascii_digit())) {
        return None;
    }
    Some(format!("{root}.{}", if root.starts_with("layer") { block(rest) } else { rest.to_owned() }))
}

/// Of a name within a stage.
fn block(name: &str) -> String {
    let Some((number, rest)) = name.split_once('.') else { return name.to_owned() };
    let (part, leaf) = rest.split_once('.').unwrap_or((rest, ""));
    match part {
        "shortcut" if leaf.starts_with(|c: char| c.is_ascii_digit()) => format!("{number}.downsample.{leaf}"),
        "se_module" => format!("{number}.se.{leaf}"),
        _ => name.to_owned(),
    }
}

fn detectron(name: &str) -> Option<String> {
    let (root, rest) = name.split_once('.')?;
    if root == "stem" {
        // Its converter from torchvision puts the head there too.
        return Some(match rest.split_once('.') {
            Some(("conv1", rest)) if rest.starts_with("norm.") => format!("bn1.{}", &rest[5..]),
            _ => rest.to_owned(),
        });
    }
    let stage: usize = root.strip_prefix("res")?.parse().ok().filter(|&stage| (2..100).contains(&stage))?;
    let (number, rest) = rest.split_once('.')?;
    let path = format!("layer{}.{number}", stage - 1);
    let (part, leaf) = rest.split_once('.')?;
    let norm = leaf.strip_prefix("norm.");
    Some(match (part, norm) {
        ("shortcut", Some(leaf)) => format!("{path}.downsample.1.{leaf}"),
        ("shortcut", None) => format!("{path}.downsample.0.{leaf}"),
        (_, Some(leaf)) => format!("{path}.{}.{leaf}", part.replacen("conv", "bn", 1)),
        (_, None) => format!("{path}.{part}.{leaf}"),
    })
}

fn residual_function(name: &str) -> Option<String> {
    let (root, rest) = name.split_once('.')?;
    if root == "conv1" {
        return match rest.split_once('.')? {
            ("0", leaf) => Some(format!("conv1.{leaf}")),
            ("1", leaf) => Some(format!("bn1.{leaf}")),
            _ => Some(name.to_owned()),
        };
    }
    let stage: usize = root.strip_prefix("conv")?.strip_suffix("_x")?.parse().ok()?;
    let path = format!("layer{}", stage.checked_sub(1).filter(|stage| (1..100).contains(stage))?);
    let parts: Vec<&str> = rest.split('.').collect();
    Some(match parts[..] {
        [block, "shortcut", number, leaf] => format!("{path}.{block}.downsample.{number}.{leaf}"),
        // Convolutions and norms with a ReLU behind each pair.
        [block, "residual_function", number, leaf] => match number.parse::<usize>() {
            Ok(number) if number < 100 && number % 3 < 2 => {
                let layer = if number % 3 == 0 { "conv" } else { "bn" };
                format!("{path}.{block}.{layer}{}.{leaf}", number / 3 + 1)
            }
            _ => format!("{path}.{rest}"),
        },
        _ => format!("{path}.{rest}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_found_below_any_prefix() {
        for (name, prefix, spelling) in [
            ("layer1.0.conv1.weight", "", Spelling::Torchvision),
            ("encoder_q.layer1.0.conv1.weight", "encoder_q.", Spelling::Torchvision),
            ("backbone.0.body.layer1.0.conv1.weight", "backbone.0.body.", Spelling::Torchvision),
            ("0.4.0.conv1.weight", "0.", Spelling::Numbered),
            ("4.0.conv1.weight", "", Spelling::Numbered),
            ("backbone.bottom_up.res2.0.conv1.weight", "backbone.bottom_up.", Spelling::Detectron),
            ("resnet.encoder.stages.0.layers.0.layer.0.convolution.weight", "resnet.", Spelling::Transformers),
            ("x.stages.0.blocks.0.conv1.weight", "x.", Spelling::ResNetV2),
            ("net.conv2_x.0.residual_function.0.weight", "net.", Spelling::ResidualFunction),
        ] {
            assert_eq!(anchor(name), Some((prefix, spelling)), "{name}");
        }
        for name in ["sublayer1.0.conv1.weight", "layer2.0.conv1.weight", "a.b.0.conv1.weight", "conv1.weight"] {
            assert_eq!(anchor(name), None, "{name}");
        }
        assert_eq!(unwrapped("module._orig_mod.layer1.module.0.x"), "layer1.0.x");
    }

    #[test]
    fn children_by_number_get_their_names() {
        let names = [
            ("0.weight", 4),
            ("1.weight", 1),
            ("1.running_mean", 1),
            ("4.0.conv1.weight", 4),
            ("5.0.conv1.weight", 4),
            ("8.1.weight", 2),
        ];
        let children = Children::of(names.into_iter()).unwrap();
        let named = |name: &str| Spelling::Numbered.name(name, Some(&children));
        assert_eq!(named("1.bias").as_deref(), Some("bn1.bias"));
        assert_eq!(named("5.0.shortcut.0.weight").as_deref(), Some("layer2.0.downsample.0.weight"));
        assert_eq!(named("8.1.weight"), None);
    }

    #[test]
    fn names_of_other_projects() {
        for (spelling, theirs, ours) in [
            (Spelling::Torchvision, "layer0.conv1.weight", "conv1.weight"),
            (Spelling::Torchvision, "stem.7.bias", "bn1.bias"),
            (Spelling::Torchvision, "layer2.0.shortcut.1.weight", "layer2.0.downsample.1.weight"),
            (Spelling::Torchvision, "layer2.0.se_module.fc1.weight", "layer2.0.se.fc1.weight"),
            (Spelling::Detectron, "stem.conv1.norm.running_var", "bn1.running_var"),
            (Spelling::Detectron, "stem.fc.weight", "fc.weight"),
            (Spelling::Detectron, "res3.1.conv2.norm.bias", "layer2.1.bn2.bias"),
            (Spelling::Detectron, "res3.0.shortcut.norm.weight", "layer2.0.downsample.1.weight"),
            (Spelling::ResidualFunction, "conv1.0.weight", "conv1.weight"),
            (Spelling::ResidualFunction, "conv1.1.running_var", "bn1.running_var"),
            (Spelling::ResidualFunction, "conv2_x.0.residual_function.0.weight", "layer1.0.conv1.weight"),
            (Spelling::ResidualFunction, "conv5_x.1.residual_function.7.bias", "layer4.1.bn3.bias"),
            (Spelling::ResidualFunction, "conv3_x.0.shortcut.1.weight", "layer2.0.downsample.1.weight"),
            (Spelling::ResidualFunction, "conv3_x.0.residual_function.2.weight", "layer2.0.residual_function.2.weight"),
        ] {
            assert_eq!(spelling.name(theirs, None).as_deref(), Some(ours));
        }
        for name in ["projector.0.weight", "queue", "fc.weight", "prototypes.weight"] {
            assert_eq!(Spelling::Torchvision.name(name, None), None, "{name}");
        }
    }
}
