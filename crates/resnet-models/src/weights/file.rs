//! Files of weights, opened: what they hold, and the part of it that is asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use super::error::WeightsError;
use super::fault::Fault;
use super::find::{self, Candidate, Place, Target};
use super::fold::Made;
use super::foreign;
use super::format::Format;
use super::head::{self, Head};
use super::left::{self, Left};
use super::names::{self, is_ignored, nearest};
use super::parametrize::{self, Computed};
use super::part::{Part, Reader};
use super::read::{Checkpoint, LoadOptions};
use super::settings::{self, Settings};
use super::shards::{self, Inside};
use super::spelling::unwrapped;
use crate::escape::show;

/// A file of weights (or several with an index), before its tensors are read.
pub(crate) struct WeightsFile {
    /// What was asked for, for messages.
    pub file: PathBuf,
    parts: Vec<Part>,
    places: Vec<Place>,
    /// Where each place's values come from.
    sources: Vec<Source>,
    /// Places that others are computed from: no weights by themselves.
    hidden: BTreeSet<usize>,
}

#[derive(Clone, Copy)]
enum Source {
    /// Part, and place in it.
    Stored(usize, usize),
    Computed(Computed),
}

/// A network found in a file, or all tensors of an entry where none was recognised.
pub(crate) struct Found {
    names: Vec<(String, Made)>,
    entry: String,
    prefix: String,
    /// The head: rows and places.
    pub head: Head,
    /// Whether this is a network that was recognised.
    pub recognised: bool,
    /// Why it is none of the networks here, where its names tell.
    pub foreign: Option<String>,
    left: Vec<Left>,
    notes: Vec<String>,
    /// What its layers say of themselves, by our paths.
    pub settings: Settings,
}

impl Found {
    /// Whether a name begins so.
    pub fn has_below(&self, start: &str) -> bool {
        self.names.iter().any(|(name, _)| name.starts_with(start))
    }

    /// How many tensors the network has beside its head.
    pub fn len_without_head(&self) -> usize {
        let head = |name: &str| name.starts_with("fc.") || name.starts_with("head.");
        self.names.iter().filter(|(name, _)| !head(name)).count()
    }
}

impl WeightsFile {
    /// Opens a file, an index of several, or a folder with one of these.
    ///
    /// # Errors
    /// [`WeightsError`], naming the file: it cannot be read, is of another format, damaged, or holds no tensors.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        if path.is_dir() {
            return match shards::in_folder(path)? {
                Inside::One(inside) if inside.is_dir() => Self::of(path, Vec::new()),
                Inside::One(inside) => Self::open(&inside),
                Inside::Parts(parts) => Self::joined(&parts, path),
            };
        }
        if let Some(reason) = shards::of_a_folder(path) {
            return Err(WeightsError::Unsupported { file: path.to_owned(), reason });
        }
        if let Some((this, all)) = shards::one_of_several(path) {
            return Err(shards::part_alone(path, this, all));
        }
        let bytes = read(path)?;
        match shards::parts(&bytes, path)? {
            None => Self::of_bytes(bytes, path),
            Some(parts) => Self::joined(&parts, path),
        }
    }

    /// Of several files; `file` is what errors call them.
    fn joined(parts: &[PathBuf], file: &Path) -> Result<Self, WeightsError> {
        let opened = parts.iter().map(|part| open_part(read(part)?, part));
        Self::of(file, opened.collect::<Result<_, _>>()?)
    }

    /// Of a file's content.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_bytes(bytes: Vec<u8>, file: &Path) -> Result<Self, WeightsError> {
        Self::of(file, vec![open_part(bytes, file)?])
    }

    fn of(file: &Path, parts: Vec<Part>) -> Result<Self, WeightsError> {
        let (mut places, mut sources, mut seen) = (Vec::new(), Vec::new(), HashMap::new());
        for (number, part) in parts.iter().enumerate() {
            for (at, tensor) in part.tensors.iter().enumerate() {
                if parts.len() > 1
                    && let Some(other) = seen.insert(tensor.name.clone(), number)
                    && other != number
                {
                    let reason = format!("tensor {} is in two of its files", show(&tensor.name));
                    return Err(WeightsError::Damaged { file: file.to_owned(), reason });
                }
                places.push(Place::new(tensor.name.clone(), tensor.entry, tensor.shape.clone(), tensor.float));
                sources.push(Source::Stored(number, at));
            }
        }
        let by_name: BTreeMap<&str, usize> =
            places.iter().enumerate().map(|(at, place)| (place.raw.as_str(), at)).collect();
        let (mut hidden, mut made) = (BTreeSet::new(), Vec::new());
        for found in parametrize::find(&by_name) {
            if by_name.contains_key(found.name.as_str()) {
                continue;
            }
            let shaped = &places[found.computed.shaped()];
            hidden.extend(found.computed.parts());
            made.push((Place::new(found.name, shaped.entry, shaped.shape.clone(), true), found.computed));
        }
        for (place, computed) in made {
            places.push(place);
            sources.push(Source::Computed(computed));
        }
        Ok(Self { file: file.to_owned(), parts, places, sources, hidden })
    }

    /// What the file says beside its tensors.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        self.parts.iter().flat_map(|part| part.metadata.clone()).collect()
    }

    /// Names of classes, where another program's file has them.
    pub fn classes(&self) -> Option<Vec<String>> {
        self.parts.first().and_then(|part| part.classes.clone())
    }

    /// Values in all tensors together: what a network can have at most. Views and what is computed are not counted twice.
    pub fn values(&self) -> u128 {
        let bytes: u128 = self.parts.iter().map(|part| part.len() as u128).sum();
        let mut values: u128 = 0;
        for place in &self.places {
            values += place.shape.iter().try_fold(1u128, |n, &size| n.checked_mul(size as u128)).unwrap_or(0);
        }
        // No element takes less than a byte; strides of zero may make a few times more of a file.
        values.min(4 * bytes)
    }

    /// The network in the file: of the target's names and shapes where one is given.
    ///
    /// # Errors
    /// [`WeightsError::NoStateDict`] where the entry or prefix asked for is not there, or there are no tensors at all.
    pub fn find(&self, options: &LoadOptions, target: Option<Target<'_>>) -> Result<Found, WeightsError> {
        self.search(options, target).map_err(|fault| fault.of(&self.file))
    }

    fn search(&self, options: &LoadOptions, target: Option<Target<'_>>) -> Result<Found, Fault> {
        let among = self.asked_for(options)?;
        if !options.keep_names {
            let mut candidates = find::candidates(&self.places, &among)?;
            let keys = self.parts.first().map(|part| &part.keys[..]).unwrap_or_default();
            if let Some(choice) = find::choose(&candidates, &self.places, target, keys) {
                find::find_head(&mut candidates, choice.taken, &self.places, &among);
                return Ok(self.found(&candidates, &choice));
            }
        }
        self.plain(&among, options)
    }

    fn found(&self, candidates: &[Candidate], choice: &find::Choice) -> Found {
        let taken = &candidates[choice.taken];
        let others: Vec<&Candidate> = choice.others.iter().map(|&i| &candidates[i]).collect();
        let mut notes = Vec::new();
        if let Some(first) = others.first() {
            let list: Vec<String> = others.iter().take(4).map(|other| other.whereabouts()).collect();
            notes.push(format!(
                "the network is in {} places: {} is taken, not {} ({} takes that)",
                others.len() + 1,
                taken.whereabouts(),
                list.join(" or "),
                first.flags(taken)
            ));
        }
        notes.extend(taken.said.iter().cloned());
        let keys = if taken.entry.is_empty() { String::new() } else { format!("{}.", taken.entry) };
        // What others are computed from is counted as these.
        let free = (0..self.places.len()).filter(|at| !taken.own.contains(at) && !self.hidden.contains(at));
        let free = free.map(|at| self.places[at].raw.as_str()).filter(|name| !is_ignored(name));
        // Those of the same dict without its keys.
        let free = free.map(|name| name.strip_prefix(&keys).unwrap_or(name));
        let mut left = left::group(free, &taken.prefix);
        for (group, &tensors) in self.parts.iter().flat_map(|part| &part.tree.others) {
            left.push(Left { group: group.clone(), tensors });
        }
        let mut names: Vec<(String, Made)> = taken.names.iter().map(|(name, made)| (name.clone(), *made)).collect();
        if let Head::One(linear) = &taken.head {
            let head = if taken.names.contains_key("conv1.weight") || taken.names.contains_key("conv1.0.weight") {
                "fc"
            } else {
                "head.fc"
            };
            names.push((format!("{head}.weight"), Made::Of(linear.weight)));
            let bias = linear.bias.map_or(Made::Constant(0.0, linear.classes), Made::Of);
            names.push((format!("{head}.bias"), bias));
            if linear.bias.is_none() {
                notes.push("the head has no bias: zeros stand in".into());
            }
        }
        let settings = self.settings(taken);
        notes.extend(settings::unusual(&settings));
        Found {
            settings,
            names,
            entry: taken.entry.clone(),
            prefix: taken.prefix.clone(),
            head: taken.head.clone(),
            recognised: true,
            foreign: taken.foreign().or_else(|| foreign::network(self.of_network(taken))),
            left,
            notes,
        }
    }

    /// Names of a network's tensors, and of what stands below it where heads are.
    fn of_network<'a>(&'a self, network: &'a Candidate) -> impl Iterator<Item = &'a str> {
        let shown = self.places.iter().enumerate().filter(|(at, _)| !self.hidden.contains(at));
        let own = shown.filter(|(at, place)| {
            let below = place.clean.strip_prefix(&network.clean).and_then(|name| name.split('.').next());
            network.own.contains(at) || below.is_some_and(head::is_word)
        });
        own.map(|(_, place)| place.clean.as_str())
    }

    /// What the layers of a network say of themselves.
    fn settings(&self, network: &Candidate) -> Settings {
        let all = self.parts.iter().map(|part| &part.tree.settings);
        if all.clone().all(|settings| settings.is_empty()) {
            return Settings::new();
        }
        let of = |path: &str| all.clone().find_map(|settings| settings.get(path)).copied();
        let mut found = Settings::new();
        for (name, made) in &network.names {
            let (Some((path, "weight")), Made::Of(at)) = (name.rsplit_once('.'), made) else { continue };
            let raw = self.places[*at].raw.as_str();
            if let Some(setting) = raw.rsplit_once('.').and_then(|(module, _)| of(module)) {
                found.insert(path.to_owned(), setting);
            }
        }
        let way = [network.entry.as_str(), network.prefix.as_str(), "maxpool"];
        let way: Vec<&str> = way.into_iter().filter(|part| !part.is_empty()).collect();
        found.extend(of(&way.join(".")).map(|setting| ("maxpool".to_owned(), setting)));
        found
    }

    /// Places below the entry and prefix that are asked for.
    fn asked_for(&self, options: &LoadOptions) -> Result<Vec<usize>, Fault> {
        // Under the file's own names nothing is computed.
        let stored = |at: &usize| matches!(self.sources[*at], Source::Stored(..));
        let own = |at: &usize| if options.keep_names { stored(at) } else { !self.hidden.contains(at) };
        let all = (0..self.places.len()).filter(own);
        let entry = options.entry.as_deref().map(|entry| entry.trim_matches('.')).filter(|entry| !entry.is_empty());
        let mut among: Vec<usize> = match entry {
            None => all.collect(),
            Some(entry) => {
                let begin = format!("{entry}.");
                let inside = |at: &usize| {
                    let place = &self.places[*at];
                    place.entry >= begin.len() && place.raw.starts_with(&begin)
                };
                all.filter(inside).collect()
            }
        };
        if among.is_empty() {
            return Err(Fault::NoStateDict(match entry {
                Some(entry) => self.no_entry(entry),
                None => self.nothing(),
            }));
        }
        let prefix =
            options.prefix.as_deref().map(|prefix| prefix.trim_matches('.')).filter(|prefix| !prefix.is_empty());
        if let Some(prefix) = prefix {
            let clean = format!("{}.", unwrapped(prefix));
            let inside = |at: &usize| {
                let place = &self.places[*at];
                let keys = unwrapped(place.raw[..place.entry].trim_end_matches('.'));
                let behind =
                    place.clean.strip_prefix(&keys).map_or(place.clean.as_str(), |name| name.trim_start_matches('.'));
                [&place.clean, &place.raw, behind, &place.raw[place.entry..]]
                    .iter()
                    .any(|name| name.starts_with(&clean) || name.starts_with(&format!("{prefix}.")))
            };
            let below: Vec<usize> = among.iter().copied().filter(inside).collect();
            if clean != "." {
                if below.is_empty() {
                    return Err(Fault::NoStateDict(self.no_prefix(prefix, &among)));
                }
                among = below;
            }
        }
        Ok(among)
    }

    fn no_entry(&self, entry: &str) -> String {
        let Some(part) = self.parts.first().filter(|part| part.format != Format::Safetensors) else {
            return format!("a safetensors file has no entries, so none called {}", show(entry));
        };
        if let Some(object) = part.tree.objects.iter().find(|(path, _)| path == entry) {
            return unreadable(object);
        }
        let key = entry.split('.').next().unwrap_or(entry);
        if part.keys.iter().any(|own| own == entry) {
            return format!("the dict under {} holds no tensors that are not under another key too", show(entry));
        }
        let meant =
            nearest(key, part.keys.iter().map(String::as_str)).map(|name| format!(" (did you mean {}?)", show(name)));
        let meant = meant.filter(|_| !part.keys.iter().any(|own| own == key)).unwrap_or_default();
        format!("no dict is under the key {}{meant}; it has {}", show(entry), listed(&part.keys))
    }

    fn no_prefix(&self, prefix: &str, among: &[usize]) -> String {
        let begins: BTreeSet<String> = among
            .iter()
            .filter_map(|&at| {
                let place = &self.places[at];
                place.raw[place.entry..].split('.').next().map(str::to_owned)
            })
            .collect();
        let begins: Vec<String> = begins.into_iter().collect();
        format!("no tensor's name begins with {}; they begin with {}", show(prefix), listed(&begins))
    }

    /// What is in a file without tensors.
    fn nothing(&self) -> String {
        let Some(part) = self.parts.first() else { return "it names no files".into() };
        if let Some(object) = part.tree.objects.iter().find(|(path, _)| !path.contains('.')) {
            return unreadable(object);
        }
        if let Some(root) = &part.root {
            return root.clone();
        }
        let others: usize = part.tree.others.values().sum();
        let has = |key: &str| part.keys.iter().any(|own| own == key);
        if others > 0 || (has("state") && has("param_groups")) {
            return "it holds the state of an optimizer and no network: give the checkpoint with the network's state_dict".into();
        }
        match &part.keys[..] {
            [] => "it holds no tensors".into(),
            keys => format!("no dict of tensors is in it, only {}", listed(keys)),
        }
    }

    /// All tensors of the likeliest entry, where no network was recognised.
    fn plain(&self, among: &[usize], options: &LoadOptions) -> Result<Found, Fault> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for &at in among {
            let place = &self.places[at];
            *counts.entry(&place.raw[..place.entry]).or_default() += 1;
        }
        let likeliest =
            counts.iter().min_by_key(|(entry, count)| (find::entry_order(entry), std::cmp::Reverse(**count)));
        let entry = likeliest.map(|(entry, _)| (*entry).to_owned()).unwrap_or_default();
        let inside = among.iter().copied().filter(|&at| self.places[at].raw[..self.places[at].entry] == entry);
        let mut tensors: BTreeMap<String, usize> = BTreeMap::new();
        for at in inside {
            let name = &self.places[at].raw[entry.len()..];
            let below = options.prefix.as_deref().and_then(|prefix| {
                let prefix = prefix.trim_matches('.');
                name.strip_prefix(prefix)?.strip_prefix('.')
            });
            tensors.insert(below.unwrap_or(name).to_owned(), at);
        }
        let special = |at: &usize| match self.sources[*at] {
            Source::Stored(part, at) => self.parts[part].tensors[at].special.as_deref() == Some("qtensor"),
            Source::Computed(_) => false,
        };
        if let Some(what) = foreign::network(tensors.keys().map(String::as_str)).filter(|_| !options.keep_names) {
            return Err(Fault::Unsupported(what));
        }
        if tensors.values().any(special) || tensors.keys().any(|name| name.contains("_packed_params")) {
            return Err(Fault::Unsupported(
                "it is a quantized network: give the float weights that it was made from".into(),
            ));
        }
        let tensors = if options.keep_names { tensors } else { names::normalize(tensors)? };
        Ok(Found {
            names: tensors.into_iter().map(|(name, at)| (name, Made::Of(at))).collect(),
            entry: entry.trim_end_matches('.').to_owned(),
            prefix: String::new(),
            head: Head::None,
            recognised: false,
            foreign: None,
            left: Vec::new(),
            notes: Vec::new(),
            settings: Settings::new(),
        })
    }

    /// The shape of a tensor that was found.
    pub fn shape(&self, found: &Found, name: &str) -> Option<Vec<usize>> {
        let made = found.names.iter().find(|entry| entry.0 == name)?.1;
        Some(match made {
            Made::Of(at) | Made::Less(at, _) => self.places[at].shape.clone(),
            Made::Constant(_, channels) => vec![channels],
        })
    }

    /// Reads what was found.
    ///
    /// # Errors
    /// [`WeightsError`], naming the file and the tensor.
    pub fn read(&self, found: Found) -> Result<Checkpoint, WeightsError> {
        let values = Values { file: self, readers: RefCell::new(self.parts.iter().map(|_| None).collect()) };
        let mut tensors = BTreeMap::new();
        for (name, made) in &found.names {
            let tensor = values.made(*made).map_err(|fault| fault.of(&self.file))?;
            tensors.insert(name.clone(), tensor);
        }
        let head = match found.head {
            Head::Other(what) => Some(what),
            _ => None,
        };
        Ok(Checkpoint {
            format: self.parts.first().map(|part| part.format),
            entry: found.entry,
            prefix: found.prefix,
            tensors,
            metadata: self.metadata(),
            left: found.left,
            notes: found.notes,
            other_head: head,
            file: self.file.clone(),
        })
    }
}

/// Reads places, each file being opened once.
struct Values<'a> {
    file: &'a WeightsFile,
    readers: RefCell<Vec<Option<Reader<'a>>>>,
}

impl Values<'_> {
    fn made(&self, made: Made) -> Result<Tensor, Fault> {
        match made {
            Made::Of(at) => self.place(at),
            Made::Constant(value, channels) => {
                Ok(Tensor::full(value as f32, channels, &Device::Cpu)?.to_dtype(DType::F32)?)
            }
            Made::Less(from, less) => {
                let (from, less) = (self.place(from)?.to_dtype(DType::F32)?, self.place(less)?.to_dtype(DType::F32)?);
                Ok((from - less)?)
            }
        }
    }

    fn place(&self, at: usize) -> Result<Tensor, Fault> {
        match self.file.sources[at] {
            Source::Stored(part, tensor) => {
                let mut readers = self.readers.borrow_mut();
                let part_of = &self.file.parts[part];
                let reader = match &mut readers[part] {
                    Some(reader) => reader,
                    empty => empty.insert(part_of.reader()?),
                };
                reader.tensor(&part_of.tensors[tensor])
            }
            Source::Computed(computed) => {
                let parts: Vec<Tensor> =
                    computed.parts().into_iter().map(|at| self.place(at)).collect::<Result<_, _>>()?;
                computed.value(&parts).map_err(|error| Fault::from(error).within(&self.file.places[at].raw))
            }
        }
    }
}

/// What a file may have that is not recognised by its beginning.
const MOST_FOREIGN: u64 = 64 << 20;
/// ResNet-152x4 of BiT, in f64 and with its optimizer's state, has half of it.
const MOST_BYTES: u64 = 24 << 30;

fn read(path: &Path) -> Result<Vec<u8>, WeightsError> {
    let failed = |source| WeightsError::Read { file: path.to_owned(), source };
    // A large file is looked at before it is read: it may be anything.
    if path.metadata().is_ok_and(|about| about.is_file() && about.len() > MOST_FOREIGN) {
        let mut head = Vec::new();
        std::fs::File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head)).map_err(failed)?;
        detect(&head, path)?;
    }
    resnet_files::read(path, MOST_BYTES).map_err(failed)
}

fn detect(bytes: &[u8], file: &Path) -> Result<Format, WeightsError> {
    Format::detect(bytes).map_err(|found| {
        let found = foreign::named(file).map_or(found, str::to_owned);
        WeightsError::UnknownFormat { file: file.to_owned(), found }
    })
}

fn open_part(bytes: Vec<u8>, file: &Path) -> Result<Part, WeightsError> {
    let format = detect(&bytes, file)?;
    Part::open(bytes, format).map_err(|fault| fault.of(file))
}

/// Python's modules whose functions run programs, load code or open connections.
const CALLS: &[&str] = &[
    "ctypes",
    "importlib",
    "marshal",
    "nt",
    "os",
    "pdb",
    "posix",
    "pty",
    "runpy",
    "shutil",
    "socket",
    "subprocess",
    "sys",
    "webbrowser",
];
/// Likewise functions that are there without a module.
const BUILTIN_CALLS: &[&str] = &["__import__", "compile", "eval", "exec", "getattr", "open"];

/// What to do about an object that cannot be looked into.
fn unreadable((path, class): &(String, String)) -> String {
    let (of, key) = match path.as_str() {
        "" => ("it holds".to_owned(), String::new()),
        path => (
            format!("its entry {} holds", show(path)),
            path.split('.').map(|key| format!("['{}']", show(key))).collect::<String>(),
        ),
    };
    let (module, name) = class.split_once('.').unwrap_or((class, ""));
    let builtin = matches!(module, "builtins" | "__builtin__") && BUILTIN_CALLS.contains(&name);
    if builtin || CALLS.contains(&module) {
        return format!("{of} a call of {}, which no checkpoint makes: do not load it with Python either", show(class));
    }
    format!(
        "{of} a whole object of class {}, which cannot be read without running it: in Python, \
         torch.save(torch.load(FILE, weights_only=False){key}.state_dict(), 'weights.pth'), if you trust who made it, and give \
         weights.pth",
        show(class)
    )
}

fn listed(keys: &[String]) -> String {
    let shown: Vec<_> = keys.iter().take(8).map(|key| show(key)).collect();
    let more = keys.len().saturating_sub(8);
    match (shown.is_empty(), more) {
        (true, _) => "no keys".into(),
        (_, 0) => shown.join(", "),
        _ => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_run_a_pickle_that_calls_a_program() {
        for class in ["posix.system", "os.system", "subprocess.Popen", "builtins.eval", "__builtin__.getattr"] {
            let message = unreadable(&("model".into(), class.into()));
            assert!(message.contains("do not load it") && !message.contains("torch.load"), "{message}");
        }
        for class in ["mypackage.Net", "builtins.set", "osnet.OSNet"] {
            assert!(unreadable(&("model".into(), class.into())).contains("if you trust who made it"), "{class}");
        }
    }
}
