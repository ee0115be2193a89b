//! The weights of a convolution with its norm folded in, packed when first used and kept.

use std::sync::OnceLock;

use candle_core::{DType, Result, Tensor};

use crate::ConvConfig;
use crate::cpu::conv::microkernel::width_index;
use crate::cpu::conv::pack_weights::{Direction, PackedWeights};
use crate::cpu::conv::problem::{ConvProblem, MOST_POSITIONS};
use crate::cpu::conv::taps;
use crate::cpu::conv::window::LANES;
use crate::cpu::conv::winograd::Transformed;
use crate::cpu::isa::{Arithmetic, Isa};
use crate::cpu::layout::{read, read_f32};

/// The widest border that maps are kept with, in both directions.
const MOST_BORDER: usize = 64;

pub(super) struct Weights {
    /// (O, C / groups, kh, kw), without the norm.
    weight: Tensor,
    /// Factor of each output channel.
    scale: Option<Vec<f32>>,
    /// With zeros behind it, so that whole tiles can be read.
    pub bias: Vec<f32>,
    pub config: ConvConfig,
    pub outputs: usize,
    pub group_inputs: usize,
    pub kernel: (usize, usize),
    /// In f32 and in pairs of bf16, for tiles 1, 2 and 4 vectors wide.
    direct: [[OnceLock<PackedWeights>; 3]; 2],
    /// For tiles 1 and 2 vectors wide.
    transformed: [OnceLock<Transformed>; 2],
}

impl Weights {
    pub(super) fn new(weight: &Tensor, bias: Option<&Tensor>, config: ConvConfig) -> Result<Self> {
        let weight = weight.to_dtype(DType::F32)?;
        let (outputs, group_inputs, kh, kw) = weight.dims4()?;
        let mut bias = match bias {
            Some(bias) => read_f32(bias)?,
            None => vec![0.; outputs],
        };
        bias.resize(outputs + 4 * LANES, 0.);
        let (direct, transformed) = Default::default();
        Ok(Self { weight, scale: None, bias, config, outputs, group_inputs, kernel: (kh, kw), direct, transformed })
    }

    /// Multiplies the results by `scale` and adds `shift`.
    pub(super) fn fold(&mut self, scale: &[f32], shift: &[f32]) {
        for ((bias, scale), shift) in self.bias.iter_mut().zip(scale).zip(shift) {
            *bias = *bias * scale + shift;
        }
        self.scale = Some(scale.to_vec());
    }

    /// Whether the kernels apply: groups of whole panels, every or every second column, kernels and borders of a usual size.
    pub(super) fn supported(&self, arithmetic: Arithmetic) -> bool {
        let ConvConfig { stride, padding, groups, .. } = self.config;
        if self.kernel.0.saturating_mul(self.kernel.1) > MOST_POSITIONS || padding.0.max(padding.1) > MOST_BORDER {
            return false;
        }
        let panel = LANES * arithmetic.values();
        let whole = self.group_inputs.is_multiple_of(panel) && (self.outputs / groups).is_multiple_of(panel);
        stride.1 <= 2 && (groups == 1 || whole)
    }

    /// The sizes of this convolution on a batch of `n`.
    pub(super) fn shape(&self, n: usize, (h, w): (usize, usize), (oh, ow): (usize, usize)) -> ConvProblem {
        let (c, o) = (self.group_inputs * self.config.groups, self.outputs);
        let shape = ConvProblem { n, h, w, c, o, kh: self.kernel.0, kw: self.kernel.1, oh, ow, config: self.config };
        shape.with_short_strides()
    }

    /// (O, C / groups, kh, kw) with the norm's factors.
    fn values(&self) -> Result<Vec<f32>> {
        let mut values = read(&self.weight)?;
        if let Some(scale) = &self.scale {
            let len = values.len() / scale.len().max(1);
            for (values, scale) in values.chunks_exact_mut(len.max(1)).zip(scale) {
                values.iter_mut().for_each(|value| *value *= scale);
            }
        }
        Ok(values)
    }

    /// Packed weights for tiles of so many vectors.
    pub(super) fn direct(&self, isa: Isa, arithmetic: Arithmetic, vectors: usize) -> Result<&PackedWeights> {
        let cell = &self.direct[arithmetic.values() - 1][width_index(vectors)];
        cached(cell, || self.pack((isa, arithmetic), vectors))
    }

    fn pack(&self, kind: (Isa, Arithmetic), vectors: usize) -> Result<PackedWeights> {
        let shape = self.shape(1, (1, 1), (1, 1));
        let taps = taps::forward_taps(&shape);
        Ok(PackedWeights::new(kind, &self.values()?, &shape, &taps, vectors, Direction::Forward))
    }

    /// Transformed for Winograd's algorithm: one matrix for each of the 36 positions.
    pub(super) fn transformed(&self, isa: Isa, vectors: usize) -> Result<&Transformed> {
        cached(&self.transformed[width_index(vectors)], || {
            Ok(Transformed::new(isa, &self.pack((isa, Arithmetic::F32), vectors)?))
        })
    }
}

/// The value, made by the first who asks.
fn cached<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    match cell.get() {
        Some(value) => Ok(value),
        None => {
            let value = make()?;
            Ok(cell.get_or_init(|| value))
        }
    }
}
