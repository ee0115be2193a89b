//! Which members of a shard belong together.

use std::collections::HashMap;

use super::labels::{Label, NEITHER};
use super::member_names::{LABELS, base};
use super::members::Member;
use super::summary::{LeftOut, PACKED};
use crate::kind::{EXTENSIONS, Kind};

/// What a picture is called that has others beside it.
const MAIN: [&str; 6] = ["image", "img", "input", "rgb", "picture", "photo"];

/// Names of labels in JSON: of numbers, then of words.
const KEYS: [&str; 14] = [
    "label",
    "cls",
    "class",
    "class_id",
    "class_index",
    "class_idx",
    "label_id",
    "label_idx",
    "target",
    "index_class",
    "class_name",
    "label_name",
    "classname",
    "category",
];

/// An image and what is known of its class.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) label: Found,
}

/// What stands where a label should.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    Label(Label),
    /// Text beside the image, which may be a caption.
    Caption(Option<Label>),
    /// What holds a label does not hold this one, and why.
    Unclear(&'static str),
    Nothing,
}

/// What a member is by its first bytes.
pub(super) type Sniff<'a> = &'a dyn Fn(&Member) -> Kind;

/// Puts members with the same name up to a dot together: the first dot of its last part, as WebDataset has it; the last
/// one where more samples are whole then (`photo.2023.01.jpg`). Where there is a label and no name of a picture, the
/// other members are looked into.
pub(super) fn samples(
    members: &[Member],
    sniff: Sniff,
    left_out: &mut LeftOut,
    notes: &mut Vec<String>,
) -> Vec<Sample> {
    let first = grouped(members, sniff, |base| base.find('.'));
    let last = grouped(members, sniff, |base| base.rfind('.'));
    let whole = |found: &(Vec<Sample>, LeftOut)| {
        found.0.iter().filter(|sample| !matches!(sample.label, Found::Nothing)).count()
    };
    let (samples, own) = if whole(&last) > whole(&first) {
        notes.push("names are taken up to their last dot, as more samples are whole so".to_string());
        last
    } else {
        first
    };
    left_out.merge(own);
    samples
}

/// The members of one name: the images with their endings, the labels with their ranks and endings, and what has neither
/// ending.
#[derive(Default)]
struct Group<'a> {
    key: &'a str,
    images: Vec<(String, &'a Member)>,
    labels: Vec<(usize, String, &'a Member)>,
    others: Vec<(String, &'a Member)>,
}

/// How sure a label of this ending is: a known one, or (`label.cls`) one whose last part is.
fn rank_of(ending: &str) -> Option<usize> {
    let rank = |ending: &str| LABELS.iter().position(|known| *known == ending);
    let last = || rank(ending.rsplit_once('.')?.1).map(|rank| LABELS.len() + rank);
    rank(ending).or_else(last)
}

fn grouped(members: &[Member], sniff: Sniff, dot: impl Fn(&str) -> Option<usize>) -> (Vec<Sample>, LeftOut) {
    let mut left_out = LeftOut::default();
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for member in members {
        let name = member.name.as_str();
        let base = base(name);
        let Some(dot) = dot(base) else {
            left_out
                .add(["member whose name has no ending", "members whose names have no ending"], || name.to_string());
            continue;
        };
        let (key, ending) = (&name[..name.len() - base.len() + dot], base[dot + 1..].to_lowercase());
        let place = *known.entry(key).or_insert_with(|| {
            groups.push(Group { key, ..Group::default() });
            groups.len() - 1
        });
        let group = &mut groups[place];
        let is_image = |ending: &str| EXTENSIONS.contains(&ending.rsplit('.').next().unwrap_or_default());
        let mut twice = false;
        if is_image(&ending) {
            // Of a name that is there twice tar unpacks the last.
            twice = group.images.iter().any(|(known, _)| *known == ending);
            group.images.retain(|(known, _)| *known != ending);
            group.images.push((ending, member));
        } else if let Some(rank) = rank_of(&ending) {
            twice = group.labels.iter().any(|(_, known, _)| *known == ending);
            group.labels.retain(|(_, known, _)| *known != ending);
            group.labels.push((rank, ending, member));
        } else if is_archive(name) {
            left_out.add(PACKED, || name.to_string());
        } else {
            group.others.push((ending, member));
        }
        if twice {
            left_out.add(
                [
                    "member whose name comes again later in its shard",
                    "members whose names come again later in their shard",
                ],
                || name.to_string(),
            );
        }
    }
    let mut samples = Vec::with_capacity(groups.len());
    for mut group in groups {
        let label = group.label();
        let mut unreadable = false;
        if group.images.is_empty() && label != Found::Nothing {
            for (ending, other) in std::mem::take(&mut group.others) {
                match sniff(other) {
                    Kind::Picture(_) => group.images.push((ending, other)),
                    Kind::Unreadable(kind) => {
                        unreadable = true;
                        left_out.add_unreadable(kind, || other.name.clone());
                    }
                    Kind::Other => {}
                }
            }
        }
        if let Some(image) = group.image(&mut left_out) {
            samples.push(Sample { name: image.name.clone(), offset: image.offset, length: image.length, label });
        } else if !unreadable && group.images.is_empty() && !matches!(label, Found::Nothing | Found::Caption(_)) {
            left_out.add(["label without an image", "labels without an image"], || group.key.to_string());
        }
    }
    (samples, left_out)
}

impl<'a> Group<'a> {
    /// The picture, where it is clear which one it is.
    fn image(&mut self, left_out: &mut LeftOut) -> Option<&'a Member> {
        let rank = |ending: &str| -> usize {
            let known = EXTENSIONS.iter().position(|known| *known == ending);
            let main = || MAIN.iter().position(|name| ending.split('.').next() == Some(name));
            known.or_else(|| main().map(|place| 100 + place)).unwrap_or(usize::MAX)
        };
        self.images.sort_by_key(|(ending, _)| rank(ending));
        let (first, image) = self.images.first()?;
        if rank(first) == usize::MAX && self.images.len() > 1 {
            let all: Vec<&str> = self.images.iter().map(|(ending, _)| ending.as_str()).collect();
            left_out.add(
                [
                    "sample with several pictures, none called .jpg or .png",
                    "samples with several pictures, none called .jpg or .png",
                ],
                || format!("{}: {}", self.key, all.join(", ")),
            );
            return None;
        }
        for (_, other) in &self.images[1..] {
            left_out.add(["further picture of a sample", "further pictures of samples"], || other.name.clone());
        }
        Some(image)
    }

    /// The surest label.
    fn label(&mut self) -> Found {
        self.labels.sort_by_key(|(rank, ..)| *rank);
        let (mut found, mut sure) = (Found::Nothing, None);
        for (rank, _, member) in &self.labels {
            if sure.as_ref().is_some_and(|(known, _)| *known != rank) {
                break;
            }
            let text = member.text.as_deref();
            let this = match LABELS[rank % LABELS.len()] {
                ending if ending.ends_with("json") => json(text.unwrap_or_default()),
                "txt" => Found::Caption(text.and_then(Label::parse)),
                _ => match text.ok_or(NEITHER).and_then(Label::read) {
                    Ok(label) => Found::Label(label),
                    Err(why) => Found::Unclear(why),
                },
            };
            match (&sure, this) {
                // `left.cls` and `right.cls` of one sample.
                (Some((_, label)), this @ Found::Label(_)) if *label != this => {
                    return Found::Unclear("several members tell it, and not the same");
                }
                (None, this @ Found::Label(_)) => sure = Some((rank, this)),
                // Metadata in .json beside a .cls need not say the label again.
                (None, this) if found == Found::Nothing => found = this,
                _ => {}
            }
        }
        sure.map_or(found, |(_, label)| label)
    }
}

/// The label in JSON: under one of its usual names, or alone.
fn json(text: &str) -> Found {
    let text = text.trim_start_matches('\u{feff}');
    let parsed = serde_json::from_str(text).or_else(|_| serde_json::from_str(&without_nan(text)));
    let Ok(value): serde_json::Result<serde_json::Value> = parsed else {
        return Found::Unclear("it is no JSON");
    };
    let label = |value: &serde_json::Value| match value {
        serde_json::Value::Bool(value) => Some(Label::Number((*value).into())),
        serde_json::Value::Number(number) => Label::parse(&number.to_string()),
        serde_json::Value::String(text) => Label::parse(text),
        _ => None,
    };
    let object = value.as_object();
    let named = || KEYS.iter().filter_map(|key| object?.get(*key));
    if let Some(label) = named().find_map(label).or_else(|| label(&value)) {
        return Found::Label(label);
    }
    match named().next() {
        Some(serde_json::Value::Array(_)) => Found::Unclear("it has a list of labels, and a class is one"),
        Some(_) => Found::Unclear("its label is neither a number nor a name"),
        None => Found::Nothing,
    }
}

/// JSON with null where Python writes NaN, Infinity and -Infinity.
fn without_nan(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Every other piece between quotes is a string; a quote behind an odd number of backslashes is part of one.
    let (mut rest, mut within) = (text, false);
    while !rest.is_empty() {
        let end = match within {
            true => {
                let mut escaped = false;
                let close = rest.bytes().position(|byte| {
                    let closes = byte == b'"' && !escaped;
                    escaped = byte == b'\\' && !escaped;
                    closes
                });
                close.map_or(rest.len(), |close| close + 1)
            }
            false => rest.find('"').map_or(rest.len(), |open| open + 1),
        };
        let (piece, after) = rest.split_at(end);
        match within {
            true => out.push_str(piece),
            false => {
                out.push_str(&piece.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null"))
            }
        }
        (rest, within) = (after, !within);
    }
    out
}

/// Whether a member holds others.
fn is_archive(name: &str) -> bool {
    let name = name.to_lowercase();
    [".tar", ".tgz", ".zip", ".7z", ".rar"].iter().any(|ending| name.ends_with(ending)) || name.contains(".tar.")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::member_names::may_hold_a_label;
    use super::*;

    fn member(name: &str, text: &str) -> Member {
        let text = may_hold_a_label(name).then(|| text.into());
        Member { name: name.to_string(), offset: 512, length: 9, text }
    }

    fn of(names: &[(&str, &str)]) -> (Vec<(String, Found)>, String) {
        let members: Vec<Member> = names.iter().map(|(name, text)| member(name, text)).collect();
        let (mut left_out, mut notes) = (LeftOut::default(), Vec::new());
        let sniff = |member: &Member| Kind::of(member.name.as_bytes(), Path::new(&member.name));
        let samples = samples(&members, &sniff, &mut left_out, &mut notes);
        (samples.into_iter().map(|s| (s.name, s.label)).collect(), format!("{left_out} {notes:?}"))
    }

    fn number(number: i64) -> Found {
        Found::Label(Label::Number(number))
    }

    #[test]
    fn members_of_a_sample_need_not_stand_together() {
        let (samples, said) = of(&[("b.jpg", ""), ("a.JPG", ""), ("a.CLS", "1"), ("b.cls", "0\n")]);
        assert_eq!(samples, [("b.jpg".into(), number(0)), ("a.JPG".into(), number(1))]);
        assert_eq!(said, " []");
    }

    #[test]
    fn names_have_folders_and_dots() {
        let (samples, said) = of(&[("a/b.c/0001.seg.png", ""), ("a/b.c/0001.png", ""), ("a/b.c/0001.cls", "4")]);
        assert_eq!(samples, [("a/b.c/0001.png".into(), number(4))]);
        assert!(said.contains("1 further picture of a sample (a/b.c/0001.seg.png)"), "{said}");
        let dotted = [("p.2023.01.jpg", ""), ("p.2023.02.jpg", ""), ("p.2023.01.cls", "1"), ("p.2023.02.cls", "2")];
        let (samples, said) = of(&dotted);
        assert_eq!(samples, [("p.2023.01.jpg".into(), number(1)), ("p.2023.02.jpg".into(), number(2))]);
        assert!(said.contains("last dot"), "{said}");
        let (samples, said) =
            of(&[("x.left.png", ""), ("x.right.png", ""), ("x.cls", "1"), ("y.image.png", ""), ("y.cls", "2")]);
        assert_eq!(samples, [("y.image.png".into(), number(2))]);
        assert!(said.contains("1 sample with several pictures"), "{said}");
    }

    #[test]
    fn labels_are_found_where_people_write_them() {
        let word = |word: &str| Found::Label(Label::Word(word.into()));
        let cases = [
            ("a.cls", "\u{feff}3\r\n", number(3)),
            ("a.cls", "cat\n", word("cat")),
            ("a.cls.txt", "3", number(3)),
            ("a.index", "3", number(3)),
            ("a.json", "3", number(3)),
            ("a.json", "{\"label\": 3}", number(3)),
            ("a.json", "\u{feff}{\"label\": \"3\"}", number(3)),
            ("a.json", "{\"width\": 3, \"class_name\": \"cat\", \"cls\": null}", word("cat")),
            ("a.json", "{\"width\": 3}", Found::Nothing),
            ("a.json", "{\"label\": [1, 2]}", Found::Unclear("it has a list of labels, and a class is one")),
            ("a.json", "{", Found::Unclear("it is no JSON")),
            ("a.json", r#"{"p": -Infinity, "q": [NaN,Infinity], "t": "NaN \" NaN \\", "label": 3}"#, number(3)),
            ("a.json", r#"{"label": NaN}"#, Found::Unclear("its label is neither a number nor a name")),
            ("a.json", r#"{"label": "NaN", "p": NaN}"#, word("NaN")),
            ("a.json", "NaN\"", Found::Unclear("it is no JSON")),
            ("a.label.cls", "3", number(3)),
            ("a.meta.json", "{\"label\": 3}", number(3)),
            ("a.cls", "", Found::Unclear("it is neither a number nor a name")),
            ("a.txt", "cat", Found::Caption(Some(Label::Word("cat".into())))),
        ];
        for (name, text, expected) in cases {
            assert_eq!(of(&[("a.jpg", ""), (name, text)]).0, [("a.jpg".into(), expected)], "{name}: {text}");
        }
        let two = [("a.jpg", ""), ("a.left.cls", "1"), ("a.right.cls", "2")];
        assert_eq!(of(&two).0[0].1, Found::Unclear("several members tell it, and not the same"));
        assert_eq!(of(&[two[0], two[1], ("a.right.cls", "1"), ("a.x.json", "7")]).0[0].1, number(1));
        assert_eq!(of(&[two[0], two[1], ("a.cls", "4")]).0[0].1, number(4));
        let both = [("a.jpg", ""), ("a.txt", "a cat"), ("a.json", "{\"label\": 2}"), ("a.cls", "1")];
        assert_eq!(of(&both).0[0].1, number(1));
        assert_eq!(of(&both[..3]).0[0].1, number(2));
    }

    #[test]
    fn what_comes_twice_or_alone_is_said() {
        let (samples, said) =
            of(&[("a.jpg", ""), ("a.cls", "1"), ("a.jpg", ""), ("a.cls", "2"), ("b.cls", "1"), ("README", "")]);
        assert_eq!(samples, [("a.jpg".into(), number(2))]);
        for part in ["2 members whose names come again", "1 label without an image (b)", "no ending (README)"] {
            assert!(said.contains(part), "{said}");
        }
    }
}
