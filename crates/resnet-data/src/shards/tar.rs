//! WebDataset's shards: tar files in which the members of one sample stand side by side, `0001.jpg` and `0001.cls`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tar::{Archive, EntryType, Header};

use super::{Named, class_names, files};
use crate::decode::decode;
use crate::walk::EXTENSIONS;
use crate::{Dataset, Error, Image, Result, Split};

/// Images of a run: enough that a disk reads them in one go, few enough that a buffer mixes many runs.
const RUN: usize = 128;
/// No label is longer.
const LABEL_BYTES: u64 = 1 << 20;

/// Where an image lies.
#[derive(Clone, Copy, Debug)]
struct Member {
    shard: u32,
    label: u32,
    offset: u64,
    length: u64,
}

/// Images in tar shards, read where they lie.
///
/// Members with the same name up to the first dot belong together: an image (`.jpg`, `.jpeg`, `.png`, `.webp`) and its
/// label, a number in `.cls` or under `label` (or `cls`) in `.json`.
#[derive(Debug)]
pub struct TarShards {
    shards: Vec<PathBuf>,
    members: Vec<Member>,
    /// First image of each shard.
    starts: Vec<usize>,
    classes: Vec<String>,
}

impl TarShards {
    /// Indexes the shards of a split: in a folder, or named as `DIR/train-{000000..000099}.tar`.
    ///
    /// Reads the members' headers and labels, on all threads, and skips the images.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there are none; [`Error::Format`] naming the shard that is truncated or no tar file, or
    /// the member that has no label; [`Error::Io`].
    pub fn open(place: &str, split: Split) -> Result<Self> {
        let shards = files(place, "tar", split)?;
        let found: Vec<Vec<Member>> =
            shards.par_iter().enumerate().map(|(number, path)| index(path, number as u32)).collect::<Result<_>>()?;
        let mut starts = Vec::with_capacity(found.len());
        let mut members = Vec::with_capacity(found.iter().map(Vec::len).sum());
        for found in found {
            starts.push(members.len());
            members.extend(found);
        }
        let greatest = members.iter().map(|member| member.label).max();
        let greatest = greatest.ok_or_else(|| Error::NotFound {
            path: place.into(),
            what: "images in the tar files".to_string(),
            hint: "a sample is an image and its label: NAME.jpg and NAME.cls".to_string(),
        })?;
        let classes = class_names(&shards[0], greatest)?;
        Ok(Self { shards, members, starts, classes })
    }
}

impl Named for TarShards {
    fn with_classes(self, classes: Vec<String>) -> Self {
        Self { classes, ..self }
    }
}

/// All images of a shard, in order.
fn index(path: &Path, shard: u32) -> Result<Vec<Member>> {
    let wrong = |message: String| Error::format(path, format!("{message}; download or write the shard again"));
    let file = File::open(path).map_err(Error::io(path))?;
    let end = file.metadata().map_err(Error::io(path))?.len();
    let mut archive = Archive::new(file);
    let mut members: Vec<Member> = Vec::new();
    let mut sample = Sample::default();
    let not_tar = |error: std::io::Error| wrong(format!("not a readable tar file ({error})"));
    for entry in archive.entries_with_seek().map_err(not_tar)? {
        let mut entry = entry.map_err(not_tar)?;
        if entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (offset, length) = (entry.raw_file_position(), entry.size());
        if offset + length > end {
            return Err(wrong(format!("truncated: {name} ends at byte {}, the file at {end}", offset + length)));
        }
        let (key, extension) = split_name(&name);
        if key != sample.key {
            members.extend(sample.finish(shard, path)?);
            sample = Sample { key: key.to_string(), ..Sample::default() };
        }
        if EXTENSIONS.contains(&extension.as_str()) {
            sample.image = Some((offset, length));
        } else if extension == "cls" || extension == "json" {
            let mut text = String::new();
            let read = entry.by_ref().take(LABEL_BYTES).read_to_string(&mut text);
            read.map_err(|error| wrong(format!("{name} cannot be read ({error})")))?;
            let label = if extension == "cls" { text.trim().parse().ok() } else { json_label(&text) };
            let hint = "a number from 0 is needed, in .cls or under \"label\" in .json";
            let unless = || Error::format(path, format!("{name} holds no label: {hint}"));
            // Metadata in .json beside a .cls need not say the label again.
            match label {
                Some(label) => sample.label = Some(label),
                None if extension == "json" => {}
                None => return Err(unless()),
            }
        }
    }
    members.extend(sample.finish(shard, path)?);
    Ok(members)
}

/// The members of one name, as far as they are read.
#[derive(Default)]
struct Sample {
    key: String,
    image: Option<(u64, u64)>,
    label: Option<u32>,
}

impl Sample {
    /// The image, if there is one.
    fn finish(&self, shard: u32, path: &Path) -> Result<Option<Member>> {
        let Some((offset, length)) = self.image else { return Ok(None) };
        let label = self.label.ok_or_else(|| {
            let key = &self.key;
            Error::format(path, format!("{key} has no label: a number in {key}.cls, or under \"label\" in {key}.json"))
        })?;
        Ok(Some(Member { shard, label, offset, length }))
    }
}

/// A member's name up to the first dot of its last part, and what comes after it, in small letters.
fn split_name(name: &str) -> (&str, String) {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[file..].find('.') {
        Some(dot) => (&name[..file + dot], name[file + dot + 1..].to_lowercase()),
        None => (name, String::new()),
    }
}

fn json_label(text: &str) -> Option<u32> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let label = value.get("label").or_else(|| value.get("cls")).unwrap_or(&value);
    label.as_u64().and_then(|label| u32::try_from(label).ok())
}

impl Dataset for TarShards {
    fn len(&self) -> usize {
        self.members.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.members[index].label
    }

    fn image(&self, index: usize) -> Result<Image> {
        let bytes = self.bytes(self.members[index].offset, self.members[index].length, index)?;
        decode(&bytes, || self.origin(index))
    }

    fn origin(&self, index: usize) -> String {
        // The name stands in the block before the content; kept in memory, a million of them would show.
        let member = &self.members[index];
        let shard = self.shards[member.shard as usize].display();
        let header = self.bytes(member.offset.saturating_sub(512), 512, index).ok();
        let name = header.and_then(|block| {
            let path = Header::from_byte_slice(&block).path().ok()?.display().to_string();
            Some(path).filter(|path| !path.is_empty())
        });
        match name {
            Some(name) => format!("{shard}/{name}"),
            None => format!("{shard} (image {})", index - self.starts[member.shard as usize]),
        }
    }

    fn name(&self, index: usize) -> Option<String> {
        let shard = self.members[index].shard as usize;
        let file = self.shards[shard].file_name().unwrap_or_default().display();
        Some(format!("{file}/{}", index - self.starts[shard]))
    }

    fn stamp(&self, index: usize) -> u64 {
        self.members[index].length
    }

    fn runs(&self) -> Option<Vec<Range<usize>>> {
        let ends = self.starts.iter().skip(1).copied().chain([self.members.len()]);
        let runs = self
            .starts
            .iter()
            .zip(ends)
            .flat_map(|(&start, end)| (start..end).step_by(RUN).map(move |from| from..(from + RUN).min(end)));
        Some(runs.collect())
    }
}

impl TarShards {
    /// Bytes of the shard that an image lies in. The file is opened anew: there may be more shards than a process may
    /// have files open.
    fn bytes(&self, offset: u64, length: u64, index: usize) -> Result<Vec<u8>> {
        let path = &self.shards[self.members[index].shard as usize];
        let mut bytes = vec![0; length as usize];
        let mut read = || -> std::io::Result<()> {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(&mut bytes)
        };
        // The shard was whole when it was indexed: what is lost now is a disk, and no broken image to be left out.
        read().map_err(|error| Error::Shard { message: Error::io(path)(error).to_string() })?;
        Ok(bytes)
    }
}
