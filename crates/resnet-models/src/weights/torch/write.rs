//! PyTorch's zip form out: `archive/data.pkl` with the names, shapes and dtypes, `archive/data/N` with the values.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use candle_core::{DType, Tensor};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::weights::element;
use crate::weights::error::WeightsError;
use crate::weights::save::replace;

/// Writes a state dict that `torch.load` reads, with `weights_only=True` too. The same input gives the same bytes. A
/// file already there stays as it is until the new one is complete.
///
/// # Errors
/// [`WeightsError::Write`] when the file cannot be written, [`WeightsError::DuplicateName`],
/// [`WeightsError::Unsupported`] for dtypes that PyTorch's form has no storage for.
pub fn save_torch(path: impl AsRef<Path>, tensors: &[(String, Tensor)]) -> Result<(), WeightsError> {
    let file = path.as_ref();
    let mut order: Vec<&(String, Tensor)> = tensors.iter().collect();
    order.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(pair) = order.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(WeightsError::DuplicateName { file: file.to_owned(), tensor: pair[0].0.clone() });
    }
    let pickle = pickle(&order, file)?;
    replace(file, |out| {
        let write = |source| WeightsError::Write { file: file.to_owned(), source };
        let zipped = |error: zip::result::ZipError| write(error.into());
        let options = || SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
        let mut zip = ZipWriter::new(Sink { out: BufWriter::new(out), failed: false, place: 0, end: 0 });
        let mut part = |name: &str, bytes: &[u8]| -> Result<(), WeightsError> {
            zip.start_file(format!("archive/{name}"), options()).map_err(zipped)?;
            zip.write_all(bytes).map_err(write)
        };
        part("data.pkl", &pickle)?;
        part("byteorder", b"little")?;
        for (key, (name, tensor)) in order.iter().enumerate() {
            let bytes = element::bytes(tensor).map_err(|source| WeightsError::Tensor {
                file: file.to_owned(),
                tensor: name.clone(),
                source: Box::new(source),
            })?;
            part(&format!("data/{key}"), &bytes)?;
        }
        part("version", b"3\n")?;
        zip.finish().map_err(zipped)?.flush().map_err(write)
    })
}

/// A file that takes everything once it has failed, and keeps the place: dropped after an error, `ZipWriter` writes its
/// end all the same, and to standard error that it could not.
struct Sink<W> {
    out: W,
    failed: bool,
    place: u64,
    end: u64,
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count =
            if self.failed { bytes.len() } else { self.out.write(bytes).inspect_err(|_| self.failed = true)? };
        self.place += count as u64;
        self.end = self.end.max(self.place);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.failed { Ok(()) } else { self.out.flush() }
    }
}

impl<W: Seek> Seek for Sink<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.place.checked_add_signed(by),
        };
        self.place = place.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        if !self.failed {
            self.out.seek(SeekFrom::Start(self.place)).inspect_err(|_| self.failed = true)?;
        }
        Ok(self.place)
    }
}

/// PyTorch's class of storages of a dtype.
fn storage(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::F64 => "DoubleStorage",
        DType::F32 => "FloatStorage",
        DType::F16 => "HalfStorage",
        DType::BF16 => "BFloat16Storage",
        DType::I64 => "LongStorage",
        DType::I32 => "IntStorage",
        DType::I16 => "ShortStorage",
        DType::U8 => "ByteStorage",
        _ => return None,
    })
}

/// A dict of tensors in pickle's protocol 2, as `torch.save` writes it.
fn pickle(order: &[&(String, Tensor)], file: &Path) -> Result<Vec<u8>, WeightsError> {
    let mut out = Pickle(b"\x80\x02}(".to_vec());
    for (key, (name, tensor)) in order.iter().enumerate() {
        let Some(storage) = storage(tensor.dtype()) else {
            let reason = format!("tensor {name}: PyTorch's form has no {}", tensor.dtype().as_str());
            return Err(WeightsError::Unsupported { file: file.to_owned(), reason });
        };
        out.text(name);
        out.raw(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        out.text("storage");
        out.raw(format!("ctorch\n{storage}\n").as_bytes());
        out.text(&key.to_string());
        out.text("cpu");
        out.int(tensor.elem_count());
        // The tuple so far is the name of a storage; then offset, shape and strides.
        out.raw(b"tQ");
        out.int(0);
        out.tuple(tensor.dims());
        out.tuple(&strides(tensor.dims()));
        // No gradient, no hooks.
        out.raw(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.raw(b"u.");
    Ok(out.0)
}

/// Steps between neighbours along each dimension, the last one's being 1.
fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        strides[i - 1] = strides[i] * dims[i].max(1);
    }
    strides
}

struct Pickle(Vec<u8>);

impl Pickle {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    fn text(&mut self, text: &str) {
        self.0.push(b'X');
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn int(&mut self, value: usize) {
        match i32::try_from(value) {
            Ok(small) => {
                self.0.push(b'J');
                self.0.extend(small.to_le_bytes());
            }
            // Nine bytes, so that the sign is none of the value's.
            Err(_) => {
                self.0.extend([0x8a, 9]);
                self.0.extend((value as u64).to_le_bytes());
                self.0.push(0);
            }
        }
    }

    fn tuple(&mut self, values: &[usize]) {
        self.0.push(b'(');
        values.iter().for_each(|&value| self.int(value));
        self.0.push(b't');
    }
}
