//! Which format a file has, told by its content.

use super::torch::is_legacy;

/// A format that weights are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// safetensors: a JSON header and raw values.
    Safetensors,
    /// PyTorch 1.6 and later: a zip archive with a pickle and raw storages.
    TorchZip,
    /// PyTorch before 1.6, or `_use_new_zipfile_serialization=False`: pickles, then raw storages.
    TorchLegacy,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "PyTorch",
            Self::TorchLegacy => "PyTorch (legacy)",
        })
    }
}

impl Format {
    /// The format of a file with this content.
    ///
    /// # Errors
    /// What the file looks like instead, when it has none of the formats.
    pub fn detect(bytes: &[u8]) -> Result<Self, String> {
        if bytes.starts_with(b"PK\x03\x04") {
            return Ok(Self::TorchZip);
        }
        if is_legacy(bytes) {
            return Ok(Self::TorchLegacy);
        }
        // Eight bytes of the header's length, then the header: JSON, padded with spaces at its end.
        if bytes.get(8) == Some(&b'{') && bytes.get(6..8) == Some(&[0, 0]) {
            return Ok(Self::Safetensors);
        }
        Err(looks_like(bytes).into())
    }
}

fn looks_like(bytes: &[u8]) -> &'static str {
    let head = &bytes[..bytes.len().min(512)];
    let text = String::from_utf8_lossy(head).trim_start().to_lowercase();
    if bytes.is_empty() {
        "it is empty"
    } else if text.starts_with("version https://git-lfs") {
        "it is a pointer of Git LFS; fetch the file itself with `git lfs pull`"
    } else if text.starts_with("<!doctype") || text.starts_with("<html") {
        "it is a web page; the download went wrong"
    } else if head.starts_with(b"\x1f\x8b") {
        "it is compressed with gzip; unpack it first"
    } else if head.starts_with(b"\x89HDF") {
        "it is an HDF5 file, as Keras writes; convert it to safetensors"
    } else if head.starts_with(b"GGUF") {
        "it is a GGUF file; convert it to safetensors"
    } else if head.get(257..262) == Some(b"ustar") {
        "it is a tar archive; unpack it, or for PyTorch's form before 0.2 load and save it in PyTorch"
    } else if head.first() == Some(&0x80) {
        "it is a Python pickle, but not one that torch.save wrote"
    } else {
        "its first bytes are not theirs"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_wrong_file_is_gets_said() {
        for (bytes, word) in [
            (&b""[..], "empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "LFS"),
            (b"\n<!DOCTYPE html><html>", "web page"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\x80\x04\x95abc", "pickle"),
            (b"\x89PNG", "first bytes"),
        ] {
            let found = Format::detect(bytes).unwrap_err();
            assert!(found.contains(word), "{found}");
        }
    }

    #[test]
    fn formats_are_told_by_content() {
        assert_eq!(Format::detect(b"PK\x03\x04rest"), Ok(Format::TorchZip));
        assert_eq!(Format::detect(b"\x02\0\0\0\0\0\0\0{}"), Ok(Format::Safetensors));
        assert_eq!(Format::detect(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."), Ok(Format::TorchLegacy));
    }
}
