//! Files into checkpoints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use safetensors::SafeTensors;

use super::element::{self, Element, addressable};
use super::error::WeightsError;
use super::fault::{Fault, show};
use super::format::Format;
use super::{names, torch};

/// What a reader finds in a file.
pub(super) struct Contents {
    pub entry: String,
    pub tensors: BTreeMap<String, Tensor>,
    pub metadata: BTreeMap<String, String>,
}

/// Weights by name, on the CPU, with what the file said beside them.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Where the weights come from, for messages.
    pub file: PathBuf,
    /// The file's format; `None` when the tensors came from memory.
    pub format: Option<Format>,
    /// The keys that led to the state dict in a PyTorch checkpoint, joined by dots (`state_dict`,
    /// `model.state_dict`); empty when it was at the top.
    pub entry: String,
    /// The tensors, on the CPU, contiguous, in the file's dtypes (i8 widened to i16, bool as u8).
    pub tensors: BTreeMap<String, Tensor>,
    /// `__metadata__` of a safetensors file; numbers and short strings at the top of a PyTorch
    /// checkpoint (`epoch`, `arch`).
    pub metadata: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Number of values in the floating-point tensors.
    pub fn parameters(&self) -> usize {
        self.tensors.values().filter(|tensor| is_float(tensor.dtype())).map(Tensor::elem_count).sum()
    }
}

impl From<BTreeMap<String, Tensor>> for Checkpoint {
    /// Tensors that come from memory rather than from a file.
    fn from(tensors: BTreeMap<String, Tensor>) -> Self {
        Self { file: "(memory)".into(), format: None, entry: String::new(), tensors, metadata: BTreeMap::new() }
    }
}

pub(super) fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16)
}

/// How [`load_with`] reads a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The state dict to take out of a PyTorch checkpoint, as keys joined by dots (`model_ema`);
    /// by default the likeliest.
    pub entry: Option<String>,
    /// Whether the file's names are kept as they are; by default they become torchvision's.
    pub keep_names: bool,
}

/// Reads weights from a safetensors file or a PyTorch checkpoint (the zip form or the legacy one),
/// told apart by content, and gives them torchvision's names: prefixes `module.` and `_orig_mod.`
/// are taken away, `linear` becomes `fc`, `num_batches_tracked` is left out.
///
/// Nothing that a file says is executed, and no more memory is taken than a few times its size.
///
/// # Errors
/// [`WeightsError`], naming the file: it cannot be read, is of another format, damaged, has no
/// state dict, or holds tensors that are not read (sparse, quantized, complex).
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// use candle_core::{DType, Device, Tensor};
/// use resnet_models::weights;
///
/// let path = folder.path().join("w.safetensors");
/// let bias = Tensor::zeros(10, DType::F32, &Device::Cpu)?;
/// weights::save(&path, &[("module.linear.bias".into(), bias)], &Default::default())?;
/// let checkpoint = weights::load(&path)?;
/// assert_eq!(checkpoint.tensors["fc.bias"].dims(), [10]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn load(path: impl AsRef<Path>) -> Result<Checkpoint, WeightsError> {
    load_with(path, &LoadOptions::default())
}

/// Like [`load`], with a choice of the state dict and of names.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Checkpoint, WeightsError> {
    let file = path.as_ref();
    let bytes = std::fs::read(file).map_err(|source| WeightsError::Read { file: file.to_owned(), source })?;
    load_bytes(&bytes, file, options)
}

/// Like [`load_with`], of a file's content that is in memory already; `file` is what errors call
/// it.
///
/// # Errors
/// As [`load`], without those of reading.
pub fn load_bytes(bytes: &[u8], file: impl Into<PathBuf>, options: &LoadOptions) -> Result<Checkpoint, WeightsError> {
    let file = file.into();
    let format = Format::detect(bytes).map_err(|found| WeightsError::UnknownFormat { file: file.clone(), found })?;
    let wanted = options.entry.as_deref();
    let contents = match format {
        Format::Safetensors => read_safetensors(bytes, wanted),
        Format::TorchZip => torch::read_zip(bytes, wanted),
        Format::TorchLegacy => torch::read_legacy(bytes, wanted),
    };
    let contents = contents.map_err(|fault| name_file(fault, &file))?;
    let tensors = if options.keep_names { contents.tensors } else { names::normalize(contents.tensors, &file)? };
    Ok(Checkpoint { format: Some(format), entry: contents.entry, tensors, metadata: contents.metadata, file })
}

fn name_file(fault: Fault, file: &Path) -> WeightsError {
    let file = file.to_owned();
    match fault {
        Fault::Damaged(reason) => WeightsError::Damaged { file, reason },
        Fault::Unsupported(reason) => WeightsError::Unsupported { file, reason },
        Fault::NoStateDict(reason) => WeightsError::NoStateDict { file, reason },
    }
}

fn read_safetensors(bytes: &[u8], wanted: Option<&str>) -> Result<Contents, Fault> {
    if let Some(wanted) = wanted {
        let reason = format!("a safetensors file has no entries, so none called {}", show(wanted));
        return Err(Fault::NoStateDict(reason));
    }
    let damaged = |error: safetensors::SafeTensorError| Fault::Damaged(error.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let kind = Element::kind_of_safetensors(view.dtype()).ok_or_else(|| {
            Fault::Unsupported(format!("tensor {}: {} is not a dtype that is read", show(&name), view.dtype()))
        })?;
        if !addressable(view.shape()) {
            return Err(Fault::Damaged(format!("tensor {}: shape {:?} is too large", show(&name), view.shape())));
        }
        let tensor = element::tensor(kind, view.data(), view.shape()).map_err(|e| Fault::from(e).within(&name))?;
        tensors.insert(name, tensor);
    }
    if tensors.is_empty() {
        return Err(Fault::NoStateDict("it holds no tensors".into()));
    }
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok(Contents { entry: String::new(), tensors, metadata })
}
