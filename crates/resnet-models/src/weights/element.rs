//! The element types of files, and bytes of them as tensors.

use candle_core::{DType, Device, Result, Tensor};
use half::{bf16, f16};
use safetensors::Dtype;

/// How the bytes of an element are to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U32,
    U8,
    Bool,
}

/// An element type of a file. Those without a [`Kind`] can be stepped over, not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    /// As PyTorch or safetensors names it, for messages.
    pub name: &'static str,
    /// Bytes of an element.
    pub size: usize,
    pub kind: Option<Kind>,
}

/// PyTorch's storage classes (without `Storage`) and dtypes.
const TORCH: &[(&str, &str, usize, Option<Kind>)] = &[
    ("Double", "float64", 8, Some(Kind::F64)),
    ("Float", "float32", 4, Some(Kind::F32)),
    ("Half", "float16", 2, Some(Kind::F16)),
    ("BFloat16", "bfloat16", 2, Some(Kind::Bf16)),
    ("Long", "int64", 8, Some(Kind::I64)),
    ("Int", "int32", 4, Some(Kind::I32)),
    ("Short", "int16", 2, Some(Kind::I16)),
    ("Char", "int8", 1, Some(Kind::I8)),
    ("Byte", "uint8", 1, Some(Kind::U8)),
    ("Bool", "bool", 1, Some(Kind::Bool)),
    // Storages without a type of their own: the tensor brings its dtype.
    ("Untyped", "", 1, Some(Kind::U8)),
    ("", "uint32", 4, Some(Kind::U32)),
    ("", "uint16", 2, None),
    ("", "uint64", 8, None),
    ("", "float8_e4m3fn", 1, None),
    ("", "float8_e5m2", 1, None),
    ("ComplexFloat", "complex64", 8, None),
    ("ComplexDouble", "complex128", 16, None),
    ("QInt8", "qint8", 1, None),
    ("QUInt8", "quint8", 1, None),
    ("QInt32", "qint32", 4, None),
    ("QUInt4x2", "quint4x2", 1, None),
    ("QUInt2x4", "quint2x4", 1, None),
];

impl Element {
    /// `FloatStorage` and its like.
    pub fn of_torch_storage(class: &str) -> Option<Self> {
        let stem = class.strip_suffix("Storage").filter(|stem| !stem.is_empty())?;
        let row = TORCH.iter().find(|row| row.0 == stem)?;
        let name = if row.1.is_empty() { "untyped" } else { row.1 };
        Some(Self { name, size: row.2, kind: row.3 })
    }

    /// `float32` and its like, as attributes of `torch`.
    pub fn of_torch_dtype(dtype: &str) -> Option<Self> {
        let row = TORCH.iter().find(|row| !dtype.is_empty() && row.1 == dtype)?;
        Some(Self { name: row.1, size: row.2, kind: row.3 })
    }

    /// `f4` and its like, as numpy names them.
    pub fn of_numpy(name: &str) -> Option<Self> {
        let torch = match name {
            "f8" => "float64",
            "f4" => "float32",
            "f2" => "float16",
            "i8" => "int64",
            "i4" => "int32",
            "i2" => "int16",
            "i1" => "int8",
            "u4" => "uint32",
            "u1" => "uint8",
            "b1" => "bool",
            _ => return None,
        };
        Self::of_torch_dtype(torch)
    }

    /// Whether these are floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(self.kind, Some(Kind::F64 | Kind::F32 | Kind::F16 | Kind::Bf16))
    }

    /// The kind of a safetensors dtype, where tensors of it can be had.
    pub fn kind_of_safetensors(dtype: Dtype) -> Option<Kind> {
        Some(match dtype {
            Dtype::F64 => Kind::F64,
            Dtype::F32 => Kind::F32,
            Dtype::F16 => Kind::F16,
            Dtype::BF16 => Kind::Bf16,
            Dtype::I64 => Kind::I64,
            Dtype::I32 => Kind::I32,
            Dtype::I16 => Kind::I16,
            Dtype::I8 => Kind::I8,
            Dtype::U32 => Kind::U32,
            Dtype::U8 => Kind::U8,
            Dtype::BOOL => Kind::Bool,
            _ => return None,
        })
    }
}

/// Whether a tensor of `shape` can be addressed at all: the product of its sizes fits, zeros
/// counted as ones, because strides are computed even for empty tensors.
pub(crate) fn addressable(shape: &[usize]) -> bool {
    shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size.max(1))).is_some_and(|n| n <= isize::MAX as usize / 8)
}

/// Little-endian bytes as a contiguous CPU tensor. i8 is widened to i16 and bool becomes u8 (0 or
/// 1), which candle has no types for.
///
/// # Errors
/// When `bytes` is not as long as `shape` says.
pub(crate) fn tensor(kind: Kind, bytes: &[u8], shape: &[usize]) -> Result<Tensor> {
    macro_rules! read {
        ($type:ty, $size:literal) => {{
            let (chunks, _) = bytes.as_chunks::<$size>();
            let values: Vec<$type> = chunks.iter().map(|c| <$type>::from_le_bytes(*c)).collect();
            Tensor::from_vec(values, shape, &Device::Cpu)
        }};
    }
    match kind {
        Kind::F64 => read!(f64, 8),
        Kind::F32 => read!(f32, 4),
        Kind::F16 => read!(f16, 2),
        Kind::Bf16 => read!(bf16, 2),
        Kind::I64 => read!(i64, 8),
        Kind::I32 => read!(i32, 4),
        Kind::I16 => read!(i16, 2),
        Kind::U32 => read!(u32, 4),
        Kind::U8 => Tensor::from_vec(bytes.to_vec(), shape, &Device::Cpu),
        Kind::I8 => {
            let values: Vec<i16> = bytes.iter().map(|&b| i16::from(b.cast_signed())).collect();
            Tensor::from_vec(values, shape, &Device::Cpu)
        }
        Kind::Bool => {
            let values: Vec<u8> = bytes.iter().map(|&b| u8::from(b != 0)).collect();
            Tensor::from_vec(values, shape, &Device::Cpu)
        }
    }
}

/// The values of a tensor as little-endian bytes, row by row.
///
/// # Errors
/// For dtypes of less than a byte and when the tensor cannot be copied to the CPU.
pub(crate) fn bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    macro_rules! write {
        ($type:ty) => {{
            let values = tensor.flatten_all()?.to_vec1::<$type>()?;
            Ok(values.iter().flat_map(|v| v.to_le_bytes()).collect())
        }};
    }
    match tensor.dtype() {
        DType::F64 => write!(f64),
        DType::F32 => write!(f32),
        DType::F16 => write!(f16),
        DType::BF16 => write!(bf16),
        DType::I64 => write!(i64),
        DType::I32 => write!(i32),
        DType::I16 => write!(i16),
        DType::U32 => write!(u32),
        DType::U8 => tensor.flatten_all()?.to_vec1::<u8>(),
        other => candle_core::bail!("{} tensors cannot be written", other.as_str()),
    }
}
