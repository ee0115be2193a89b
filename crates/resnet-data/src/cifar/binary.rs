//! The binary version: one or two label bytes, then the red, green and blue planes, for every image.

use std::path::Path;

use rayon::prelude::*;

use super::{Cifar, PIXELS, Records};
use crate::image::interleave;
use crate::{Error, Result};

/// Reads a file that must hold `records` images.
pub(super) fn read(path: &Path, set: Cifar, records: usize) -> Result<Records> {
    // CIFAR-100 has the superclass first and the class second.
    let (labels, label) = match set {
        Cifar::Ten => (1, 0),
        Cifar::Hundred => (2, 1),
        Cifar::HundredCoarse => (2, 0),
    };
    let record = labels + PIXELS;
    let expected = (records * record) as u64;
    // The size is looked at first: a wrong file may be too large to read.
    let actual = path.metadata().map_err(Error::io(path))?.len();
    if actual != expected {
        return Err(Error::FileSize { path: path.into(), what: "a batch of CIFAR's binary version", expected, actual });
    }
    let bytes = resnet_files::read(path, expected).map_err(Error::io(path))?;
    let mut pixels = vec![0; records * PIXELS];
    bytes
        .par_chunks_exact(record)
        .zip(pixels.par_chunks_exact_mut(PIXELS))
        .for_each(|(record, pixels)| interleave(&record[labels..], pixels));
    let labels = bytes.chunks_exact(record).map(|record| u32::from(record[label])).collect();
    Ok(Records { pixels, labels })
}
