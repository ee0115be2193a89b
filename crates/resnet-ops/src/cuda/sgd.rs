//! One optimizer step for all parameters in one launch (one for each 1,638 blocks): a table on the device says which block
//! works on which values.

use candle_core::{DType, Result, Tensor};

use super::launch::Grid;
use super::runtime::{Arg, Module, Runtime};
use crate::sgd::SgdStep;

/// Values that a block has at least.
const LEAST_CHUNK: usize = 1 << 13;

/// Blocks that the values of all parameters are cut into: eight for each of the 132 processors of a large device.
const BLOCKS: usize = 1056;

/// Rows of one launch's table: the driver takes up to 64 KiB from the host without waiting for the device; with more, it
/// may wait for all that was submitted before.
const MOST_ROWS: usize = (64 << 10) / std::mem::size_of::<Chunk>();

/// One parameter of a step: its tensors are contiguous f32 on one device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SgdRow<'a> {
    /// Is written.
    pub parameter: &'a Tensor,
    /// Has the parameter's shape.
    pub gradient: &'a Tensor,
    /// Is written; absent without momentum. With `first` its values do not matter.
    pub velocity: Option<&'a Tensor>,
    /// Learning rate.
    pub rate: f32,
    /// Weight decay.
    pub decay: f32,
    /// Whether this is the parameter's first step, which begins the velocity with the gradient.
    pub first: bool,
}

/// A row of the table: `struct Chunk` of optimizer.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
struct Chunk {
    parameter: u64,
    gradient: u64,
    velocity: u64,
    rate: f32,
    decay: f32,
    count: i32,
    first: i32,
}

/// Values of one block where there are `total`.
fn chunk_size(total: usize) -> usize {
    total.div_ceil(BLOCKS).next_multiple_of(1024).max(LEAST_CHUNK)
}

/// The chunks of a parameter of `count` values at these addresses (a velocity of 0 is none).
fn chunks(row: Chunk, count: usize, size: usize) -> impl Iterator<Item = Chunk> {
    (0..count).step_by(size).map(move |begin| {
        let at = |address: u64| if address == 0 { 0 } else { address + 4 * begin as u64 };
        Chunk {
            parameter: at(row.parameter),
            gradient: at(row.gradient),
            velocity: at(row.velocity),
            count: size.min(count - begin) as i32,
            ..row
        }
    })
}

fn bytes(table: &[Chunk]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(std::mem::size_of_val(table));
    for row in table {
        for address in [row.parameter, row.gradient, row.velocity] {
            bytes.extend(address.to_le_bytes());
        }
        bytes.extend([row.rate, row.decay].iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend([row.count, row.first].iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes
}

/// PyTorch's SGD (see [`SgdRow`]) on every parameter.
///
/// # Errors
/// If shapes, dtypes or devices do not fit.
pub(crate) fn sgd<R: Runtime>(runtime: &R, parameters: &[SgdRow], step: SgdStep) -> Result<()> {
    let size = chunk_size(parameters.iter().map(|p| p.parameter.elem_count()).sum());
    let mut table = Vec::new();
    for p in parameters {
        let count = p.parameter.elem_count();
        let sizes = [Some(p.gradient), p.velocity].into_iter().flatten().map(Tensor::elem_count);
        if let Some(other) = sizes.into_iter().find(|&size| size != count) {
            bail!("sgd: a parameter of {count} values and a gradient or velocity of {other}");
        }
        let row = Chunk {
            parameter: runtime.tensor_address(p.parameter, DType::F32)?,
            gradient: runtime.tensor_address(p.gradient, DType::F32)?,
            velocity: p.velocity.map(|v| runtime.tensor_address(v, DType::F32)).transpose()?.unwrap_or(0),
            rate: p.rate,
            decay: p.decay,
            count: 0,
            first: i32::from(p.first),
        };
        table.extend(chunks(row, count, size));
    }
    for rows in table.chunks(MOST_ROWS) {
        let uploaded = runtime.upload(&bytes(rows))?;
        let args = [
            Arg::Address(runtime.address(&uploaded)),
            Arg::Float(step.scale as f32),
            Arg::Float(step.momentum as f32),
            Arg::Int(i32::from(step.nesterov)),
        ];
        // SAFETY: each row's tensors have `count` values from there on; the parameters and velocities belong to the
        // caller, who gives each once, and whatever else reads them is submitted before or after.
        unsafe { runtime.launch(Module::Optimizer, "sgd", Grid { x: rows.len(), y: 1 }, &args)? };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Chunk =
        Chunk { parameter: 1 << 20, gradient: 1 << 24, velocity: 0, rate: 0.1, decay: 0., count: 0, first: 0 };

    #[test]
    fn chunks_cover_every_value_once() {
        const SIZE: usize = 4096;
        for count in [1, SIZE - 1, SIZE, SIZE + 1, 5 * SIZE + 7] {
            let mut next = ROW.parameter;
            for chunk in chunks(ROW, count, SIZE) {
                assert_eq!(chunk.parameter, next);
                assert_eq!(chunk.gradient - ROW.gradient, chunk.parameter - ROW.parameter);
                assert_eq!(chunk.velocity, 0);
                assert!(chunk.count > 0 && chunk.count as usize <= SIZE);
                next += 4 * chunk.count as u64;
            }
            assert_eq!(next, ROW.parameter + 4 * count as u64);
        }
        assert_eq!(chunks(ROW, 0, SIZE).count(), 0);
    }

    #[test]
    fn a_step_of_a_large_network_is_one_upload() {
        // ResNet-50 has 161 parameters, ResNet-152 467: a row more each at most.
        for (values, parameters) in [(25_557_032usize, 161), (60_192_808, 467)] {
            let rows = values.div_ceil(chunk_size(values)) + parameters;
            assert!(rows <= MOST_ROWS, "{rows}");
        }
        assert_eq!(chunk_size(270_000), LEAST_CHUNK);
        assert_eq!(chunk_size(usize::MAX >> 8) % 1024, 0);
    }

    #[test]
    fn rows_have_the_size_of_the_struct() {
        assert_eq!(bytes(&[ROW, ROW]).len(), 2 * std::mem::size_of::<Chunk>());
        assert_eq!(std::mem::size_of::<Chunk>(), 40);
    }
}
