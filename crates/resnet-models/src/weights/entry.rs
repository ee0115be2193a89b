//! Where in a checkpoint the state dict is.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use super::fault::{Fault, show};
use super::names::nearest;
use super::pickle::{Arena, Id, Value};

/// Keys that training scripts keep a network's weights under, the likeliest first. Averaged weights
/// come after the plain ones: whoever wants them says so.
const WRAPPERS: &[&str] = &[
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "state_dict_ema",
    "ema_state_dict",
    "model_ema",
    "ema",
];

/// Keys whose tensors are no weights.
const NOT_WEIGHTS: &[&str] = &["optim", "sched", "scaler", "rng", "random"];

/// Dicts further down than this are not looked into.
const MAX_DEPTH: usize = 4;

/// A state dict within a checkpoint.
#[derive(Debug)]
pub(super) struct Found {
    /// The keys that lead to it, joined by dots; empty at the top.
    pub path: String,
    /// Its entries with string keys, whatever they are.
    pub items: Vec<(Rc<str>, Id)>,
}

/// Finds the state dict: the entry at `wanted` (keys joined by dots), or without it the first of
/// the usual keys that holds one, the top level, or the nested dict with the most tensors.
///
/// # Errors
/// When there is none; says what was found instead.
pub(super) fn find(arena: &Arena, root: Id, wanted: Option<&str>) -> Result<Found, Fault> {
    if let Some(wanted) = wanted {
        return find_named(arena, root, wanted);
    }
    let mut seen = HashSet::new();
    if let Some((path, dict)) = search(arena, root, &mut Vec::new(), &mut seen) {
        return Ok(Found { path: path.join("."), items: string_items(arena, dict) });
    }
    Err(Fault::NoStateDict(match arena.get(root) {
        Value::Object { class, items } if items.is_empty() => format!(
            "it holds a whole object of class {}: save its state_dict() instead",
            show(if class.is_empty() { "unknown" } else { class })
        ),
        Value::Tensor(_) => "it holds one tensor without a name".into(),
        _ => match &keys(arena, root)[..] {
            [] => "it holds no tensors".into(),
            keys => format!("no dict of tensors is in it, only {}", listed(keys)),
        },
    }))
}

fn find_named(arena: &Arena, root: Id, wanted: &str) -> Result<Found, Fault> {
    let mut dict = root;
    for key in wanted.split('.') {
        let child = string_items(arena, dict).into_iter().rfind(|(name, _)| &**name == key);
        match child {
            Some((_, child)) if arena.entries(child).is_some() => dict = child,
            _ => {
                let keys = keys(arena, dict);
                let meant =
                    nearest(key, keys.iter().map(|key| &**key)).map(|name| format!(" (did you mean {}?)", show(name)));
                return Err(Fault::NoStateDict(format!(
                    "no dict is under the key {}{}; it has {}",
                    show(key),
                    meant.unwrap_or_default(),
                    listed(&keys)
                )));
            }
        }
    }
    if tensors(arena, dict) == 0 {
        return Err(Fault::NoStateDict(format!("the dict under {} holds no tensors", show(wanted))));
    }
    Ok(Found { path: wanted.to_owned(), items: string_items(arena, dict) })
}

type Hit = (Vec<String>, Id);

/// `seen` keeps each dict to one visit, however often the file refers to it.
fn search(arena: &Arena, dict: Id, path: &mut Vec<String>, seen: &mut HashSet<Id>) -> Option<Hit> {
    if path.len() > MAX_DEPTH || arena.entries(dict).is_none() || !seen.insert(dict) {
        return None;
    }
    let items = string_items(arena, dict);
    let mut down = |key: &str, child: Id, path: &mut Vec<String>| {
        path.push(key.to_owned());
        let hit = search(arena, child, path, seen);
        path.pop();
        hit
    };
    for &wrapper in WRAPPERS {
        if let Some((key, child)) = items.iter().rfind(|(key, _)| &**key == wrapper)
            && let Some(hit) = down(key, *child, path)
        {
            return Some(hit);
        }
    }
    if tensors(arena, dict) > 0 {
        return Some((path.clone(), dict));
    }
    let mut best: Option<(usize, Hit)> = None;
    for (key, child) in &items {
        let lower = key.to_lowercase();
        if NOT_WEIGHTS.iter().any(|word| lower.contains(word)) {
            continue;
        }
        if let Some(hit) = down(key, *child, path) {
            let count = tensors(arena, hit.1);
            if best.as_ref().is_none_or(|(most, _)| count > *most) {
                best = Some((count, hit));
            }
        }
    }
    best.map(|(_, hit)| hit)
}

fn string_items(arena: &Arena, dict: Id) -> Vec<(Rc<str>, Id)> {
    let entries = arena.entries(dict).unwrap_or_default();
    entries.iter().filter_map(|&(key, value)| Some((arena.string(key)?.clone(), value))).collect()
}

fn tensors(arena: &Arena, dict: Id) -> usize {
    let is_tensor = |value: Id| match arena.get(value) {
        Value::Tensor(_) => true,
        Value::Object { class, .. } => class.starts_with("torch._utils._rebuild"),
        _ => false,
    };
    let entries = arena.entries(dict).unwrap_or_default();
    entries.iter().filter(|&&(key, value)| arena.string(key).is_some() && is_tensor(value)).count()
}

fn keys(arena: &Arena, dict: Id) -> Vec<Rc<str>> {
    string_items(arena, dict).into_iter().map(|(key, _)| key).collect()
}

fn listed(keys: &[Rc<str>]) -> String {
    let shown: Vec<_> = keys.iter().take(8).map(|key| show(key)).collect();
    let more = keys.len().saturating_sub(8);
    match (shown.is_empty(), more) {
        (true, _) => "no keys".into(),
        (_, 0) => shown.join(", "),
        _ => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Numbers and short strings at the top of a checkpoint: epoch, accuracy, name of the network.
pub(super) fn scalars(arena: &Arena, root: Id) -> BTreeMap<String, String> {
    let mut scalars = BTreeMap::new();
    for (key, value) in string_items(arena, root) {
        let text = match arena.get(value) {
            Value::Int(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Str(value) if value.len() <= 256 => value.to_string(),
            _ => continue,
        };
        scalars.insert(key.to_string(), text);
    }
    scalars
}
