//! Weights out, as safetensors.
//!
//! The header is made here rather than by the `safetensors` crate because that keeps metadata in a
//! hash map: with two entries the same weights would give different bytes each time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use candle_core::Tensor;
use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::element;
use super::error::WeightsError;

/// Writes tensors and metadata to a safetensors file. The same input gives the same bytes, in
/// whatever order the tensors come. A file already there stays as it is until the new one is
/// complete on the disk, and for good when anything fails.
///
/// # Errors
/// [`WeightsError::Write`] when the file cannot be written, [`WeightsError::DuplicateName`],
/// [`WeightsError::Tensor`] for dtypes of less than a byte.
pub fn save(
    path: impl AsRef<Path>,
    tensors: &[(String, Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsError> {
    let file = path.as_ref();
    // As safetensors orders them: wide dtypes first, so that all are aligned, then by name.
    let mut order: Vec<(Dtype, &str, &Tensor)> =
        tensors.iter().map(|(name, tensor)| (tensor.dtype().into(), name.as_str(), tensor)).collect();
    order.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let header = header(&order, metadata, file)?;

    replace(file, |out| write_parts(out, &header, &order, file))
}

/// Replaces a file by what `content` writes, whole or not at all.
pub(crate) fn replace(file: &Path, content: impl FnOnce(File) -> Result<(), WeightsError>) -> Result<(), WeightsError> {
    resnet_files::replace(file, |source| WeightsError::Write { file: file.to_owned(), source }, content)
}

/// The header's length in eight bytes and the header, padded to a multiple of eight.
fn header(
    order: &[(Dtype, &str, &Tensor)],
    metadata: &BTreeMap<String, String>,
    file: &Path,
) -> Result<Vec<u8>, WeightsError> {
    let mut entries = Map::new();
    if !metadata.is_empty() {
        entries.insert("__metadata__".into(), json!(metadata));
    }
    let mut offset = 0;
    for &(dtype, name, tensor) in order {
        let end = offset + tensor.elem_count() * tensor.dtype().size_in_bytes();
        let entry = json!({ "dtype": dtype.to_string(), "shape": tensor.dims(), "data_offsets": [offset, end] });
        if name == "__metadata__" || entries.insert(name.into(), entry).is_some() {
            return Err(WeightsError::DuplicateName { file: file.to_owned(), tensor: name.to_owned() });
        }
        offset = end;
    }
    let mut json = Value::Object(entries).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    Ok(header)
}

fn write_parts(out: File, header: &[u8], order: &[(Dtype, &str, &Tensor)], file: &Path) -> Result<(), WeightsError> {
    let write = |source| WeightsError::Write { file: file.to_owned(), source };
    let mut out = BufWriter::new(out);
    out.write_all(header).map_err(write)?;
    for (_, name, tensor) in order {
        let bytes = element::bytes(tensor).map_err(|source| WeightsError::Tensor {
            file: file.to_owned(),
            tensor: (*name).to_owned(),
            source: Box::new(source),
        })?;
        out.write_all(&bytes).map_err(write)?;
    }
    out.flush().map_err(write)
}
