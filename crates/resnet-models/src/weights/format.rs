//! Which format a file has, told by its content.

use super::foreign;
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
    /// A plain pickle of numpy arrays, as detectron2 publishes them.
    Pickle,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "PyTorch",
            Self::TorchLegacy => "PyTorch (legacy)",
            Self::Pickle => "a pickle of arrays",
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
        // The protocol's number, then a frame or a dict.
        if !foreign::is_joblib(bytes) && matches!(bytes, [0x80, 2..=5, 0x95 | b'}' | b'c' | b'(' | 0x8c | b'q', ..]) {
            return Ok(Self::Pickle);
        }
        Err(foreign::looks_like(bytes))
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
            (b"\x80\x09\x95abc", "pickle"),
            (b"(dp0\nVconv1.weight\np1\n", "protocol 0 or 1"),
            (b"ccollections\nOrderedDict\np0\n", "torch.save("),
            (b"\x89PNG", "PNG"),
            (b"\xfd7zXZ\0abc", "xz"),
            (b"\x28\xb5\x2f\xfdabc", "zstd"),
            (b"BZh91AY", "bzip2"),
            (b"\x08\x08\x12\x07pytorch", "ONNX"),
            (b"\x08\x01\x12\x90", "SavedModel"),
            (b"\x81\xa6params\x82\xa5conv1", "Flax"),
            (b"\x89HDF\r\n\x1a\n", "Keras"),
            (b"<?xml version=\"1.0\"?><Error>", "XML"),
            (b"{\"error\": \"Invalid credentials\"}", "JSON"),
            (b"\xef\xbb\xbf{\"error\": 1}", "JSON"),
            (b"Entry not found", "text"),
            (&[0; 100], "zeros"),
            (b"\x93NUMPY\x01", "numpy"),
            (b"\x78\x9c\xed\x7d", "zlib"),
            (b"\x5d\0\0\x80\0", "lzma"),
            (b"\x80\x04\x95\0\0\0\0\0\0\0\0}\x8c\x13joblib.numpy_pickle", "joblib.load"),
            (b"\x08\x04\x12\xa0\x01\x0a\x10\x0a\x05image", "Core ML"),
            (b"\x0a\x14\x0a\x05input\x12\x0bPlaceholder\x0a", "TensorFlow (.pb)"),
            (b"\x0a\x09ResNet-50\xa2\x06\x20", "Caffe"),
            (b"\xd1\x02\x9c\xff\0", "first bytes"),
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
