//! Names of tensors: other projects' habits turned into torchvision's, and the nearest name to a
//! wrong one.

use std::collections::BTreeMap;

use super::fault::Fault;
use super::transformers::torchvision_name;
use crate::escape::show;

/// Put before every name by wrappers: data parallelism, compilation, Lightning and the like.
const WRAPPERS: &[&str] = &["module.", "_orig_mod."];

/// The name of the network's variable in a wrapper's class. Taken away only when every name has it.
const OWNERS: &[&str] = &["model.", "net.", "network."];

/// Names without a use here: batch norm's count of batches and an average's count of updates.
pub(super) fn is_ignored(name: &str) -> bool {
    name == "n_averaged" || name.rsplit('.').next() == Some("num_batches_tracked")
}

/// A file's tensors under torchvision's names: without `module.` and `_orig_mod.`, without an
/// owner's name that all share, `fc` for `linear`, `downsample` for `shortcut`, transformers' names turned into
/// torchvision's; counters left out.
///
/// # Errors
/// When two names become one.
pub(super) fn normalize<T>(tensors: BTreeMap<String, T>) -> Result<BTreeMap<String, T>, Fault> {
    let unwrap = |name: &str| {
        let mut name = name;
        while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
            name = rest;
        }
        name.to_owned()
    };
    let mut tensors: Vec<(String, T)> = tensors
        .into_iter()
        .map(|(name, tensor)| (unwrap(&name), tensor))
        .filter(|(name, _)| !is_ignored(name))
        .collect();
    while let Some(owner) =
        OWNERS.iter().find(|&&owner| !tensors.is_empty() && tensors.iter().all(|(name, _)| name.starts_with(owner)))
    {
        for (name, _) in &mut tensors {
            *name = unwrap(&name[owner.len()..]);
        }
    }
    for (name, _) in &mut tensors {
        if let Some(theirs) = torchvision_name(name) {
            *name = theirs;
        }
    }
    let has_fc = tensors.iter().any(|(name, _)| name.starts_with("fc."));
    let mut normalized = BTreeMap::new();
    for (mut name, tensor) in tensors {
        if !has_fc && let Some(rest) = name.strip_prefix("linear.") {
            name = format!("fc.{rest}");
        }
        // Not where it is the name of a unit with convolution and norm, as in timm's configurable networks.
        if let Some((block, rest)) = name.split_once(".shortcut.")
            && rest.starts_with(|c: char| c.is_ascii_digit())
        {
            name = format!("{block}.downsample.{rest}");
        }
        if normalized.insert(name.clone(), tensor).is_some() {
            return Err(Fault::Damaged(format!("two tensors would both be called {}", show(&name))));
        }
    }
    Ok(normalized)
}

/// The candidate that `name` was probably meant to be, if any is near.
///
/// Near is an edit distance (Levenshtein, letters' case aside) of at most two fifths of the longer
/// name, or one name being the other's end after a dot. The first of several equally near is taken.
///
/// ```
/// let known = ["resnet18", "resnet20", "plain20"];
/// assert_eq!(resnet_models::weights::nearest("resnt20", known), Some("resnet20"));
/// assert_eq!(resnet_models::weights::nearest("transformer", known), None);
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes time with the product of the lengths; no name anybody meant is this long.
    const LONGEST: usize = 256;
    if name.len() > LONGEST {
        return None;
    }
    let lower = name.to_lowercase();
    let mut best: Option<(usize, &'a str)> = None;
    for candidate in candidates {
        if candidate.is_empty() || candidate.len() > LONGEST {
            continue;
        }
        let candidate_lower = candidate.to_lowercase();
        let longer = lower.chars().count().max(candidate_lower.chars().count());
        let distance = if is_tail(&lower, &candidate_lower) || is_tail(&candidate_lower, &lower) {
            1
        } else {
            strsim::levenshtein(&lower, &candidate_lower)
        };
        if distance * 5 <= longer * 2 && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Whether `tail` is what of `name` follows one of its dots.
fn is_tail(name: &str, tail: &str) -> bool {
    name.strip_suffix(tail).is_some_and(|head| head.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(names: &[&str]) -> Vec<String> {
        let tensors = names.iter().map(|&name| (name.to_owned(), ())).collect();
        normalize(tensors).unwrap().into_keys().collect()
    }

    #[test]
    fn wrappers_owners_and_counters_go() {
        assert_eq!(normalized(&["module._orig_mod.conv1.weight", "n_averaged"]), ["conv1.weight"]);
        assert_eq!(normalized(&["model.module.bn1.num_batches_tracked", "model.module.bn1.bias"]), ["bn1.bias"]);
        assert_eq!(normalized(&["net.conv1.weight", "head.bias"]), ["head.bias", "net.conv1.weight"]);
    }

    #[test]
    fn heads_and_shortcuts_get_torchvision_names() {
        assert_eq!(
            normalized(&["linear.weight", "layer1.0.shortcut.0.weight", "stages.0.0.shortcut.conv.weight"]),
            ["fc.weight", "layer1.0.downsample.0.weight", "stages.0.0.shortcut.conv.weight"]
        );
        assert_eq!(normalized(&["linear.weight", "fc.weight"]), ["fc.weight", "linear.weight"]);
    }

    #[test]
    fn two_names_that_become_one_are_an_error() {
        let tensors = [("a", ()), ("module.a", ())].map(|(name, unit)| (name.to_owned(), unit)).into();
        let error = normalize(tensors).unwrap_err();
        assert!(matches!(&error, Fault::Damaged(what) if what.contains("both be called a")), "{error:?}");
    }

    #[test]
    fn nearest_prefers_the_least_distance() {
        assert_eq!(
            nearest("layer1.0.conv1.wieght", ["layer1.0.conv2.weight", "layer1.0.conv1.weight"]),
            Some("layer1.0.conv1.weight")
        );
        assert_eq!(nearest("backbone.fc.weight", ["fc.weight", "fc.bias"]), Some("fc.weight"));
        assert_eq!(nearest("FC.weight", ["fc.weight"]), Some("fc.weight"));
        assert_eq!(nearest("zzz", ["fc.weight"]), None);
        assert_eq!(nearest("", [""]), None);
        assert_eq!(nearest(&"x".repeat(1000), ["xxx"]), None);
    }
}
