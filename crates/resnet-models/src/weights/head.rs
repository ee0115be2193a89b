//! The head of a network that was found in a file: one linear layer, wherever it stands.

use std::collections::BTreeMap;

use super::fault::show;

/// What a head is called, at the network's own level or above.
const WORDS: &[&str] = &[
    "fc",
    "head",
    "linear",
    "classifier",
    "last_linear",
    "output",
    "out",
    "output_layer",
    "logits",
    "cls_head",
    "cls",
    "clf",
    "classification_head",
    "linear_head",
    "lin",
    "fc_out",
    "last_layer",
    "final",
    "final_layer",
    "final_fc",
    "new_fc",
    "dense",
    "predictions",
    "probs",
    "online_classifier",
    "linear_classifier",
    "heads",
];

/// Parts of a path that say that a linear layer behind the network is the projector of a training without labels.
const PROJECTING: &[&str] = &["encoder_q", "encoder_k", "base_encoder", "momentum_encoder"];

pub(super) fn is_word(part: &str) -> bool {
    WORDS.contains(&part)
}

/// A head of one linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linear {
    /// Places of its tensors.
    pub weight: usize,
    pub bias: Option<usize>,
    pub classes: usize,
}

/// What stands behind the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    One(Linear),
    None,
    /// Something else, in words.
    Other(String),
}

/// A tensor that the head may have: name without wrappers, place, shape.
pub(super) type Named<'a> = (&'a str, usize, &'a [usize]);

/// Modules by their paths: what each has, by the last parts of the names.
type Modules<'a> = BTreeMap<&'a str, Vec<(&'a str, Named<'a>)>>;

/// The head of the network below `prefix` (empty or ending with a dot), whose features are so many.
pub(super) fn find(tensors: &[Named<'_>], prefix: &str, features: usize) -> Head {
    let levels = levels(prefix);
    for (level, above) in levels.iter().enumerate() {
        let mut modules: BTreeMap<&str, Modules> = BTreeMap::new();
        for &(name, place, shape) in tensors {
            let Some(rest) = name.strip_prefix(above) else { continue };
            let Some(root) = rest.split('.').next() else { continue };
            // What leads to the network is no head of it; numbers are where the network is one child of several.
            let leads = prefix.strip_prefix(above).is_some_and(|way| way.split('.').next() == Some(root));
            let counted = level == 1 && is_number(root) && is_child_by_number(prefix);
            if leads || !(WORDS.contains(&root) || counted) {
                continue;
            }
            let (module, leaf) = rest.rsplit_once('.').unwrap_or(("", rest));
            modules.entry(root).or_default().entry(module).or_default().push((leaf, (name, place, shape)));
        }
        // In the order of the words: `fc` before the others.
        let order = |root: &str| WORDS.iter().position(|word| *word == root).unwrap_or(WORDS.len());
        let mut roots: Vec<&str> = modules.keys().copied().collect();
        roots.sort_by_key(|root| order(root));
        let kinds = roots.into_iter().map(|root| (root, of(&modules[root], features)));
        let kinds: Vec<(&str, Head)> = kinds.filter(|(_, head)| *head != Head::None).collect();
        let one = kinds.iter().find(|(_, head)| matches!(head, Head::One(_))).or(kinds.first());
        let Some((root, head)) = one else { continue };
        let path = format!("{above}{root}");
        return match head {
            Head::One(linear) if level == 0 && prefix.split('.').any(|part| PROJECTING.contains(&part)) => Head::Other(
                format!("{} of {} outputs is the projector of a training without labels", show(&path), linear.classes),
            ),
            Head::Other(what) => Head::Other(format!("{} {what}", show(&path))),
            head => head.clone(),
        };
    }
    Head::None
}

/// The prefix, then those above it.
fn levels(prefix: &str) -> Vec<&str> {
    let mut levels = vec![prefix];
    let mut rest = prefix;
    while let Some(without) = rest.strip_suffix('.') {
        rest = without.rfind('.').map_or("", |dot| &without[..=dot]);
        levels.push(rest);
    }
    levels
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_child_by_number(prefix: &str) -> bool {
    prefix.trim_end_matches('.').rsplit('.').next().is_some_and(is_number)
}

fn of(modules: &Modules, features: usize) -> Head {
    let layers: Vec<_> = modules.values().collect();
    let [layer] = layers[..] else {
        return Head::Other(format!(
            "has {} layers with parameters ({}), not one linear layer",
            layers.len(),
            modules.keys().take(4).map(|name| show(name)).collect::<Vec<_>>().join(", ")
        ));
    };
    let get = |leaf: &str| layer.iter().find(|entry| entry.0 == leaf).map(|entry| entry.1);
    let Some((_, weight, shape)) = get("weight") else { return Head::None };
    if let Some((leaf, _)) = layer.iter().find(|entry| !["weight", "bias"].contains(&entry.0)) {
        return Head::Other(format!(
            "has {} beside its weight, as heads by cosine have, and is no linear layer",
            show(leaf)
        ));
    }
    let (classes, inputs) = match *shape {
        [classes, inputs] | [classes, inputs, 1, 1] => (classes, inputs),
        _ => return Head::Other(format!("has a weight of shape {shape:?} and is no linear layer")),
    };
    if inputs != features {
        return Head::Other(format!("takes {inputs} values, and the network gives {features}"));
    }
    if classes == 0 {
        return Head::Other("has no outputs".into());
    }
    let bias = get("bias");
    if bias.is_some_and(|(_, _, shape)| shape != [classes]) {
        return Head::Other("has a bias that does not go with its weight".into());
    }
    Head::One(Linear { weight, bias: bias.map(|bias| bias.1), classes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(prefix: &str, tensors: &[(&str, &[usize])]) -> Head {
        let tensors: Vec<Named> = tensors.iter().enumerate().map(|(i, (name, shape))| (*name, i, *shape)).collect();
        find(&tensors, prefix, 8)
    }

    fn one(weight: usize, bias: Option<usize>, classes: usize) -> Head {
        Head::One(Linear { weight, bias, classes })
    }

    #[test]
    fn one_linear_layer_wherever_it_stands() {
        assert_eq!(head("", &[("fc.weight", &[3, 8]), ("fc.bias", &[3])]), one(0, Some(1), 3));
        assert_eq!(head("", &[("fc.1.weight", &[3, 8]), ("fc.1.bias", &[3])]), one(0, Some(1), 3));
        assert_eq!(head("", &[("fc.weight", &[3, 8])]), one(0, None, 3));
        assert_eq!(head("backbone.", &[("head.fc.weight", &[3, 8]), ("head.fc.bias", &[3])]), one(0, Some(1), 3));
        assert_eq!(head("model.0.", &[("model.2.weight", &[3, 8]), ("model.2.bias", &[3])]), one(0, Some(1), 3));
        assert_eq!(head("a.b.", &[("classifier.weight", &[3, 8])]), one(0, None, 3));
        assert_eq!(head("", &[("head.fc.weight", &[3, 8, 1, 1])]), one(0, None, 3));
        // The own one before another.
        assert_eq!(head("m.", &[("linear.weight", &[9, 8]), ("m.fc.weight", &[3, 8])]), one(1, None, 3));
    }

    #[test]
    fn what_is_no_linear_layer_is_explained() {
        let says = |prefix: &str, tensors: &[(&str, &[usize])], part: &str| match head(prefix, tensors) {
            Head::Other(what) => assert!(what.contains(part), "{what}"),
            other => panic!("{other:?}"),
        };
        says("", &[("fc.0.weight", &[8, 8]), ("fc.2.weight", &[3, 8])], "2 layers");
        says("", &[("fc.weight", &[3, 16])], "takes 16 values");
        says("", &[("fc.weight", &[3, 8]), ("fc.sigma", &[1])], "cosine");
        says("encoder_q.", &[("encoder_q.fc.weight", &[128, 8])], "projector");
        assert_eq!(head("", &[("projector.weight", &[3, 8]), ("queue", &[8, 9])]), Head::None);
        assert_eq!(head("student.", &[("teacher.fc.weight", &[3, 8])]), Head::None);
    }
}
