//! Files into checkpoints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};

use super::error::WeightsError;
use super::file::WeightsFile;
use super::format::Format;
use super::left::{self, Left};

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
    /// What the names in the file begin with before those of the network (`module.encoder_q`).
    pub prefix: String,
    /// The tensors, on the CPU, contiguous, in the file's dtypes (i8 widened to i16, bool as u8).
    pub tensors: BTreeMap<String, Tensor>,
    /// `__metadata__` of a safetensors file; numbers and short strings at the top of a PyTorch
    /// checkpoint (`epoch`, `arch`).
    pub metadata: BTreeMap<String, String>,
    /// Tensors of the file that are no part of the network in it.
    pub left: Vec<Left>,
    /// What was guessed or converted when it was read, a sentence each.
    pub notes: Vec<String>,
    /// What stands in the head's place where that is no linear layer; then `tensors` has no head.
    pub other_head: Option<String>,
}

impl Checkpoint {
    /// What was left alone, guessed and converted: lines for whoever uses the weights.
    pub fn remarks(&self) -> Vec<String> {
        self.notes.iter().cloned().chain(left::line(&self.left)).collect()
    }

    /// Number of values in the floating-point tensors.
    pub fn parameters(&self) -> usize {
        self.tensors.values().filter(|tensor| is_float(tensor.dtype())).map(Tensor::elem_count).sum()
    }
}

impl From<BTreeMap<String, Tensor>> for Checkpoint {
    /// Tensors that come from memory rather than from a file.
    fn from(tensors: BTreeMap<String, Tensor>) -> Self {
        Self {
            file: "(memory)".into(),
            format: None,
            entry: String::new(),
            prefix: String::new(),
            tensors,
            metadata: BTreeMap::new(),
            left: Vec::new(),
            notes: Vec::new(),
            other_head: None,
        }
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
    /// What the names of the network begin with (`module.encoder_k`), where the file has several or
    /// another is wanted than the likeliest.
    pub prefix: Option<String>,
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
    let file = WeightsFile::open(path.as_ref())?;
    let found = file.find(options, None)?;
    file.read(found)
}

/// Like [`load_with`], of a file's content that is in memory already; `file` is what errors call
/// it.
///
/// # Errors
/// As [`load`], without those of reading.
pub fn load_bytes(bytes: &[u8], file: impl Into<PathBuf>, options: &LoadOptions) -> Result<Checkpoint, WeightsError> {
    let file = WeightsFile::of_bytes(bytes.to_vec(), &file.into())?;
    let found = file.find(options, None)?;
    file.read(found)
}
