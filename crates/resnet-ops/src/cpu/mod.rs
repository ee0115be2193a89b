//! The fused engine for f32 tensors on the CPU.
pub(crate) mod isa;

use candle_core::{DType, Result, Tensor};

pub(crate) struct Plan;
impl Plan {
    pub(crate) fn new(_graph: &crate::Graph) -> Option<Self> {
        None
    }
    pub(crate) fn run(&self, x: &Tensor, _train: bool, _dtype: DType) -> Result<Tensor> {
        Ok(x.clone())
    }
}
