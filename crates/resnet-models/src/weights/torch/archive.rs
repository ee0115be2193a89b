//! The zip form: `NAME/data.pkl` describes the object, `NAME/data/KEY` are the storages, stored
//! without compression (others are inflated before).

use std::collections::HashMap;
use std::io::{Cursor, sink};

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::Storages;
use crate::escape::show;
use crate::weights::fault::Fault;
use crate::weights::foreign;
use crate::weights::pickle::{Unpickled, unpickle};

/// No file of PyTorch's has a description longer than this (256 MiB).
const MAX_PICKLE: usize = 1 << 28;

pub(in crate::weights) struct Archive<'a> {
    bytes: &'a [u8],
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// The folder within the archive that everything is in, with its slash.
    root: String,
    /// Bytes whose checksum has been computed. Parts of an honest file do not overlap, so they are
    /// never more than the file.
    checked: usize,
    seen: HashMap<String, &'a [u8]>,
    /// Whether the file has checksums: `torch.serialization.set_crc32_options(False)` writes none,
    /// and PyTorch reads such files without complaint.
    has_checksums: bool,
}

impl<'a> Archive<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<Self, Fault> {
        let zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|error| Fault::Damaged(format!("it is cut off or no whole zip archive ({error})")))?;
        let names: Vec<String> = zip.file_names().filter_map(|name| name.ok().map(|name| name.into_owned())).collect();
        let root = names.iter().find_map(|name| {
            let root = name.strip_suffix("data.pkl")?;
            (root.is_empty() || root.ends_with('/')).then(|| root.to_owned())
        });
        let Some(root) = root else { return Err(Fault::Unsupported(foreign::archive(&names))) };
        if names.iter().any(|name| *name == format!("{root}constants.pkl")) {
            return Err(Fault::Unsupported(
                "it is a TorchScript program (torch.jit.save): in Python, torch.save(torch.jit.load(FILE, \
                 map_location='cpu').state_dict(), 'weights.pth'), and give weights.pth"
                    .into(),
            ));
        }
        let mut archive = Self { bytes, zip, root, checked: 0, seen: HashMap::new(), has_checksums: false };
        let order = archive.part("byteorder")?;
        if order.is_some_and(|order| order != b"little") {
            let reason = "its numbers are not little-endian: save it again on a little-endian machine";
            return Err(Fault::Unsupported(reason.into()));
        }
        // A part that is right although its checksum is wrong: there are no checksums.
        archive.has_checksums = true;
        archive.seen.clear();
        archive.has_checksums = order.is_none() || archive.part("byteorder").is_ok();
        Ok(archive)
    }

    /// The object that the archive describes.
    pub fn unpickle(&mut self) -> Result<Unpickled, Fault> {
        Ok(unpickle(self.pickle()?)?)
    }

    /// The bytes of that description.
    pub fn pickle(&mut self) -> Result<&'a [u8], Fault> {
        match self.part("data.pkl")? {
            Some(pickle) if pickle.len() <= MAX_PICKLE => Ok(pickle),
            Some(_) => Err(Fault::Unsupported("its data.pkl is longer than any checkpoint's".into())),
            None => Err(Fault::Damaged("data.pkl is not in it".into())),
        }
    }

    /// A part's bytes where they lie in the file, after its checksum, if any, has been found right.
    fn part(&mut self, name: &str) -> Result<Option<&'a [u8]>, Fault> {
        let path = format!("{}{name}", self.root);
        if let Some(part) = self.seen.get(&path) {
            return Ok(Some(part));
        }
        let damaged = |what: &dyn std::fmt::Display| Fault::Damaged(format!("{}: {what}", show(name)));
        let mut file = match self.zip.by_name(&path) {
            Ok(file) => file,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(damaged(&error)),
        };
        if file.compression() != CompressionMethod::Stored {
            return Err(Fault::Unsupported(format!("{} is compressed, which PyTorch never does", show(name))));
        }
        let range = file.data_start().zip(Some(file.size())).and_then(|(start, size)| {
            let start = usize::try_from(start).ok()?;
            Some(start..start.checked_add(usize::try_from(size).ok()?)?)
        });
        let part = range
            .and_then(|range| self.bytes.get(range))
            .ok_or_else(|| damaged(&"it reaches past the end of the file"))?;
        self.checked = self.checked.saturating_add(part.len());
        if self.checked > self.bytes.len() {
            return Err(damaged(&"parts of the file overlap"));
        }
        if self.has_checksums {
            std::io::copy(&mut file, &mut sink()).map_err(|error| damaged(&error))?;
        }
        drop(file);
        self.seen.insert(path, part);
        Ok(Some(part))
    }
}

impl<'a> Storages<'a> for Archive<'a> {
    fn bytes(&mut self, key: &str) -> Result<&'a [u8], Fault> {
        let part = self.part(&format!("data/{key}"))?;
        part.ok_or_else(|| Fault::Damaged(format!("storage {} is not in the file", show(key))))
    }
}
