//! The Python version: a pickled dictionary of an array (images, 3072) of bytes and lists of labels.

use std::path::Path;

use rayon::prelude::*;

use super::pickle::{Pickle, Value};
use super::{Cifar, PIXELS, Records};
use crate::foreign::what_it_is;
use crate::image::interleave;
use crate::{Error, Result};

/// Reads a file that must hold `records` images.
pub(super) fn read(path: &Path, set: Cifar, records: usize) -> Result<Records> {
    let wrong = |message: String| Error::format(path, message);
    // Names of files come after the images.
    let most = (2 * records * PIXELS) as u64 + (1 << 20);
    let bytes = resnet_files::read(path, most).map_err(Error::io(path))?;
    let foreign = what_it_is(&bytes[..bytes.len().min(512)]).map(str::to_string);
    let pickle = Pickle::read(&bytes).map_err(|message| {
        let why = foreign.unwrap_or(message);
        wrong(format!("not a pickle of CIFAR's Python version ({why})"))
    })?;
    let entry = |name: &'static str| {
        pickle.entry(pickle.root(), name).ok_or_else(|| wrong(format!("no entry {name:?} in the pickled dictionary")))
    };

    let key = match set {
        Cifar::Ten => "labels",
        Cifar::Hundred => "fine_labels",
        Cifar::HundredCoarse => "coarse_labels",
    };
    let labels = entry(key)?;
    let labels = pickle.integers(labels).ok_or_else(|| wrong(format!("{key:?} is no list of whole numbers")))?;
    let labels: Vec<u32> = labels
        .into_iter()
        .map(|label| u32::try_from(label).map_err(|_| wrong(format!("label {label} is no class"))))
        .collect::<Result<_>>()?;

    let (shape, planes) =
        array(&pickle, entry("data")?).ok_or_else(|| wrong("\"data\" is no array of bytes".into()))?;
    if shape != [records as i64, PIXELS as i64] || planes.len() != records * PIXELS || labels.len() != records {
        return Err(wrong(format!(
            "expected {records} images of {PIXELS} bytes, found an array {shape:?} of {} bytes and {} labels",
            planes.len(),
            labels.len()
        )));
    }
    let mut pixels = vec![0; planes.len()];
    pixels
        .par_chunks_exact_mut(PIXELS)
        .zip(planes.par_chunks_exact(PIXELS))
        .for_each(|(to, from)| interleave(from, to));
    Ok(Records { pixels, labels })
}

/// Shape and bytes of a numpy array of u8 in C order.
fn array<'a>(pickle: &'a Pickle<'a>, value: usize) -> Option<(Vec<i64>, &'a [u8])> {
    let Value::Object { class, state: Some(state), .. } = pickle.get(value)? else { return None };
    if !class.ends_with("_reconstruct") {
        return None;
    }
    // numpy's state: version, shape, dtype, Fortran order, bytes.
    let [_, shape, dtype, fortran, bytes] = pickle.items(*state)? else { return None };
    let Value::Object { class, arguments, .. } = pickle.get(*dtype)? else { return None };
    let name = pickle.items(*arguments)?.first()?;
    if class != "numpy.dtype" || !matches!(pickle.get(*name)?, Value::Text(b"u1" | b"uint8")) {
        return None;
    }
    if !matches!(pickle.get(*fortran)?, Value::Integer(0)) {
        return None;
    }
    let Value::Text(bytes) = pickle.get(*bytes)? else { return None };
    Some((pickle.integers(*shape)?, bytes))
}
