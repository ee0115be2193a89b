//! Operations that the engine has no kernel for, through candle's tensors.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::backward::Backward;
use super::forward::{Forward, Tape};
use super::plan::{Plan, View};
use crate::cpu::buffer::Buffer;
use crate::cpu::element::Element;
use crate::cpu::layout::{channels_first, channels_last, read, with_values};
use crate::engine::fallback;

impl<E: Element> Tape<E> {
    /// Stored values, seen through nothing, as (N, C, H, W).
    fn tensors(&self, plan: &Plan, views: &[View]) -> Result<Vec<Tensor>> {
        views.iter().map(|view| self.as_tensor(plan, view.tensor, self.value(view.tensor)?)).collect()
    }

    /// Values laid out like a stored value, as (N, C, H, W).
    fn as_tensor(&self, plan: &Plan, tensor: usize, values: &Buffer<E>) -> Result<Tensor> {
        let shape = self.shapes[plan.stored[tensor].node];
        let dims = (self.n, shape.channels, shape.height, shape.width);
        Tensor::from_vec(channels_first(values, self.n, shape), dims, &candle_core::Device::Cpu)
    }
}

impl<E: Element> Forward<'_, E> {
    pub(super) fn fallback(&mut self, node: usize, inputs: &[View], out: usize) -> Result<()> {
        let inputs = self.tape.tensors(self.plan, inputs)?;
        let y = fallback::forward(&self.plan.nodes, node, &inputs, self.tape.pass)?;
        let (n, shape) = (self.tape.n, self.shape(out));
        let buffer = with_values(&y, |values| channels_last::<E>(values, n, shape))?;
        self.finish(out, buffer, None)
    }
}

impl<E: Element> Backward<'_, E> {
    pub(super) fn fallback(&mut self, node: usize, inputs: &[View], out: usize, g: &Arc<Buffer<E>>) -> Result<()> {
        let (tape, plan) = (self.tape, self.plan);
        let dy = tape.as_tensor(plan, out, g)?;
        let gradients = fallback::backward(&plan.nodes, node, &tape.tensors(plan, inputs)?, &dy, tape.pass)?;
        for (place, gradient) in gradients.parameters.iter().enumerate() {
            if let Some(gradient) = gradient {
                self.gradients.insert((node, place), read(gradient)?);
            }
        }
        for (view, gradient) in inputs.iter().zip(&gradients.inputs) {
            match gradient {
                Some(gradient) => {
                    let shape = tape.shapes[view.node];
                    let buffer = with_values(gradient, |values| channels_last::<E>(values, tape.n, shape))?;
                    self.alias(view, &Arc::new(buffer))?;
                }
                None => self.contributed(view.slot)?,
            }
        }
        Ok(())
    }
}
