//! Weights into a network's variables: all of them or none.

use candle_core::{CpuStorage, DType, Device, Storage, Tensor, Var};

use super::error::WeightsError;
use super::mismatch::{Mismatch, Misshapen, Unexpected};
use super::names::{is_ignored, nearest};
use super::read::{Checkpoint, is_float};

/// How [`assign`] treats differences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignOptions {
    /// Whether missing and unexpected names are errors. Wrong shapes always are, and so is a file
    /// without one name that fits.
    pub strict: bool,
    /// What the names of the checkpoint's tensors begin with that are to be assigned (`encoder_q`); the others are left
    /// alone. For checkpoints with the file's own names, or from memory.
    pub prefix: Option<String>,
    /// Beginnings of names to leave alone, in the file and in the network: `fc.` keeps a new head.
    pub except: Vec<String>,
}

impl Default for AssignOptions {
    /// Strict, no exceptions.
    fn default() -> Self {
        Self { strict: true, prefix: None, except: Vec::new() }
    }
}

/// What [`assign`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Number of variables that were set.
    pub assigned: usize,
    /// Number of values in them.
    pub values: usize,
    /// Variables that keep their values because the file has none for them.
    pub missing: Vec<String>,
    /// Tensors of the file that no variable takes.
    pub unexpected: Vec<String>,
    /// Variables that were to be left alone.
    pub excepted: Vec<String>,
}

/// Sets variables to the tensors of the same names, converted to the variables' dtypes and moved
/// to their devices. Every check comes before the first change, so that a network is never left
/// half loaded.
///
/// # Errors
/// [`WeightsError::Mismatch`] when names or shapes differ, [`WeightsError::NotFinite`] when a
/// tensor that would be used holds NaN or infinities, [`WeightsError::NegativeVariance`] and
/// [`WeightsError::NotFloat`] when its values can be no variances or weights, [`WeightsError::Overflow`] when the dtype
/// is too narrow for it. No variable has been changed then.
pub fn assign(
    checkpoint: &Checkpoint,
    targets: &[(String, Var)],
    options: &AssignOptions,
) -> Result<Report, WeightsError> {
    let below;
    let checkpoint = match &options.prefix {
        None => checkpoint,
        Some(prefix) => {
            below = part_of(checkpoint, prefix)?;
            &below
        }
    };
    let excepted = |name: &str| options.except.iter().any(|start| name.starts_with(start.as_str()));
    let mut report = Report::default();
    let mut mismatch = Mismatch { file: checkpoint.file.clone(), ..Default::default() };
    let mut pairs = Vec::with_capacity(targets.len());
    for (name, var) in targets {
        if excepted(name) {
            report.excepted.push(name.clone());
            continue;
        }
        match checkpoint.tensors.get(name) {
            None => report.missing.push(name.clone()),
            Some(tensor) if tensor.dims() != var.dims() => mismatch.misshapen.push(Misshapen {
                name: name.clone(),
                expected: var.dims().to_vec(),
                found: tensor.dims().to_vec(),
            }),
            Some(tensor) => pairs.push((name, tensor, var)),
        }
    }
    let known: std::collections::HashSet<&str> = targets.iter().map(|(name, _)| name.as_str()).collect();
    let unexpected = checkpoint.tensors.keys().filter(|name| !known.contains(name.as_str()));
    report.unexpected = unexpected.filter(|name| !is_ignored(name) && !excepted(name)).cloned().collect();

    let differs = !report.missing.is_empty() || !report.unexpected.is_empty();
    let nothing_fits = pairs.is_empty() && report.excepted.len() < targets.len();
    if !mismatch.misshapen.is_empty() || (options.strict && differs) || nothing_fits {
        mismatch.fitting = pairs.len();
        mismatch.unexpected = suggest(&report.unexpected, &report.missing);
        mismatch.missing = report.missing;
        return Err(WeightsError::Mismatch(Box::new(mismatch)));
    }

    let mut values = Vec::with_capacity(pairs.len());
    for (name, tensor, var) in pairs {
        let value = convert(tensor, var).map_err(|source| tensor_error(checkpoint, name, source))?;
        check_finite(checkpoint, name, tensor, &value)?;
        values.push((name, value, var));
    }
    for (name, value, var) in values {
        var.set(&value).map_err(|source| tensor_error(checkpoint, name, source))?;
        report.assigned += 1;
        report.values += value.elem_count();
    }
    Ok(report)
}

/// The tensors below a prefix, under the rest of their names.
fn part_of(checkpoint: &Checkpoint, prefix: &str) -> Result<Checkpoint, WeightsError> {
    let start = format!("{}.", prefix.trim_end_matches('.'));
    let below = |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(&start)?.to_owned(), tensor.clone()));
    let tensors: std::collections::BTreeMap<String, Tensor> = checkpoint.tensors.iter().filter_map(below).collect();
    if tensors.is_empty() {
        let reason = format!("no tensor's name begins with {start}");
        return Err(WeightsError::NoStateDict { file: checkpoint.file.clone(), reason });
    }
    Ok(Checkpoint { tensors, ..checkpoint.clone() })
}

/// How tensors under our names differ from the names and shapes that a network has beside its head.
pub(crate) fn compare(checkpoint: &Checkpoint, wanted: &[(String, Vec<usize>)]) -> Mismatch {
    let mut mismatch = Mismatch { file: checkpoint.file.clone(), ..Default::default() };
    for (name, shape) in wanted {
        match checkpoint.tensors.get(name) {
            None => mismatch.missing.push(name.clone()),
            Some(tensor) if tensor.dims() != shape => mismatch.misshapen.push(Misshapen {
                name: name.clone(),
                expected: shape.clone(),
                found: tensor.dims().to_vec(),
            }),
            Some(_) => mismatch.fitting += 1,
        }
    }
    let known: std::collections::HashSet<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    let is_head = |name: &str| name.starts_with("fc.") || name.starts_with("head.");
    let unexpected = checkpoint.tensors.keys().filter(|name| !known.contains(name.as_str()));
    let unexpected: Vec<String> = unexpected.filter(|name| !is_ignored(name) && !is_head(name)).cloned().collect();
    mismatch.unexpected = suggest(&unexpected, &mismatch.missing);
    mismatch
}

fn tensor_error(checkpoint: &Checkpoint, name: &str, source: candle_core::Error) -> WeightsError {
    WeightsError::Tensor { file: checkpoint.file.clone(), tensor: name.to_owned(), source: source.into() }
}

/// The missing name nearest to each unexpected one. Those beyond the first few are not shown, and
/// comparing all with all takes long in big networks.
fn suggest(unexpected: &[String], missing: &[String]) -> Vec<Unexpected> {
    let meant = |(i, name): (usize, &String)| Unexpected {
        name: name.clone(),
        nearest: (i < 8).then(|| nearest(name, missing.iter().map(String::as_str))).flatten().map(str::to_owned),
    };
    unexpected.iter().enumerate().map(meant).collect()
}

/// A fresh tensor of the variable's dtype and device: `Var::set` refuses one that shares its
/// storage, which would come too late.
fn convert(tensor: &Tensor, var: &Var) -> candle_core::Result<Tensor> {
    if !var.is_contiguous() {
        candle_core::bail!("the variable is not contiguous")
    }
    let value = tensor.to_dtype(var.dtype())?.to_device(var.device())?.contiguous()?;
    value.copy()
}

fn check_finite(checkpoint: &Checkpoint, name: &str, tensor: &Tensor, value: &Tensor) -> Result<(), WeightsError> {
    let count = |tensor: &Tensor| count_not_finite(tensor).map_err(|source| tensor_error(checkpoint, name, source));
    let file = || checkpoint.file.clone();
    if !is_float(tensor.dtype()) && is_float(value.dtype()) && tensor.rank() > 1 && name.ends_with("weight") {
        let dtype = tensor.dtype().as_str();
        return Err(WeightsError::NotFloat { file: file(), tensor: name.to_owned(), dtype });
    }
    let (nan, infinite) = count(tensor)?;
    if nan + infinite > 0 {
        let total = tensor.elem_count();
        return Err(WeightsError::NotFinite { file: file(), tensor: name.to_owned(), nan, infinite, total });
    }
    if name.ends_with("running_var") {
        let negative = count_negative(tensor).map_err(|source| tensor_error(checkpoint, name, source))?;
        if negative > 0 {
            let total = tensor.elem_count();
            return Err(WeightsError::NegativeVariance { file: file(), tensor: name.to_owned(), negative, total });
        }
    }
    // bf16 and f32 have one range; to f16 or from f64 something may be lost.
    let narrower = value.dtype() == DType::F16 || tensor.dtype() == DType::F64;
    if narrower && tensor.dtype() != value.dtype() {
        let (nan, infinite) = count(value)?;
        if nan + infinite > 0 {
            let dtype = value.dtype().as_str();
            return Err(WeightsError::Overflow {
                file: file(),
                tensor: name.to_owned(),
                dtype,
                overflowing: nan + infinite,
            });
        }
    }
    Ok(())
}

fn count_negative(tensor: &Tensor) -> candle_core::Result<usize> {
    let values = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(values.into_iter().filter(|value| *value < 0.0).count())
}

/// Numbers of NaN and of infinite values.
fn count_not_finite(tensor: &Tensor) -> candle_core::Result<(usize, usize)> {
    if !is_float(tensor.dtype()) {
        return Ok((0, 0));
    }
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else { return Ok((0, 0)) };
    macro_rules! count {
        ($values:expr) => {{
            let values = &$values[start..end];
            let nan = values.iter().filter(|value| value.is_nan()).count();
            let finite = values.iter().filter(|value| value.is_finite()).count();
            (nan, values.len() - nan - finite)
        }};
    }
    Ok(match &*storage {
        Storage::Cpu(CpuStorage::F64(values)) => count!(values),
        Storage::Cpu(CpuStorage::F32(values)) => count!(values),
        Storage::Cpu(CpuStorage::F16(values)) => count!(values),
        Storage::Cpu(CpuStorage::BF16(values)) => count!(values),
        _ => (0, 0),
    })
}
