//! Operations that the engine has no kernel for: a single node runs through candle's tensors, forwards and backwards,
//! and everything around it stays in the engine.

use std::sync::Arc;

use candle_core::{Result, Tensor, Var};

use super::backward::Backward;
use super::forward::{Forward, Tape};
use super::plan::{Plan, View};
use crate::cpu::buffer::Buffer;
use crate::cpu::element::Element;
use crate::cpu::layout::{channels_first, channels_last, read, with_values};
use crate::error::named;
use crate::graph::apply;

impl<E: Element> Tape<E> {
    /// A stored value, seen through nothing, as (N, C, H, W).
    fn tensor(&self, plan: &Plan, tensor: usize) -> Result<Tensor> {
        self.as_tensor(plan, tensor, self.value(tensor)?)
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
        let inputs = inputs.iter().map(|view| self.tape.tensor(self.plan, view.tensor)).collect::<Result<Vec<_>>>()?;
        let op = &self.plan.nodes[node].op;
        // Detached parameters: what is computed here needs no graph of candle's.
        let op = op.with_parameters(op.parameters().map(|p| p.map(Tensor::detach)));
        let y = apply(&op, node, &inputs, self.tape.pass).map_err(|error| named(&self.plan.nodes[node].name, error))?;
        let (n, shape) = (self.tape.n, self.shape(out));
        let buffer = with_values(&y, |values| channels_last::<E>(values, n, shape))?;
        self.finish(out, buffer, None)
    }
}

impl<E: Element> Backward<'_, E> {
    pub(super) fn fallback(&mut self, node: usize, inputs: &[View], out: usize, g: &Arc<Buffer<E>>) -> Result<()> {
        let (tape, plan) = (self.tape, self.plan);
        let op = &plan.nodes[node].op;
        let vars =
            inputs.iter().map(|view| Var::from_tensor(&tape.tensor(plan, view.tensor)?)).collect::<Result<Vec<_>>>()?;
        let mut parameters = [None, None];
        for (copy, parameter) in parameters.iter_mut().zip(op.parameters()) {
            *copy = parameter.map(|p| Var::from_tensor(&p.detach())).transpose()?;
        }
        let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let op = op.with_parameters(parameters.each_ref().map(|p| p.as_ref().map(|var| var.as_tensor().clone())));
        let y = apply(&op, node, &tensors, tape.pass)?;
        let gradients = (y * tape.as_tensor(plan, out, g)?)?.sum_all()?.backward()?;
        for (place, parameter) in parameters.iter().enumerate() {
            if let Some(gradient) = parameter.as_ref().and_then(|var| gradients.get(var)) {
                self.gradients.insert((node, place), read(gradient)?);
            }
        }
        for (view, var) in inputs.iter().zip(&vars) {
            match gradients.get(var) {
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
