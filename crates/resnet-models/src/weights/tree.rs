//! A pickled object as a tree of names: dicts by their keys, modules by their attributes, nothing executed.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::fault::Fault;
use super::pickle::{Arena, Id, Value};
use super::settings::Setting;

/// Dicts further down than this are not looked into.
const MAX_DEPTH: usize = 6;
/// Modules within modules.
const MAX_MODULES: usize = 64;
/// A checkpoint has a few thousand tensors, whose names take a few hundred thousand bytes.
const MAX_TENSORS: usize = 1_000_000;
const MAX_NAMES: usize = 1 << 28;
const LONGEST_KEY: usize = 4096;

/// A tensor or an array of a pickle.
#[derive(Debug)]
pub(super) struct Leaf {
    /// Keys and attributes that lead to it, joined by dots.
    pub name: String,
    /// How many bytes of the name are the keys that lead to its state dict, the dot behind them included.
    pub entry: usize,
    pub id: Id,
}

/// What a pickle holds.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub leaves: Vec<Leaf>,
    /// Tensors by the key of the optimizer, schedule or generator that they belong to.
    pub others: BTreeMap<String, usize>,
    /// Objects that could not be looked into: where they are, and of which class.
    pub objects: Vec<(String, String)>,
    /// Of whole modules: what their layers say of themselves, by path.
    pub settings: HashMap<String, Setting>,
}

/// Everything below `root` that has a name.
///
/// # Errors
/// When it is more than a checkpoint has use for.
pub(super) fn walk(arena: &Arena, root: Id, arrays: bool) -> Result<Tree, Fault> {
    let mut walk = Walk { arena, arrays, tree: Tree::default(), seen: HashSet::new(), names: 0 };
    walk.value(root, "", 0, 0)?;
    Ok(walk.tree)
}

struct Walk<'a> {
    arena: &'a Arena,
    /// Whether numpy's arrays are weights here.
    arrays: bool,
    tree: Tree,
    /// Each dict and module is visited once, however often the file refers to it.
    seen: HashSet<Id>,
    names: usize,
}

impl Walk<'_> {
    /// `path` ends with a dot or is empty; `entry` of its bytes lead to the state dict.
    fn value(&mut self, id: Id, path: &str, entry: usize, depth: usize) -> Result<(), Fault> {
        match self.arena.get(id) {
            Value::Dict(_) => self.dict(id, path, depth),
            Value::Sequence(_) => self.sequence(id, path, depth),
            Value::Object { .. } if self.arena.attribute(id, "_modules").is_some() => self.module(id, path, entry, 0),
            Value::Object { class, items, state } => {
                let before = self.tree.leaves.len();
                if !items.is_empty() {
                    self.dict(id, path, depth)?;
                }
                if let Some(state) = state
                    && self.arena.entries(*state).is_some()
                {
                    // An object that holds modules, as fastai's Learner does.
                    self.dict(*state, path, depth)?;
                }
                if self.tree.leaves.len() == before && class.contains('.') && self.tree.objects.len() < 16 {
                    self.tree.objects.push((path.trim_end_matches('.').to_owned(), class.to_string()));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn dict(&mut self, dict: Id, path: &str, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH || !self.seen.insert(dict) {
            return Ok(());
        }
        let arena = self.arena;
        let entries = last_entries(arena, dict);
        let has = |key: &str| entries.iter().any(|entry| entry.0 == key);
        let is_optimizer = has("state") && has("param_groups");
        for (key, value) in entries {
            let lower = key.to_lowercase();
            let not_weights = is_of_training(&lower) || (is_optimizer && key == "state");
            if not_weights && !self.is_leaf(value) {
                let count = self.count(value);
                if count > 0 {
                    self.tree.others.insert(format!("{path}{key}"), count);
                }
                continue;
            }
            if self.is_leaf(value) {
                self.leaf(path, path.len(), key, value)?;
                continue;
            }
            let below = self.named(path, key)?;
            self.value(value, &below, below.len(), depth + 1)?;
        }
        for (number, value) in numbered(arena, dict) {
            let below = self.named(path, &number.to_string())?;
            self.value(value, &below, below.len(), depth + 1)?;
        }
        Ok(())
    }

    /// Dicts and modules of a list or a tuple, under their numbers.
    fn sequence(&mut self, list: Id, path: &str, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH || !self.seen.insert(list) {
            return Ok(());
        }
        let arena = self.arena;
        let items = arena.sequence(list).unwrap_or_default().iter().copied().enumerate();
        for (number, value) in items.filter(|(_, value)| is_container(arena, *value)) {
            let below = self.named(path, &number.to_string())?;
            self.value(value, &below, below.len(), depth + 1)?;
        }
        Ok(())
    }

    /// Parameters and buffers of a module under their names, and those of the modules in it.
    fn module(&mut self, module: Id, path: &str, entry: usize, depth: usize) -> Result<(), Fault> {
        if depth > MAX_MODULES || !self.seen.insert(module) {
            return Ok(());
        }
        let arena = self.arena;
        if let Some(setting) = Setting::of(arena, module)
            && self.tree.settings.len() < MAX_TENSORS
        {
            self.tree.settings.insert(path.trim_end_matches('.').to_owned(), setting);
        }
        for kind in ["_parameters", "_buffers"] {
            let Some(held) = arena.attribute(module, kind) else { continue };
            for (key, value) in last_entries(arena, held) {
                if self.is_leaf(value) {
                    self.leaf(path, entry, key, value)?;
                }
            }
        }
        let Some(modules) = arena.attribute(module, "_modules") else { return Ok(()) };
        for (key, value) in last_entries(arena, modules) {
            if matches!(arena.get(value), Value::Object { .. }) {
                let below = self.named(path, key)?;
                self.module(value, &below, entry, depth + 1)?;
            }
        }
        Ok(())
    }

    fn named(&mut self, path: &str, key: &str) -> Result<String, Fault> {
        self.names += path.len() + key.len() + 1;
        if self.names > MAX_NAMES || key.len() > LONGEST_KEY {
            return Err(Fault::Unsupported("its names are longer than any checkpoint's".into()));
        }
        Ok(format!("{path}{key}."))
    }

    fn leaf(&mut self, path: &str, entry: usize, key: &str, id: Id) -> Result<(), Fault> {
        let mut name = self.named(path, key)?;
        name.pop();
        if self.tree.leaves.len() >= MAX_TENSORS {
            return Err(Fault::Unsupported("it has more tensors than a checkpoint has use for".into()));
        }
        self.tree.leaves.push(Leaf { name, entry, id });
        Ok(())
    }

    fn is_leaf(&self, id: Id) -> bool {
        match self.arena.get(id) {
            Value::Tensor(_) => true,
            Value::Array(_) => self.arrays,
            Value::Object { class, .. } => class.starts_with("torch._utils._rebuild"),
            _ => false,
        }
    }

    /// Tensors anywhere below a value, of which each is counted once.
    fn count(&mut self, root: Id) -> usize {
        let (mut count, mut stack) = (0, vec![root]);
        while let Some(id) = stack.pop() {
            if !self.seen.insert(id) {
                continue;
            }
            match self.arena.get(id) {
                Value::Tensor(_) => count += 1,
                Value::Dict(items) => stack.extend(items.iter().map(|entry| entry.1)),
                Value::Sequence(items) => stack.extend(items),
                _ => {}
            }
        }
        count
    }
}

/// Entries with string keys; of a key that stands twice the last value counts, as in Python.
fn last_entries(arena: &Arena, dict: Id) -> Vec<(&str, Id)> {
    let entries = arena.entries(dict).unwrap_or_default();
    let mut order: Vec<(&str, Id)> = Vec::new();
    // By the key's place first: a long key that the file recalls over and over is compared once.
    let (mut by_place, mut by_name) = (HashMap::new(), HashMap::new());
    for &(key, value) in entries {
        let Some(name) = arena.string(key) else { continue };
        let place = match by_place.get(&key) {
            Some(&place) => place,
            None => {
                let place = *by_name.entry(&**name).or_insert(order.len());
                by_place.insert(key, place);
                place
            }
        };
        match order.get_mut(place) {
            Some(entry) => entry.1 = value,
            None => order.push((name, value)),
        }
    }
    order
}

fn is_container(arena: &Arena, id: Id) -> bool {
    matches!(arena.get(id), Value::Dict(_) | Value::Object { .. })
}

/// Dicts and objects under keys that are numbers.
fn numbered(arena: &Arena, dict: Id) -> BTreeMap<i64, Id> {
    let entries = arena.entries(dict).unwrap_or_default();
    let entries = entries.iter().filter_map(|&(key, value)| Some((arena.int(key)?, value)));
    entries.filter(|(_, value)| is_container(arena, *value)).collect()
}

/// Keys of the dict at the top, or numbers of the list there.
pub(super) fn keys(arena: &Arena, root: Id) -> Vec<String> {
    let named = last_entries(arena, root).into_iter().map(|(key, _)| key.to_owned());
    let numbers = numbered(arena, root).into_keys().map(|number| number.to_string());
    let list = arena.sequence(root).unwrap_or_default().iter().enumerate();
    let list = list.filter(|(_, value)| is_container(arena, **value)).map(|(number, _)| number.to_string());
    named.chain(numbers).chain(list).collect()
}

/// Numbers and short strings at the top of a checkpoint: epoch, accuracy, name of the network.
pub(super) fn scalars(arena: &Arena, root: Id) -> BTreeMap<String, String> {
    let mut scalars = BTreeMap::new();
    for (key, value) in last_entries(arena, root) {
        let text = match arena.get(value) {
            Value::Int(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Str(value) if value.len() <= 256 => value.to_string(),
            _ => continue,
        };
        if key.len() <= 256 {
            scalars.insert(key.to_owned(), text);
        }
    }
    scalars
}

/// Names of classes where OpenMMLab's and Ultralytics' programs keep them.
pub(super) fn classes(arena: &Arena, root: Id) -> Option<Vec<String>> {
    let below =
        |id: Id, key: &str| last_entries(arena, id).into_iter().find(|entry| entry.0 == key).map(|entry| entry.1);
    if let Some(meta) = below(root, "meta") {
        let inner = below(meta, "dataset_meta").unwrap_or(meta);
        let names =
            ["CLASSES", "classes"].iter().find_map(|key| below(inner, key)).or_else(|| below(meta, "CLASSES"))?;
        return strings(arena, arena.sequence(names)?);
    }
    let model = ["ema", "model"].iter().find_map(|key| {
        let module = below(root, key)?;
        arena.attribute(module, "names")
    })?;
    match arena.sequence(model) {
        Some(names) => strings(arena, names),
        None => {
            let mut names: Vec<(i64, Id)> = arena
                .entries(model)?
                .iter()
                .map(|&(key, value)| Some((arena.int(key)?, value)))
                .collect::<Option<_>>()?;
            names.sort_by_key(|name| name.0);
            let in_order = names.iter().enumerate().all(|(i, name)| name.0 == i as i64);
            let ids: Vec<Id> = names.iter().map(|name| name.1).collect();
            in_order.then(|| strings(arena, &ids)).flatten()
        }
    }
}

fn strings(arena: &Arena, ids: &[Id]) -> Option<Vec<String>> {
    if ids.is_empty() || ids.len() > 100_000 {
        return None;
    }
    ids.iter().map(|&id| arena.string(id).filter(|name| name.len() <= 1024).map(|name| name.to_string())).collect()
}

/// Whether a key, in small letters, is that of an optimizer, a schedule, a scaler of losses or a generator: as a word,
/// not as a part of one (`optimal_state_dict` is a network's).
fn is_of_training(key: &str) -> bool {
    let words: Vec<&str> = key.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let is_one = |word: &&str| {
        let singular = word.strip_suffix('s').unwrap_or(word);
        let named = ["optimizer", "optimiser", "scheduler", "scaler"];
        matches!(singular, "optim" | "sched" | "rng")
            || named.iter().any(|name| singular.ends_with(name))
            || ["optimizer", "optimiser"].iter().any(|name| word.starts_with(name))
    };
    words.iter().any(is_one) || matches!(&words[..], ["random"] | ["random", "state" | "states", ..])
}

#[cfg(test)]
mod tests {
    use super::super::pickle::unpickle;
    use super::*;

    /// Names and lengths of entries in a pickle, `T` in which stands for a tensor.
    fn names(pickle: &[u8]) -> Vec<(String, usize)> {
        let tensor = b"ctorch._utils\n_rebuild_tensor\n)R";
        let bytes: Vec<u8> =
            pickle.iter().flat_map(|byte| if *byte == b'T' { tensor.to_vec() } else { vec![*byte] }).collect();
        let unpickled = unpickle(&bytes).unwrap();
        let tree = walk(&unpickled.arena, unpickled.root, false).unwrap();
        tree.leaves.into_iter().map(|leaf| (leaf.name, leaf.entry)).collect()
    }

    #[test]
    fn numbers_are_keys() {
        let two = [("0.a".to_owned(), 2), ("1.b".to_owned(), 2)];
        assert_eq!(names(b"](}U\x01aTs}U\x01bTse."), two);
        assert_eq!(names(b"(}U\x01aTs}U\x01bTst."), two);
        assert_eq!(names(b"}(K\x00}U\x01aTsK\x01}U\x01bTsu."), two);
        assert_eq!(names(b"}U\x06models](}U\x01aTs}U\x02lrK\x01ses."), [("models.0.a".to_owned(), 9)]);
        // Tensors without names, a list in a dict in itself.
        assert_eq!(names(b"}(U\x01l](TTeK\x07Tu."), []);
        assert_eq!(names(b"]q\x00}U\x01ah\x00sa."), []);
        let unpickled = unpickle(b"](}K\x07e.").unwrap();
        assert_eq!(keys(&unpickled.arena, unpickled.root), ["0"]);
    }

    #[test]
    fn an_optimizers_numbers_are_no_networks() {
        assert_eq!(names(b"}U\x03run}(U\x05state}K\x00}U\x01mTssU\x0cparam_groups]us."), []);
    }

    #[test]
    fn keys_of_training_are_told_by_words() {
        for key in [
            "optimizer",
            "optimizer_states",
            "optim",
            "optimizerg",
            "lr_schedulers",
            "sched",
            "grad_scaler",
            "rng_state",
        ] {
            assert!(is_of_training(key), "{key}");
        }
        for key in ["optimal_state_dict", "optimized_model", "scheduled", "random_aug_model", "model", "string"] {
            assert!(!is_of_training(key), "{key}");
        }
    }
}
