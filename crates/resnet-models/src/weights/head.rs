//! The head of a network that was found in a file: one linear layer, wherever it stands.

use std::collections::{BTreeMap, BTreeSet};

use crate::escape::show;

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

/// Words in the names of modules that are no part of the way from the network to its classes: of trainings without
/// labels, of losses, and of other tasks.
const ASIDE: &[&str] = &[
    "proj",
    "projector",
    "projection",
    "predictor",
    "queue",
    "prototype",
    "teacher",
    "student",
    "momentum",
    "ema",
    "swa",
    "memory",
    "center",
    "criterion",
    "loss",
    "metric",
    "target",
    "contrast",
    "contrastive",
    "decoder",
    "decode",
    "aux",
    "auxiliary",
    "domain",
    "discriminator",
];

/// The network whose head is looked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Network<'a> {
    /// Empty or ending with a dot.
    pub prefix: &'a str,
    /// How many bytes of the prefix are keys of dicts.
    pub entry: usize,
    pub features: usize,
    /// The number of the last stage where children have numbers instead of names.
    pub last_child: Option<usize>,
}

/// The head of the network, and what was guessed of it.
pub(super) fn find(tensors: &[Named<'_>], network: &Network<'_>) -> (Head, Option<String>) {
    let levels = levels(network.prefix);
    let (head, note) = match by_name(tensors, network, &levels) {
        Head::None => alone(tensors, network, &levels),
        head => (head, None),
    };
    let Head::One(linear) = head else { return (head, note) };
    match besides(tensors, network, &levels, linear) {
        Some(what) => (Head::Other(what), None),
        None => (head, note),
    }
}

/// What is called as heads are.
fn by_name(tensors: &[Named<'_>], network: &Network<'_>, levels: &[&str]) -> Head {
    let prefix = network.prefix;
    for (level, above) in levels.iter().enumerate() {
        let mut modules: BTreeMap<&str, Modules> = BTreeMap::new();
        for &(name, place, shape) in tensors {
            let Some(rest) = name.strip_prefix(above) else { continue };
            let Some(root) = rest.split('.').next() else { continue };
            // What leads to the network is no head of it; numbers are where the network is one child of several, or has
            // its own children by number.
            let counted = match level {
                0 => number(root).is_some_and(|root| network.last_child.is_some_and(|last| root > last)),
                1 => number(root).is_some() && is_child_by_number(prefix),
                _ => false,
            };
            if leads(prefix, above, root) || !(WORDS.contains(&root) || counted) {
                continue;
            }
            let (module, leaf) = rest.rsplit_once('.').unwrap_or(("", rest));
            modules.entry(root).or_default().entry(module).or_default().push((leaf, (name, place, shape)));
        }
        // In the order of the words: `fc` before the others.
        let order = |root: &str| {
            (WORDS.iter().position(|word| *word == root).unwrap_or(WORDS.len()), number(root).unwrap_or_default())
        };
        let mut roots: Vec<&str> = modules.keys().copied().collect();
        roots.sort_by_key(|root| order(root));
        let kinds = roots.into_iter().map(|root| (root, of(&modules[root], network.features)));
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

/// The one linear layer that takes the features, whatever it is called.
fn alone(tensors: &[Named<'_>], network: &Network<'_>, levels: &[&str]) -> (Head, Option<String>) {
    if network.prefix.split('.').any(|part| PROJECTING.contains(&part)) {
        return (Head::None, None);
    }
    let mut modules: BTreeMap<&str, Vec<(&str, Named<'_>)>> = BTreeMap::new();
    for tensor in near(tensors, network, levels) {
        modules.entry(tensor.module).or_default().push((tensor.leaf, tensor.named));
    }
    let mut found: Vec<(&str, Linear)> = Vec::new();
    for (module, layer) in modules {
        let is_matrix = layer.iter().any(|(leaf, (_, _, shape))| *leaf == "weight" && shape.len() == 2);
        if is_matrix && let Head::One(linear) = of(&[(module, layer)].into(), network.features) {
            found.push((module, linear));
        }
    }
    match &found[..] {
        [] => (Head::None, None),
        [(module, linear)] => {
            let note = format!(
                "{} of {} outputs is taken as the head: no other layer takes the network's {} features",
                show(module),
                linear.classes,
                network.features
            );
            (Head::One(*linear), Some(note))
        }
        several => {
            let names = several
                .iter()
                .take(8)
                .map(|(module, linear)| format!("{} of {} outputs", show(module), linear.classes));
            let names: Vec<String> = names.collect();
            let what = format!(
                "{} layers take the features ({}), and none is called as heads are",
                several.len(),
                names.join(", ")
            );
            (Head::Other(what), None)
        }
    }
}

/// A tensor of a module at the network's level or above, or one step below these.
struct Near<'a> {
    /// The path of its module.
    module: &'a str,
    leaf: &'a str,
    named: Named<'a>,
}

/// Tensors near the network that may belong to what stands behind it.
fn near<'a>(tensors: &[Named<'a>], network: &Network<'_>, levels: &[&str]) -> Vec<Near<'a>> {
    let mut found = Vec::new();
    // Modules with convolutions or with many steps below them are other things.
    let mut large: BTreeSet<&str> = BTreeSet::new();
    for &(name, place, shape) in tensors {
        // At the first level that it does not lead away from: others lead to that one.
        let Some(above) = levels.iter().find(|above| name.starts_with(**above)) else { continue };
        let rest = &name[above.len()..];
        let (Some((path, leaf)), Some(root)) = (rest.rsplit_once('.'), rest.split('.').next()) else { continue };
        let root = &name[..above.len() + root.len()];
        let steps = path.split('.').count();
        if steps > 2 || (shape.len() > 2 && shape.iter().skip(2).any(|&size| size != 1)) {
            large.insert(root);
        }
        // Beside the dict of the network another's modules are deeper.
        let deepest = if above.len() >= network.entry { 2 } else { 1 };
        if steps > deepest || is_aside(rest) {
            continue;
        }
        found.push((root, Near { module: &name[..name.len() - leaf.len() - 1], leaf, named: (name, place, shape) }));
    }
    found.into_iter().filter(|(root, _)| !large.contains(root)).map(|(_, near)| near).collect()
}

/// Whether a name has a word of what is no part of the way to the classes.
fn is_aside(name: &str) -> bool {
    let lower = name.to_lowercase();
    let mut words = lower.split(['.', '_']);
    words.any(|word| ASIDE.contains(&word) || word.strip_suffix('s').is_some_and(|word| ASIDE.contains(&word)))
}

/// What else stands between the features and the classes beside one linear layer, in words.
fn besides(tensors: &[Named<'_>], network: &Network<'_>, levels: &[&str], linear: Linear) -> Option<String> {
    let features = network.features;
    let path = |weight: usize| tensors.iter().find(|tensor| tensor.1 == weight);
    let &(own, _, own_shape) = path(linear.weight)?;
    let own = own.rsplit_once('.').map_or(own, |(module, _)| module);
    let near = near(tensors, network, levels);
    let near = near.iter().filter(|tensor| tensor.module != own);
    let mut between = None;
    for Near { module, leaf, named: (_, _, shape) } in near {
        match (*leaf, *shape) {
            ("weight", [_, inputs]) if *inputs == linear.classes => {
                return Some(format!(
                    "{} {own_shape:?} and {} {shape:?} are 2 layers with parameters, one behind the other, not one linear layer",
                    show(own),
                    show(module)
                ));
            }
            ("weight", [outputs, inputs]) if (*outputs, *inputs) == (features, features) => {
                between = Some((module, shape))
            }
            ("weight" | "running_mean", [channels]) if *channels == features => between = Some((module, shape)),
            _ => {}
        }
    }
    between.map(|(module, shape)| {
        format!(
            "{} {shape:?} stands between the features and {}: the head is not one linear layer",
            show(module),
            show(own)
        )
    })
}

/// Whether a module is on the way to the network.
fn leads(prefix: &str, above: &str, root: &str) -> bool {
    prefix.strip_prefix(above).is_some_and(|way| way.split('.').next() == Some(root))
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

fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|_| text.len() < 4 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_child_by_number(prefix: &str) -> bool {
    prefix.trim_end_matches('.').rsplit('.').next().and_then(number).is_some()
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
        find(&tensors, &Network { prefix, features: 8, ..Network::default() }).0
    }

    fn says(prefix: &str, tensors: &[(&str, &[usize])], parts: &[&str]) {
        match head(prefix, tensors) {
            Head::Other(what) => assert!(parts.iter().all(|part| what.contains(part)), "{what}"),
            other => panic!("{other:?}"),
        }
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
        says("", &[("fc.0.weight", &[8, 8]), ("fc.2.weight", &[3, 8])], &["2 layers"]);
        says("", &[("fc.weight", &[3, 16])], &["takes 16 values"]);
        says("", &[("fc.weight", &[3, 8]), ("fc.sigma", &[1])], &["cosine"]);
        says("encoder_q.", &[("encoder_q.fc.weight", &[128, 8])], &["projector"]);
        assert_eq!(head("", &[("projector.weight", &[3, 8]), ("queue", &[8, 9])]), Head::None);
        assert_eq!(head("student.", &[("teacher.fc.weight", &[3, 8])]), Head::None);
    }

    #[test]
    fn two_linear_layers_in_a_row_are_named() {
        says(
            "backbone.",
            &[
                ("backbone.fc.weight", &[9, 8]),
                ("backbone.fc.bias", &[9]),
                ("head.weight", &[3, 9]),
                ("head.bias", &[3]),
            ],
            &["backbone.fc [9, 8]", "head [3, 9]", "2 layers"],
        );
        says("", &[("fc.weight", &[8, 8]), ("fc2.weight", &[3, 8])], &["fc [8, 8]", "fc2 [3, 8]"]);
        says("", &[("fc1.weight", &[5, 8]), ("fc2.weight", &[3, 5])], &["fc1 [5, 8]", "fc2 [3, 5]"]);
        // A layer of a training without labels.
        assert_eq!(head("", &[("fc.weight", &[9, 8]), ("predictor.weight", &[3, 9])]), one(0, None, 9));
    }

    #[test]
    fn a_layer_between_features_and_head_is_named() {
        says(
            "base.",
            &[("bottleneck.weight", &[8]), ("bottleneck.running_mean", &[8]), ("classifier.weight", &[3, 8])],
            &["bottleneck [8] stands between", "classifier"],
        );
        says("base.", &[("norm.weight", &[8]), ("base.fc.weight", &[3, 8])], &["norm [8] stands between", "base.fc"]);
        says(
            "m.",
            &[("embedding.weight", &[8, 8]), ("classifier.weight", &[3, 8])],
            &["embedding [8, 8] stands between"],
        );
        says("m.", &[("neck.bn.weight", &[8]), ("head.weight", &[3, 8])], &["neck.bn [8] stands between"]);
        for (name, shape) in [
            ("projector.weight", &[8, 8][..]),
            ("momentum_projector.0.weight", &[8, 8]),
            ("prototypes.weight", &[8, 8]),
            ("criterion.weight", &[8]),
            ("teacher.norm.weight", &[8]),
            ("gender.weight", &[2, 8]),
        ] {
            assert_eq!(head("m.", &[("m.fc.weight", &[3, 8]), (name, shape)]), one(0, None, 3), "{name}");
        }
        // A branch of convolutions.
        let branch: [(&str, &[usize]); 3] =
            [("fc.weight", &[3, 8]), ("mask.0.weight", &[8, 8, 3, 3]), ("mask.1.weight", &[8])];
        assert_eq!(head("", &branch), one(0, None, 3));
        let text: [(&str, &[usize]); 3] =
            [("m.fc.weight", &[3, 8]), ("text.norm.weight", &[8]), ("text.layers.0.norm.weight", &[8])];
        assert_eq!(head("m.", &text), one(0, None, 3));
        // Another's dict.
        let network = Network { prefix: "a.m.", entry: 2, features: 8, last_child: None };
        let tensors: [Named; 2] = [("a.fc.weight", 0, &[3, 8]), ("b.m.norm.weight", 1, &[8])];
        assert_eq!(find(&tensors, &network).0, one(0, None, 3));
    }

    #[test]
    fn one_linear_layer_of_another_name_is_taken_and_said() {
        for name in ["fc1", "classifier_layer", "score", "my_head", "category"] {
            let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
            let tensors: [Named; 2] = [(&weight, 0, &[3, 8]), (&bias, 1, &[3])];
            let (head, note) = find(&tensors, &Network { prefix: "m.", features: 8, ..Network::default() });
            assert_eq!(head, one(0, Some(1), 3), "{name}");
            assert!(note.unwrap().contains(&format!("{name} of 3 outputs is taken as the head")));
        }
        says("", &[("age.weight", &[9, 8]), ("sex.weight", &[2, 8])], &["2 layers", "age of 9 outputs", "sex of 2"]);
        assert_eq!(head("", &[("lateral.weight", &[3, 8, 1, 1])]), Head::None);
        assert_eq!(head("", &[("queue.weight", &[3, 8])]), Head::None);
        assert_eq!(head("encoder_q.", &[("encoder_q.mlp.weight", &[3, 8])]), Head::None);
    }

    #[test]
    fn the_child_behind_the_last_stage_is_the_head() {
        let of = |prefix: &str, tensors: &[Named<'_>]| {
            find(tensors, &Network { prefix, features: 8, last_child: Some(7), ..Network::default() }).0
        };
        assert_eq!(of("", &[("10.weight", 0, &[3, 8]), ("10.bias", 1, &[3])]), one(0, Some(1), 3));
        assert_eq!(of("model.", &[("model.10.weight", 0, &[3, 8])]), one(0, None, 3));
        let two: [Named; 2] = [("10.weight", 0, &[4, 8]), ("9.weight", 1, &[8])];
        assert!(matches!(of("", &two), Head::Other(what) if what.contains("9 [8] stands between")));
    }
}
