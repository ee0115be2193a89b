//! WebDataset's shards: tar files in which members of one name are a sample, `0001.jpg` and `0001.cls`.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tar::Header;

use super::classes::{Labelled, Shards};
use super::files::files;
use super::labels::{Classes, Given, Label, classes};
use super::members::{Member, members};
use super::samples::{Found, Sample, samples};
use super::summary::{LeftOut, PACKED, Summary, UNLABELLED, many};
use crate::decode::decode;
use crate::kind::{HEAD, Kind};
use crate::names::shown;
use crate::{Dataset, Error, Image, Result, Split};

/// Images of a run: enough that a disk reads them in one go, few enough that a buffer mixes many runs.
const RUN: usize = 128;

/// Where an image lies.
#[derive(Clone, Copy, Debug)]
struct ImageRange {
    shard: u32,
    label: u32,
    offset: u64,
    length: u64,
}

/// Images in tar shards, read where they lie.
///
/// Members with the same name up to the first dot belong together, in whatever order they stand: an image and its label,
/// a number or a word in `.cls`, `.cls.txt`, `.label`, `.class`, `.target`, `.index`, or under `label`, `cls`, `class`
/// (and the like) in `.json`; in `.txt` where there is nothing else and the words are classes.
#[derive(Debug)]
pub struct TarShards {
    shards: Vec<PathBuf>,
    places: Vec<ImageRange>,
    /// First image of each shard.
    starts: Vec<usize>,
    classes: Vec<String>,
    words: bool,
    summary: Summary,
}

impl TarShards {
    /// Indexes the shards of a split: in a folder, or named as `DIR/train-{000000..000099}.tar` or `DIR/train-*.tar`.
    ///
    /// Reads the members' headers and labels, on all threads, and skips the images.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there are none; [`Error::Format`] naming the shard that is truncated or no tar file, or
    /// saying that no sample has a label; [`Error::Io`].
    pub fn open(place: &str, split: Split) -> Result<Self> {
        let found = files(place, "tar", split)?;
        let indexed: Vec<_> = found.files.par_iter().map(|path| index(path)).collect::<Result<_>>()?;
        let (mut left_out, mut notes) = (found.left_out.clone(), found.notes.clone());
        let mut all = Vec::with_capacity(indexed.iter().map(|(samples, ..)| samples.len()).sum());
        for (shard, (samples, own, said)) in indexed.into_iter().enumerate() {
            left_out.merge(own);
            notes.extend(said);
            all.extend(samples.into_iter().map(|sample| (shard, sample)));
        }
        let labelled = labelled(all, &found.files, place, &mut left_out, &notes)?;
        let labels: Vec<Label> = labelled.iter().map(|kept| kept.label.clone()).collect();
        let at = |index: usize| (found.files[labelled[index].shard].as_path(), shown(&labelled[index].name));
        let given = Given { shard: &found.files[0], labels: &labels, own: None, at: &at };
        let Classes { labels, names, words } = classes(given)?;
        let mut places = Vec::with_capacity(labels.len());
        let mut starts = Vec::with_capacity(found.files.len());
        for (Kept { shard, offset, length, .. }, label) in labelled.into_iter().zip(labels) {
            while starts.len() <= shard {
                starts.push(places.len());
            }
            places.push(ImageRange { shard: shard as u32, label, offset, length });
        }
        starts.resize(found.files.len(), places.len());
        let shards = found.files;
        let files = many(shards.len(), "tar file");
        let name = format!("shards:{place}");
        let summary = Summary { name, split, files, undivided: found.undivided, notes, left_out };
        Ok(Self { shards, places, starts, classes: names, words, summary })
    }
}

/// All samples of a shard, in order, and what is to be said of it.
fn index(path: &Path) -> Result<(Vec<Sample>, LeftOut, Vec<String>)> {
    let (mut left_out, mut notes) = (LeftOut::default(), Vec::new());
    let members = members(path, &mut left_out, &mut notes)?;
    let mut said = Vec::new();
    let head = |member: &Member| -> std::io::Result<Vec<u8>> {
        let mut file = resnet_files::open(path)?;
        file.seek(SeekFrom::Start(member.offset))?;
        let mut head = Vec::new();
        file.take(member.length.min(HEAD)).read_to_end(&mut head)?;
        Ok(head)
    };
    let sniff = |member: &Member| head(member).map_or(Kind::Other, |head| Kind::of(&head, Path::new(&member.name)));
    let samples = samples(&members, &sniff, &mut left_out, &mut said);
    left_out.within(path);
    notes.extend(said.into_iter().map(|note| format!("{}: {note}", shown(path))));
    Ok((samples, left_out, notes))
}

/// A sample that has a label.
struct Kept {
    shard: usize,
    name: String,
    offset: u64,
    length: u64,
    label: Label,
}

/// The samples that have labels.
fn labelled(
    samples: Vec<(usize, Sample)>,
    shards: &[PathBuf],
    place: &str,
    left_out: &mut LeftOut,
    notes: &[String],
) -> Result<Vec<Kept>> {
    let Some((_, first)) = samples.first() else {
        let hint = match left_out.line() {
            Some(line) if left_out.count(PACKED) > 0 => format!(
                "it holds tar files or other archives: unpack it, and where each of them holds the images of a class \
                 unpack those too, each into a folder of its name, and give the folder ({line})"
            ),
            Some(line) => format!("a sample is an image and its label: NAME.jpg and NAME.cls ({line})"),
            None => "a sample is an image and its label: NAME.jpg and NAME.cls".to_string(),
        };
        return Err(Error::NotFound { path: place.into(), what: "images in the tar files".to_string(), hint });
    };
    let first = shards[samples[0].0].join(&first.name);
    let sure = samples.iter().filter(|(_, sample)| matches!(sample.label, Found::Label(_))).count();
    let folders = class_folders(&samples);
    let captions = sure == 0 && are_classes(&samples);
    let total = samples.len();
    let mut unclear = None;
    let mut kept = Vec::with_capacity(total);
    for (shard, Sample { name, offset, length, label }) in samples {
        let at = |name: &str| shown(shards[shard].join(name));
        match label {
            Found::Label(label) => kept.push(Kept { shard, name, offset, length, label }),
            Found::Caption(Some(label)) if captions => kept.push(Kept { shard, name, offset, length, label }),
            Found::Unclear(why) => {
                unclear.get_or_insert(why);
                left_out.add(["sample whose label cannot be read", "samples whose label cannot be read"], || {
                    format!("{}: {why}", at(&name))
                });
            }
            Found::Caption(_) => {
                unclear.get_or_insert("its .txt is a caption, and no class");
                left_out.add(UNLABELLED, || at(&name));
            }
            Found::Nothing => left_out.add(UNLABELLED, || at(&name)),
        }
    }
    if kept.is_empty() {
        if let Some([one, other, count]) = folders {
            let mend = "unpack it and give the folder";
            let message = format!("it holds a folder for each class, {one}, {other} and so on ({count}): {mend}");
            return Err(Error::Format { path: shards[0].clone(), message });
        }
        let why = unclear.unwrap_or("no member beside it is a label");
        // A shard that is cut may have lost them.
        let notes: String = notes.iter().map(|note| format!("; {note}")).collect();
        let message = format!(
            "none of {total} samples has a label ({why}): a number or name in NAME.cls, or under \"label\" in NAME.json, \
             is needed{notes}"
        );
        return Err(Error::Format { path: first, message });
    }
    Ok(kept)
}

/// Two folders that images without any labels lie in, and how many there are.
fn class_folders(samples: &[(usize, Sample)]) -> Option<[String; 3]> {
    let mut folders = std::collections::BTreeSet::new();
    for (_, sample) in samples {
        let (folder, _) = sample.name.rsplit_once('/').filter(|_| sample.label == Found::Nothing)?;
        folders.insert(folder);
    }
    let mut names = folders.iter().map(shown);
    Some([names.next()?, names.next()?, many(folders.len(), "folder")])
}

/// Whether the texts beside images are classes: all short, and each stands beside two images or more in the mean.
fn are_classes(samples: &[(usize, Sample)]) -> bool {
    let mut distinct = std::collections::HashSet::new();
    for (_, sample) in samples {
        match &sample.label {
            Found::Caption(Some(Label::Word(word))) => drop(distinct.insert(word)),
            Found::Caption(Some(Label::Number(_))) => {}
            _ => return false,
        }
    }
    distinct.len() * 2 <= samples.len()
}

impl Shards for TarShards {
    fn note(&mut self, note: String) {
        self.summary.notes.push(note);
    }

    fn relabelled(mut self, classes: Vec<String>, change: impl Fn(u32) -> u32) -> Self {
        self.places.iter_mut().for_each(|place| place.label = change(place.label));
        Self { classes, ..self }
    }

    fn labelled(&self) -> Labelled {
        if self.words { Labelled::Words } else { Labelled::Numbers }
    }
}

impl Dataset for TarShards {
    fn len(&self) -> usize {
        self.places.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.places[index].label
    }

    fn image(&self, index: usize) -> Result<Image> {
        let bytes = self.bytes(self.places[index].offset, self.places[index].length, index)?;
        decode(&bytes, || self.origin(index))
    }

    fn origin(&self, index: usize) -> String {
        // The name stands in the block before the content; kept in memory, a million of them would show.
        let place = &self.places[index];
        let shard = &self.shards[place.shard as usize];
        let header = self.bytes(place.offset.saturating_sub(512), 512, index).ok();
        let name = header.and_then(|block| {
            let path = Header::from_byte_slice(&block).path().ok()?.display().to_string();
            Some(path).filter(|path| !path.is_empty())
        });
        match name {
            Some(name) => shown(shard.join(name)),
            None => format!("{} (image {})", shown(shard), index - self.starts[place.shard as usize]),
        }
    }

    fn name(&self, index: usize) -> Option<String> {
        let shard = self.places[index].shard as usize;
        let file = self.shards[shard].file_name().unwrap_or_default().display();
        Some(format!("{file}/{}", index - self.starts[shard]))
    }

    fn stamp(&self, index: usize) -> u64 {
        self.places[index].length
    }

    fn runs(&self) -> Option<Vec<Range<usize>>> {
        let ends = self.starts.iter().skip(1).copied().chain([self.places.len()]);
        let runs = self
            .starts
            .iter()
            .zip(ends)
            .flat_map(|(&start, end)| (start..end).step_by(RUN).map(move |from| from..(from + RUN).min(end)));
        Some(runs.collect())
    }

    fn understood(&self) -> Vec<String> {
        self.summary.lines(self)
    }
}

impl TarShards {
    /// Bytes of the shard that an image lies in. The file is opened anew: there may be more shards than a process may
    /// have files open.
    fn bytes(&self, offset: u64, length: u64, index: usize) -> Result<Vec<u8>> {
        let path = &self.shards[self.places[index].shard as usize];
        let mut bytes = vec![0; length as usize];
        let mut read = || -> std::io::Result<()> {
            let mut file = resnet_files::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(&mut bytes)
        };
        // The shard was whole when it was indexed: what is lost now is a disk, and no broken image to be left out.
        read().map_err(|error| Error::Shard { message: Error::io(path)(error).to_string() })?;
        Ok(bytes)
    }
}
