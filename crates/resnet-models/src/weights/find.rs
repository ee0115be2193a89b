//! The networks that a file holds, wherever in it they are, and which of them to take.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::Fault;
use super::fold::{Made, complete};
use super::head::{self, Head, Named, Network};
use super::names::is_ignored;
use super::spelling::{Children, Spelling, anchor, is_wrapper, unwrapped};
use crate::escape::show;

/// More networks than this in one file are not looked at.
const MOST: usize = 16;

/// A tensor of a file: where, under which name, of which shape.
#[derive(Debug)]
pub(super) struct Place {
    /// Keys, prefix and name as they are in the file.
    pub raw: String,
    /// The same without what wrappers put into it.
    pub clean: String,
    /// How many bytes of `raw` are keys of dicts.
    pub entry: usize,
    pub shape: Vec<usize>,
    pub float: bool,
}

impl Place {
    pub fn new(raw: String, entry: usize, shape: Vec<usize>, float: bool) -> Self {
        Self { clean: unwrapped(&raw), raw, entry, shape, float }
    }
}

/// A network in a file.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Keys that lead to its state dict, joined by dots.
    pub entry: String,
    /// What its names begin with behind that, without a dot at the end.
    pub prefix: String,
    /// The same, keys included, without what wrappers put into it: empty or ending with a dot.
    pub clean: String,
    spelling: Spelling,
    /// Its tensors under our names, without its head.
    pub names: BTreeMap<String, Made>,
    pub head: Head,
    /// The number of its last stage where its children have numbers.
    last_child: Option<usize>,
    /// Places that are its own.
    pub own: BTreeSet<usize>,
    /// What was done to read it.
    pub said: Vec<String>,
}

/// What belongs to the networks of a file that are not taken.
struct Others {
    own: BTreeSet<usize>,
    prefixes: Vec<String>,
}

impl Others {
    fn of(candidates: &[Candidate], taken: usize) -> Self {
        let clean = &candidates[taken].clean;
        let others = || candidates.iter().enumerate().filter(|(i, _)| *i != taken).map(|(_, other)| other);
        let prefixes = others().map(|other| other.clean.clone()).filter(|prefix| !clean.starts_with(prefix.as_str()));
        Self { prefixes: prefixes.collect(), own: others().flat_map(|other| other.own.iter().copied()).collect() }
    }

    fn have(&self, at: usize, name: &str) -> bool {
        self.own.contains(&at) || self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// Looks for the head of the one that is taken.
pub(super) fn find_head(candidates: &mut [Candidate], taken: usize, places: &[Place], among: &[usize]) {
    let others = Others::of(candidates, taken);
    candidates[taken].find_head(places, among, &others);
}

/// All networks in the places of `among`, in the file's order.
///
/// # Errors
/// When two tensors of one would have the same name.
pub(super) fn candidates(places: &[Place], among: &[usize]) -> Result<Vec<Candidate>, Fault> {
    let mut found: Vec<(String, Spelling, usize)> = Vec::new();
    for &at in among {
        let place = &places[at];
        let Some((prefix, spelling)) = anchor(&place.clean).filter(|_| place.shape.len() == 4) else { continue };
        if found.len() < MOST && !found.iter().any(|(known, of, _)| known == prefix && *of == spelling) {
            found.push((prefix.to_owned(), spelling, at));
        }
    }
    let made = found.into_iter().map(|(prefix, spelling, at)| Candidate::new(places, among, prefix, spelling, at));
    let made: Vec<Candidate> = made.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    Ok(made)
}

impl Candidate {
    fn new(
        places: &[Place],
        among: &[usize],
        clean: String,
        spelling: Spelling,
        anchor: usize,
    ) -> Result<Option<Self>, Fault> {
        let below: Vec<(usize, &str)> = among
            .iter()
            .filter_map(|&at| Some((at, places[at].clean.strip_prefix(clean.as_str())?)))
            .filter(|(_, name)| !is_ignored(name))
            .collect();
        let children = match spelling {
            Spelling::Numbered => {
                let Some(found) = Children::of(below.iter().map(|&(at, name)| (name, places[at].shape.len()))) else {
                    return Ok(None);
                };
                Some(found)
            }
            _ => None,
        };
        let (mut names, mut own) = (BTreeMap::new(), BTreeSet::new());
        let mut others = false;
        for (at, name) in below {
            let Some(ours) = spelling.name(name, children.as_ref()).filter(|ours| !ours.starts_with("fc.")) else {
                others |= !head::is_word(name.split('.').next().unwrap_or(name));
                continue;
            };
            own.insert(at);
            if names.insert(ours.clone(), Made::Of(at)).is_some() {
                return Err(Fault::Damaged(format!("two tensors would both be called {}", show(&ours))));
            }
        }
        // One stage among other things is another network's (HRNet's).
        let second =
            ["layer2.", "stages.1."].iter().any(|stage| names.keys().any(|name: &String| name.starts_with(stage)));
        if others && !second {
            return Ok(None);
        }
        let said = match spelling {
            Spelling::ResNetV2 | Spelling::Configurable => Vec::new(),
            _ => complete(&mut names, |place| &places[place].shape),
        };
        let (entry, prefix) = split(&places[anchor], &clean);
        let last_child = children.and_then(|children| children.last());
        Ok(Some(Self { entry, prefix, clean, spelling, names, head: Head::None, last_child, own, said }))
    }

    /// Looks for the head among the tensors that are neither the network's nor `others`', which is done for the one that
    /// is taken.
    fn find_head(&mut self, places: &[Place], among: &[usize], others: &Others) {
        let Some(features) = self.features(places) else { return };
        let free = among.iter().filter(|at| !self.own.contains(at) && places[**at].float);
        let free = free.filter(|at| !others.have(**at, &places[**at].clean));
        let named: Vec<(String, usize)> = free
            .map(|&at| (places[at].clean.clone(), at))
            .map(|(name, at)| match self.spelling {
                // detectron2's converter leaves the head in the stem.
                Spelling::Detectron => (name.replacen("stem.fc.", "fc.", 1), at),
                _ => (name, at),
            })
            .collect();
        let named: Vec<Named> = named.iter().map(|(name, at)| (name.as_str(), *at, &places[*at].shape[..])).collect();
        let entry = if self.entry.is_empty() { 0 } else { unwrapped(&self.entry).len() + 1 };
        let network = Network { prefix: &self.clean, entry, features, last_child: self.last_child };
        let (head, note) = head::find(&named, &network);
        self.head = head;
        self.said.extend(note);
        if let Head::One(linear) = &self.head {
            self.own.insert(linear.weight);
            self.own.extend(linear.bias);
        }
    }

    /// Outputs of the last convolution: of the last stage, block and number.
    fn features(&self, places: &[Place]) -> Option<usize> {
        let shape = |name: &str| match self.names.get(name) {
            Some(Made::Of(at)) => Some(&places[*at].shape),
            _ => None,
        };
        if let Some(last) = shape("final_conv.conv.weight") {
            return last.first().copied();
        }
        let numbered = |name: &str| -> Option<(Vec<usize>, usize)> {
            let conv = name.strip_suffix(".weight")?;
            let in_block = (name.starts_with("layer") || name.starts_with("stages")) && conv.contains(".conv");
            let outputs = shape(name).filter(|shape| in_block && shape.len() == 4)?.first().copied()?;
            let numbers = conv.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
            Some((numbers.take(3).collect(), outputs))
        };
        self.names.keys().filter_map(|name| numbered(name)).max().map(|last| last.1)
    }

    /// How far from what users of the format take, less being nearer.
    fn distance(&self, timm: bool, ultralytics: bool) -> (i32, Vec<usize>) {
        let path = format!("{}.{}", self.entry, self.prefix);
        let mut distance = 0;
        for part in path.split('.') {
            distance += match part {
                // timm's own loader and Ultralytics' take the average where there is one.
                "state_dict_ema" if timm => -1,
                "ema" if ultralytics => -1,
                "student" | "encoder_k" | "key_encoder" | "k_encoder" | "shadow" => 10,
                _ if part.contains("ema") && part.split('_').any(|word| word == "ema") => 10,
                _ if part == "ema" || part.starts_with("swa_") || part.starts_with("average") => 10,
                _ if part.starts_with("target") || part.contains("momentum") => 10,
                _ => 0,
            };
        }
        (distance, entry_order(&self.entry))
    }
}

/// Entry and prefix as the file has them, of a network's first block and the prefix without wrappers.
fn split(place: &Place, clean: &str) -> (String, String) {
    let parts = clean.split('.').filter(|part| !part.is_empty()).count();
    let (mut seen, mut bytes) = (0, 0);
    for part in place.raw.split('.') {
        if seen == parts && !is_wrapper(part) {
            break;
        }
        seen += usize::from(!is_wrapper(part));
        bytes += part.len() + 1;
    }
    let bytes = bytes.min(place.raw.len());
    let entry = place.entry.min(bytes);
    let trim = |text: &str| text.trim_end_matches('.').to_owned();
    (trim(&place.raw[..entry]), trim(&place.raw[entry..bytes]))
}

/// Keys that training scripts keep a network's weights under, the likeliest first. Averaged weights
/// come after the plain ones: whoever wants them says so.
const KEYS: &[&str] = &[
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

/// Orders entries: the usual keys, the dict itself, other keys.
pub(super) fn entry_order(entry: &str) -> Vec<usize> {
    let parts = entry.split('.').filter(|part| !part.is_empty());
    let mut order: Vec<usize> =
        parts.map(|part| KEYS.iter().position(|key| *key == part).unwrap_or(KEYS.len() + 1)).collect();
    order.push(KEYS.len());
    order
}

/// Names and shapes that a network wants, without its head; the first is the first convolution's.
pub(crate) type Target<'a> = &'a [(String, Vec<usize>)];

/// Which of the candidates is taken, by its place.
#[derive(Debug)]
pub(super) struct Choice {
    pub taken: usize,
    /// Others that would do as well.
    pub others: Vec<usize>,
}

/// The one that fits the target best; of several that fit, what users of the format take.
pub(super) fn choose(
    candidates: &[Candidate],
    places: &[Place],
    target: Option<Target<'_>>,
    keys: &[String],
) -> Option<Choice> {
    let has = |key: &str| keys.iter().any(|own| own == key);
    let (timm, ultralytics) = (has("state_dict_ema"), has("updates") && has("ema"));
    let missing = |candidate: &Candidate| {
        let Some(target) = target else { return 0 };
        // The first convolution may be of another form: it is recognised by its shape.
        target.iter().skip(1).filter(|(name, shape)| !candidate.has(name, shape, places)).count()
    };
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_cached_key(|&i| (missing(&candidates[i]), candidates[i].distance(timm, ultralytics)));
    let (&taken, rest) = order.split_first()?;
    let least = missing(&candidates[taken]);
    let others = rest.iter().copied().filter(|&i| missing(&candidates[i]) == least);
    // Without a target those of the same shapes are others of the same network.
    let like = |i: &usize| target.is_some() || candidates[*i].names.len() == candidates[taken].names.len();
    Some(Choice { taken, others: others.filter(like).collect() })
}

impl Candidate {
    fn has(&self, name: &str, shape: &[usize], places: &[Place]) -> bool {
        match self.names.get(name) {
            Some(Made::Of(at)) | Some(Made::Less(at, _)) => places[*at].shape == shape,
            Some(Made::Constant(_, channels)) => shape == [*channels],
            None => false,
        }
    }

    /// How to ask for it, seen from another.
    pub fn flags(&self, taken: &Candidate) -> String {
        let entry = (self.entry != taken.entry).then(|| format!("--entry {}", show(&self.entry)));
        let prefix =
            (self.prefix != taken.prefix || entry.is_none()).then(|| format!("--prefix {}", show(&self.prefix)));
        let flags: Vec<String> = entry.into_iter().chain(prefix.filter(|flag| !flag.ends_with(' '))).collect();
        flags.join(" ")
    }

    /// Where it is, in words.
    pub fn whereabouts(&self) -> String {
        match (self.entry.as_str(), self.prefix.as_str()) {
            ("", "") => "the top".into(),
            (entry, "") => show(entry),
            ("", prefix) => format!("{}.*", show(prefix)),
            (entry, prefix) => format!("{}: {}.*", show(entry), show(prefix)),
        }
    }

    /// In words why this is a network of another kind, where its names tell.
    pub fn foreign(&self) -> Option<String> {
        let has = |start: &str| self.names.keys().any(|name| name.starts_with(start));
        if has("attnpool.") {
            return Some(
                "it is CLIP's ModifiedResNet, another network than ResNet: its stem is three convolutions with norms of \
                 their own (conv1, conv2, conv3), and an attention pool (attnpool) stands in place of the mean; no network \
                 here computes it"
                    .into(),
            );
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_in_order() {
        let mut entries = ["", "ema", "foo", "model.state_dict", "model", "state_dict"];
        entries.sort_by_key(|entry| entry_order(entry));
        assert_eq!(entries, ["state_dict", "model.state_dict", "model", "ema", "", "foo"]);
    }

    #[test]
    fn where_a_network_is() {
        let place = |raw: &str, entry: usize| Place::new(raw.into(), entry, vec![1; 4], true);
        let of = |raw: &str, entry: &str, clean: &str| split(&place(raw, entry.len()), clean);
        assert_eq!(
            of("state_dict.module.encoder_q.layer1.0.conv1.weight", "state_dict.", "state_dict.encoder_q."),
            ("state_dict".into(), "module.encoder_q".into())
        );
        assert_eq!(of("module.layer1.0.conv1.weight", "", ""), (String::new(), "module".into()));
        assert_eq!(of("a._orig_mod.layer1.0.conv1.weight", "a.", "a."), ("a".into(), "_orig_mod".into()));
    }
}
