//! The engine as an operation of candle's autograd.
//!
//! candle's custom operations take at most three tensors, and a network has hundreds of parameters. So each parameter
//! passes through a [`Ticket`], an operation that turns it into one zero; all tickets together are the second argument
//! of the [`Network`] operation. Its backward pass leaves the parameters' gradients in a shared place, where the
//! tickets' backward passes, which candle runs afterwards, find them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Device, Layout, Result, Shape, Tensor};

use super::backward::Backward;
use super::forward::{Forward, Tape};
use super::plan::{ParameterId, Plan};
use crate::cpu::element::{Bf16, Element};
use crate::cpu::isa::Isa;
use crate::cpu::layout::{channels_first, channels_last, with_values};
use crate::engine::grad_sink::sink;
use crate::graph::{Fit, MapShape, Pass};

/// Runs the plan on `x` (N, C, H, W), f32 on the CPU.
pub(crate) fn run(plan: &Arc<Plan>, x: &Tensor, fit: &Fit, pass: Pass, compute: DType) -> Result<Tensor> {
    match compute {
        DType::F32 => run_as::<f32>(plan, x, fit.vector, pass),
        DType::BF16 => run_as::<Bf16>(plan, x, fit.vector, pass),
        other => bail!("the CPU engine computes in f32 or bf16, not in {other:?}"),
    }
}

pub(super) type Stash = Arc<Mutex<HashMap<ParameterId, Vec<f32>>>>;

fn run_as<E: Element>(plan: &Arc<Plan>, x: &Tensor, vector: bool, pass: Pass) -> Result<Tensor> {
    let x = &x.contiguous()?;
    let tickets = Tickets::new(plan.parameters(), x.device())?;
    let (plan, isa, tape) = (plan.clone(), Isa::current(), Mutex::new(None));
    let op = Network::<E> { plan, vector, pass, isa, tape, stash: tickets.stash };
    if tickets.count == 0 && !x.track_op() {
        let nothing = Tensor::zeros(1, DType::F32, x.device())?;
        return x.apply_op2_no_bwd(&nothing, &Inference(op));
    }
    x.apply_op2(&tickets.tensor, op)
}

/// The tickets of all parameters that gradients are wanted of.
pub(super) struct Tickets {
    /// One zero a ticket; one zero where there is none.
    pub tensor: Tensor,
    pub count: usize,
    pub stash: Stash,
}

impl Tickets {
    pub(super) fn new<'a>(
        parameters: impl IntoIterator<Item = (ParameterId, &'a Tensor)>,
        device: &Device,
    ) -> Result<Self> {
        let stash = Stash::default();
        let mut tickets = Vec::new();
        for (id, parameter) in parameters {
            if parameter.track_op() {
                tickets.push(parameter.apply_op1(Ticket { id, stash: stash.clone() })?);
            }
        }
        let tensor = match tickets.len() {
            0 => Tensor::zeros(1, DType::F32, device)?,
            _ => Tensor::cat(&tickets, 0)?,
        };
        Ok(Self { tensor, count: tickets.len(), stash })
    }
}

/// Turns a parameter into one zero, and brings its gradient back.
struct Ticket {
    id: ParameterId,
    stash: Stash,
}

impl CustomOp1 for Ticket {
    fn name(&self) -> &'static str {
        "parameter-ticket"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.]), Shape::from(1)))
    }
    fn bwd(&self, parameter: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        let gradient = self.stash.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        let gradient = gradient.map(|values| Tensor::from_vec(values, parameter.shape(), parameter.device()));
        Ok(gradient.transpose()?.and_then(|gradient| sink(parameter, gradient)))
    }
}

struct Network<E> {
    plan: Arc<Plan>,
    /// Whether the result is (N, C).
    vector: bool,
    pass: Pass,
    isa: Isa,
    tape: Mutex<Option<Arc<Tape<E>>>>,
    stash: Stash,
}

/// Rows and columns of a graph's input; vectors (N, C) have one of each.
pub(super) fn input_shape(layout: &Layout) -> Result<(usize, MapShape)> {
    match *layout.dims() {
        [n, channels, height, width] if n > 0 => Ok((n, MapShape { channels, height, width })),
        [n, channels] if n > 0 => Ok((n, MapShape { channels, height: 1, width: 1 })),
        ref dims => bail!("a network takes a batch (N, C, H, W), got {dims:?}"),
    }
}

/// The values of a contiguous f32 tensor.
pub(super) fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("the engine takes contiguous tensors") };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// The result of a forward pass, (N, C, H, W) or, a `vector`, (N, C).
pub(super) fn output<E: Element>(plan: &Plan, tape: &Tape<E>, vector: bool) -> Result<(CpuStorage, Shape)> {
    let shape = tape.shapes[plan.stored[plan.output].node];
    let values = tape.value(plan.output)?;
    let out = channels_first(values, tape.n, shape);
    let dims = match vector {
        true => Shape::from((tape.n, shape.channels)),
        false => Shape::from((tape.n, shape.channels, shape.height, shape.width)),
    };
    Ok((CpuStorage::F32(out), dims))
}

impl<E: Element> Network<E> {
    fn forward(&self, x: &[f32], n: usize, input: MapShape, keep: bool) -> Result<Tape<E>> {
        let buffer = channels_last::<E>(x, n, input);
        Forward::run(&self.plan, self.isa, buffer, n, input, (self.pass, keep))
    }

    fn cpu(&self, storage: &CpuStorage, layout: &Layout, keep: bool) -> Result<(CpuStorage, Shape)> {
        let (n, input) = input_shape(layout)?;
        let tape = self.forward(contiguous(storage, layout)?, n, input, keep)?;
        let output = output(&self.plan, &tape, self.vector)?;
        if keep {
            *self.tape.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(tape));
        }
        Ok(output)
    }
}

impl<E: Element> CustomOp2 for Network<E> {
    fn name(&self) -> &'static str {
        "network"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        // In evaluation gradients are rarely asked for: the values are computed again if they are.
        self.cpu(s1, l1, self.pass.keep)
    }

    fn bwd(&self, x: &Tensor, tickets: &Tensor, _: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let kept = self.tape.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let tape = match kept {
            Some(tape) => tape,
            None => {
                let (n, input) = input_shape(x.layout())?;
                Arc::new(with_values(x, |values| self.forward(values, n, input, true))??)
            }
        };
        let shape = tape.shapes[self.plan.stored[self.plan.output].node];
        let dy = with_values(&g.contiguous()?, |g| channels_last::<E>(g, tape.n, shape))?;
        let gradients = Backward::run(&self.plan, self.isa, &tape, dy, x.track_op())?;
        self.stash.lock().unwrap_or_else(PoisonError::into_inner).extend(gradients.parameters);
        let dx = match gradients.input {
            Some(dx) => {
                let input = tape.shapes[0];
                Some(Tensor::from_vec(channels_first(&dx, tape.n, input), x.shape(), x.device())?)
            }
            None => None,
        };
        Ok((dx, Some(tickets.zeros_like()?)))
    }
}

/// The same operation where nothing tracks gradients: nothing is kept.
struct Inference<E>(Network<E>);

impl<E: Element> CustomOp2 for Inference<E> {
    fn name(&self) -> &'static str {
        "network-inference"
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.0.cpu(s1, l1, false)
    }
}
