//! Checkpoints that were unpacked and zipped again with compression, which PyTorch reads too.

use std::borrow::Cow;
use std::io::{Cursor, Read, Write};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::escape::show;
use crate::weights::fault::Fault;

/// How many times its size a file may become. Weights compress by a tenth, and by a half where they are of less than 32 bits.
const MOST_TIMES: u64 = 16;

/// The archive with its parts as they are where they were compressed; other archives as they came.
///
/// # Errors
/// When a part is of another length or checksum than it says, or is compressed in a way that is not read.
pub(in crate::weights) fn inflate(bytes: Vec<u8>) -> Result<Vec<u8>, Fault> {
    match inflated(&bytes)? {
        Cow::Owned(inflated) => Ok(inflated),
        Cow::Borrowed(_) => Ok(bytes),
    }
}

fn inflated(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Fault> {
    // What is no archive is told of where it is opened.
    let Ok(mut zip) = ZipArchive::new(Cursor::new(bytes)) else { return Ok(bytes.into()) };
    let is_checkpoint = zip.file_names().any(|name| name.is_ok_and(|name| name.ends_with("data.pkl")));
    let (mut total, mut compressed) = (0u64, false);
    for at in 0..zip.len() {
        let Ok(part) = zip.by_index_raw(at) else { return Ok(bytes.into()) };
        total = total.saturating_add(part.size());
        compressed |= part.compression() != CompressionMethod::Stored;
    }
    if !is_checkpoint || !compressed {
        return Ok(bytes.into());
    }
    if total > MOST_TIMES * bytes.len() as u64 {
        return Err(Fault::Unsupported(format!(
            "it would be {total} bytes long without its compression, more than {MOST_TIMES} times what it is: if that is \
             right, unpack it, and zip it again without compression (zip -0 -r)"
        )));
    }
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    for at in 0..zip.len() {
        let damaged = |name: &str, what: &dyn std::fmt::Display| Fault::Damaged(format!("{}: {what}", show(name)));
        let mut part = zip.by_index_raw(at).map_err(|error| damaged("a part", &error))?;
        if part.is_dir() {
            continue;
        }
        let name = part.name().map_err(|error| damaged("a part", &error))?.into_owned();
        let (size, crc, method) = (part.size(), part.crc32(), part.compression());
        let mut content = Vec::new();
        let read = match method {
            CompressionMethod::Stored => part.read_to_end(&mut content),
            CompressionMethod::DEFLATE => DeflateDecoder::new(&mut part).take(size + 1).read_to_end(&mut content),
            _ => {
                return Err(Fault::Unsupported(format!(
                    "{} is compressed by another method than deflate: unpack it, and zip it again without compression \
                     (zip -0 -r)",
                    show(&name)
                )));
            }
        };
        read.map_err(|error| damaged(&name, &error))?;
        let mut sum = Crc::new();
        sum.update(&content);
        if content.len() as u64 != size {
            return Err(damaged(&name, &format!("it is not the {size} bytes long that the archive says")));
        }
        if sum.sum() != crc {
            return Err(damaged(&name, &"its checksum is wrong"));
        }
        let written = out.start_file(name.as_str(), options).map_err(std::io::Error::from);
        written.and_then(|()| out.write_all(&content)).map_err(|error| damaged(&name, &error))?;
    }
    let out = out.finish().map_err(|error| Fault::Damaged(error.to_string()))?;
    Ok(out.into_inner().into())
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::read::DeflateEncoder;

    use super::*;

    /// An archive of one part, compressed by hand.
    fn deflated(name: &str, content: &[u8], declared: u32, crc: u32) -> Vec<u8> {
        let mut packed = Vec::new();
        DeflateEncoder::new(content, Compression::best()).read_to_end(&mut packed).unwrap();
        let fields = [&[0; 4][..], &crc.to_le_bytes(), &(packed.len() as u32).to_le_bytes(), &declared.to_le_bytes()];
        let (fields, length) = (fields.concat(), (name.len() as u16).to_le_bytes());
        let head = [&[20, 0, 0, 0, 8, 0][..], &fields, &length, &[0; 2]].concat();
        let local = [b"PK\x03\x04", &head[..], name.as_bytes(), &packed].concat();
        let central = [b"PK\x01\x02\x14\0", &head[..], &[0; 12], &[0; 2], name.as_bytes()].concat();
        let mut all = local.clone();
        all.extend(&central);
        all.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        all.extend((central.len() as u32).to_le_bytes());
        all.extend((local.len() as u32).to_le_bytes());
        all.extend([0; 2]);
        all
    }

    fn crc(content: &[u8]) -> u32 {
        let mut sum = Crc::new();
        sum.update(content);
        sum.sum()
    }

    #[test]
    fn parts_come_out_as_they_went_in() {
        let content = b"abcabcabcabc";
        let packed = deflated("a/data.pkl", content, 12, crc(content));
        let plain = inflate(packed.clone()).unwrap();
        let mut zip = ZipArchive::new(Cursor::new(&plain[..])).unwrap();
        let mut part = zip.by_name("a/data.pkl").unwrap();
        assert_eq!(part.compression(), CompressionMethod::Stored);
        let mut read = Vec::new();
        part.read_to_end(&mut read).unwrap();
        assert_eq!(read, content);
        // No checkpoint's, no archive.
        let other = deflated("a/other", content, 12, crc(content));
        for bytes in [other, packed[..40].to_vec()] {
            assert_eq!(inflate(bytes.clone()).unwrap(), bytes);
        }
    }

    #[test]
    fn lies_about_lengths_and_checksums_are_found() {
        let content = [b'x'; 100];
        let says = |declared: u32, crc: u32, word: &str| {
            let error = format!("{:?}", inflate(deflated("data.pkl", &content, declared, crc)).unwrap_err());
            assert!(error.contains(word), "{error}");
        };
        says(99, crc(&content), "not the 99 bytes");
        says(101, crc(&content), "not the 101 bytes");
        says(100, 7, "checksum");
        says(u32::MAX - 1, crc(&content), "times what it is");
    }
}
