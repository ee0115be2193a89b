//! What lies in a tar file: the members' names, where their bytes are, and the text of those that may hold a label.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use tar::{Archive, EntryType};

use super::member_names::may_hold_a_label;
use super::summary::LeftOut;
use crate::foreign::what_it_is;
use crate::names::shown;
use crate::{Error, Result, text};

/// No label is longer.
const LABEL_BYTES: u64 = 1 << 20;
/// Blocks of a tar file are of so many bytes.
const BLOCK: u64 = 512;

/// A member that is a file.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) length: u64,
    /// What it says, where it is text that may be a label.
    pub(super) text: Option<Arc<str>>,
}

/// Lists a shard's members in their order. Names that nobody gave (of hidden files, of what systems write beside files)
/// are left out; what is strange about the whole file is added to the notes.
pub(super) fn members(path: &Path, left_out: &mut LeftOut, notes: &mut Vec<String>) -> Result<Vec<Member>> {
    let wrong = |message: String| Error::format(path, message);
    let mut file = resnet_files::open(path).map_err(Error::io(path))?;
    let end = file.metadata().map_err(Error::io(path))?.len();
    let mut head = vec![0; end.min(BLOCK) as usize];
    file.read_exact(&mut head).and_then(|()| file.rewind()).map_err(Error::io(path))?;
    // A tar file of nothing is zeros alone.
    let empty_tar = !head.is_empty() && head.iter().all(|&byte| byte == 0);
    if let Some(what) = what_it_is(&head).filter(|_| head.get(257..262) != Some(b"ustar") && !empty_tar) {
        return Err(wrong(format!("not a tar file: {what}")));
    }
    let unreadable = |error: std::io::Error| match error.to_string() {
        message if message.contains("entire block") => wrong(CUT.to_string()),
        message if message.contains("sparse") || message.contains("real_size") => {
            wrong(format!("it has a sparse member ({message}): {SPARSE}"))
        }
        message => wrong(format!("not a readable tar file ({message})")),
    };
    let mut found = Vec::new();
    // Where the last member's blocks end.
    let mut closed = 0;
    let mut links = Vec::new();
    let mut archive = Archive::new(file);
    for entry in archive.entries_with_seek().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = cleaned(&raw);
        let (offset, length) = (entry.raw_file_position(), entry.size());
        closed = match offset.checked_add(length) {
            Some(stop) if stop <= end => stop.div_ceil(BLOCK) * BLOCK,
            _ => {
                return Err(wrong(format!(
                    "{CUT}: {} has {length} bytes from byte {offset} on, the file {end}",
                    shown(name)
                )));
            }
        };
        let kind = entry.header().entry_type();
        let is_sparse = kind == EntryType::GNUSparse || has_sparse_keys(&mut entry);
        if is_sparse {
            return Err(wrong(format!("{} is stored as a sparse file: {SPARSE}", shown(name))));
        }
        let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
        match (kind, target) {
            _ if kind.is_dir() => {}
            _ if is_hidden(&name) => left_out.add(["hidden member", "hidden members"], || name),
            (EntryType::Link, Some(target)) => links.push((found.len(), name, cleaned(&target))),
            (EntryType::Symlink, Some(target)) => {
                let target = beside(&name, &target);
                links.push((found.len(), name, target));
            }
            (EntryType::Regular | EntryType::Continuous, _) if !raw.ends_with('/') => {
                let text = if may_hold_a_label(&name) {
                    let mut bytes = Vec::new();
                    let read = entry.by_ref().take(LABEL_BYTES).read_to_end(&mut bytes);
                    read.map_err(|error| wrong(format!("{} cannot be read ({error})", shown(&name))))?;
                    text::decoded(&bytes).map(Into::into)
                } else {
                    None
                };
                found.push(Member { name, offset, length, text });
            }
            _ => {}
        }
    }
    follow(links, &mut found, left_out);
    notes.extend(
        ending(archive.into_inner(), closed, end)
            .map_err(Error::io(path))?
            .map(|what| format!("{}: {what}", shown(path))),
    );
    Ok(found)
}

const CUT: &str = "truncated: it ends within a member; fetch or write the shard again";
/// A label is no longer that several names lead to: many links to a long text would be as much text.
const LINKED_BYTES: u64 = 4096;
const SPARSE: &str = "write the shard again without --sparse";

fn has_sparse_keys<R: Read>(entry: &mut tar::Entry<R>) -> bool {
    let Ok(Some(pairs)) = entry.pax_extensions() else { return false };
    pairs.flatten().any(|pair| pair.key_bytes().starts_with(b"GNU.sparse"))
}

/// Gives links the bytes of what they lead to.
fn follow(links: Vec<(usize, String, String)>, found: &mut Vec<Member>, left_out: &mut LeftOut) {
    if links.is_empty() {
        return;
    }
    let mut known: HashMap<String, Member> = found.iter().map(|member| (member.name.clone(), member.clone())).collect();
    let mut made = Vec::new();
    for (place, name, target) in links {
        match known.get(&target).cloned() {
            Some(member) => {
                let text = member.text.filter(|_| member.length <= LINKED_BYTES);
                let member = Member { name: name.clone(), text, ..member };
                known.insert(name, member.clone());
                made.push((place, member));
            }
            None => left_out.add(["link that leads out of its shard", "links that lead out of their shard"], || {
                format!("{name} -> {target}")
            }),
        }
    }
    // From the end, so that the places before stay what they are.
    for (place, member) in made.into_iter().rev() {
        found.insert(place, member);
    }
}

/// What is strange about a shard's end.
fn ending(mut file: File, closed: u64, end: u64) -> std::io::Result<Option<String>> {
    if closed >= end && end > 0 {
        let what = "it ends after a member and without the blocks that end a tar file: what came after may be lost";
        return Ok(Some(what.to_string()));
    }
    file.seek(SeekFrom::Start(closed))?;
    let mut rest = Vec::new();
    file.take(1 << 20).read_to_end(&mut rest)?;
    let more = rest.iter().any(|&byte| byte != 0);
    Ok(more.then(|| format!("{} bytes after its end were left out: two tar files in one?", end - closed)))
}

/// A name without `./` and `//`.
fn cleaned(name: &str) -> String {
    name.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}

/// Where a link leads that stands in the folder of a member.
fn beside(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Names with a dot before them, and what macOS and old tar programs write beside files.
fn is_hidden(name: &str) -> bool {
    let other = |part: &str| part == "__MACOSX" || part.starts_with("PaxHeader") || part == "Thumbs.db";
    name.split('/').any(|part| part.starts_with('.') || other(part))
}
