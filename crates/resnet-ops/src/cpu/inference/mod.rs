//! Inference: norms folded into the convolutions, weights packed once, additions and ReLUs in the convolutions' ends,
//! Winograd's algorithm where it wins.

mod conv;
mod lower;
mod map;
mod passes;
mod weights;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout as TensorLayout, Module, Result, Shape, Tensor};

use crate::cpu::conv::window::IMAGE_CHANNELS;
use crate::cpu::element::Bf16;
use crate::cpu::isa::{Arithmetic, Isa};
use crate::cpu::threads;
use crate::engine;
use crate::engine::schedule::{Schedule, Step as _, ValueId};
use crate::graph::{Fit, Graph, MapShape, Op};
use crate::memory;
use lower::{Step, lower};
use map::{Layout, Map, Stored};

/// A graph made ready for inference. It may be shared by threads.
pub struct Inference {
    graph: Graph,
    /// `None` where the graph has an operation that only [`Graph::forward_t`] runs.
    plan: Option<Plan>,
}

/// The steps, and what follows from them for each value.
struct Plan {
    schedule: Schedule<Step>,
    /// Whether the kernels for pairs of bf16 apply to all convolutions.
    pairs: bool,
    /// The border that its readers need.
    borders: Vec<usize>,
    /// Whether all that is done with the input is to convolve it: then it may be kept unpadded.
    unpadded: bool,
}

impl Plan {
    fn new(schedule: Schedule<Step>) -> Self {
        let Schedule { steps, output, .. } = &schedule;
        let mut borders = vec![0; output + 1];
        for step in steps {
            if let Step::Conv { input, weights, .. } = step {
                let padding = weights.config.padding;
                borders[*input] = borders[*input].max(padding.0).max(padding.1);
            }
        }
        let fits = |step: &Step| match step {
            Step::Conv { weights, .. } => weights.supported(Arithmetic::Bf16Dot),
            _ => true,
        };
        let pairs = steps.iter().all(fits);
        let convolved = |step: &Step| match step {
            Step::Conv { residual, .. } => *residual != Some(0),
            step => !step.inputs().contains(&0),
        };
        let unpadded = *output != 0 && steps.iter().all(convolved);
        Self { schedule, pairs, borders, unpadded }
    }
}

impl Inference {
    /// Folds the running statistics of the graph's norms into its convolutions.
    ///
    /// A graph that computes in bf16 ([`Graph::with_compute_dtype`]) does so here too where the processor multiplies bf16
    /// (AVX512-BF16); elsewhere f32 is as fast, and more exact.
    ///
    /// # Errors
    /// If a parameter cannot be read or does not fit.
    pub fn new(graph: &Graph) -> Result<Self> {
        graph.check_parameters(graph.needed()?)?;
        let on_cpu = |op: &Op| match op {
            Op::Conv { weight, .. } | Op::Linear { weight, .. } => weight.device().is_cpu(),
            _ => true,
        };
        let steps = if graph.needed()?.iter().all(|node| on_cpu(&node.op)) { lower(graph)? } else { None };
        let plan = steps.map(Plan::new);
        // Without a plan the graph itself runs: what an engine makes of its parameters it then makes once.
        let graph = if plan.is_some() { graph.clone() } else { graph.frozen()? };
        Ok(Self { graph, plan })
    }

    /// Whether the graph runs folded; if not, [`Self::forward`] is the graph's own in evaluation mode.
    pub fn is_folded(&self) -> bool {
        self.plan.is_some()
    }

    /// The graph's output for `x` (N, C, H, W), f32, in evaluation mode, without gradients.
    ///
    /// The weights of each convolution are packed at the first call that needs them.
    ///
    /// # Errors
    /// If the input's shape, dtype or device does not fit, or a result would not fit into memory.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.plan {
            Some(plan) if x.device().is_cpu() && x.dtype() == DType::F32 && x.rank() == 4 => {
                let fit = self.graph.fit(x, false)?;
                let compute = self.graph.compute_dtype();
                if !matches!(compute, DType::F32 | DType::BF16) {
                    bail!("the CPU engine computes in f32 or bf16, not in {compute:?}");
                }
                x.contiguous()?.apply_op1_no_bwd(&Run { graph: &self.graph, plan, fit })
            }
            _ => self.graph.forward_t(&x.detach(), false),
        }
    }
}

impl Module for Inference {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward(x)
    }
}

impl std::fmt::Debug for Inference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inference").field("graph", &self.graph).field("folded", &self.is_folded()).finish()
    }
}

/// Bytes of the largest map of a part of a batch: several such maps fit into a third-level cache.
const PART_BYTES: usize = 6 << 20;

/// One pass over a batch.
struct Run<'a> {
    graph: &'a Graph,
    plan: &'a Plan,
    fit: Fit,
}

impl CustomOp1 for Run<'_> {
    fn name(&self) -> &'static str {
        "inference"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &TensorLayout) -> Result<(CpuStorage, Shape)> {
        let (n, channels, height, width) = layout.shape().dims4()?;
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("inference takes contiguous tensors") };
        let values = &storage.as_slice::<f32>()?[start..end];
        let (isa, input) = (Isa::current(), MapShape { channels, height, width });
        let narrow = self.graph.compute_dtype() == DType::BF16 && self.plan.pairs;
        threads::team_scope(|| match Arithmetic::of::<Bf16>(isa) {
            Arithmetic::Bf16Dot if narrow => self.run::<Bf16>(isa, values, n, input),
            _ => self.run::<f32>(isa, values, n, input),
        })
    }
}

impl Run<'_> {
    /// Batches are computed in parts whose maps stay in the cache.
    fn run<E: Stored>(&self, isa: Isa, x: &[f32], n: usize, input: MapShape) -> Result<(CpuStorage, Shape)> {
        let shapes = self.fit.shapes.as_slice();
        // What borders and panels add counts only where it is most of a map.
        let bytes = |id: ValueId| size_of::<E>() * shapes[id].count().max(self.layout::<E>(id, 1).len() / 4);
        let largest = (0..shapes.len()).map(bytes).max().unwrap_or(1);
        let threads = threads::count();
        let most = (PART_BYTES / largest.max(1)).next_multiple_of(threads).max(threads);
        let size = n.div_ceil(n.div_ceil(most)).next_multiple_of(threads);
        for (id, shape) in shapes.iter().enumerate() {
            let bytes = size_of::<E>() * self.layout::<E>(id, size.min(n)).len();
            memory::check(format_args!("inference: {shape:?} with its border"), bytes as u128, &Device::Cpu)?;
        }
        let mut values = Vec::new();
        for x in x.chunks(size * input.count()) {
            values.extend(self.part::<E>(isa, x, x.len() / input.count())?);
        }
        let shape = engine::output_shape(n, shapes[self.plan.schedule.output], self.fit.vector);
        Ok((CpuStorage::F32(values), shape))
    }

    /// How a value of `n` images is laid out.
    fn layout<E: Stored>(&self, id: ValueId, n: usize) -> Layout {
        let shape = self.fit.shapes[id];
        let unpadded = id == 0 && self.plan.unpadded && shape.channels == IMAGE_CHANNELS && !E::NARROW;
        Layout { n, shape, border: self.plan.borders[id], values: E::VALUES, unpadded }
    }

    fn part<E: Stored>(&self, isa: Isa, x: &[f32], n: usize) -> Result<Vec<f32>> {
        let schedule = &self.plan.schedule;
        let layout = |id: ValueId| self.layout::<E>(id, n);
        let mut maps: Vec<Option<Map<E>>> = self.fit.shapes.iter().map(|_| None).collect();
        maps[0] = Some(passes::input(isa, x, layout(0)));
        for (step, last_reads) in schedule.iter() {
            let get = |id: ValueId| match &maps[id] {
                Some(map) => Ok(map),
                None => bail!("inference lost value {id}"),
            };
            let out = step.out();
            let map = match step {
                Step::Conv { input, weights, residual, relu, .. } => {
                    let residual = residual.map(get).transpose()?;
                    conv::conv(isa, get(*input)?, weights, residual, *relu, layout(out))?
                }
                Step::Affine { input, scale, shift, relu, .. } => {
                    passes::affine(isa, get(*input)?, (scale, shift), *relu, layout(out))
                }
                Step::Add { a, b, relu, .. } => passes::add(isa, get(*a)?, b.map(get).transpose()?, *relu, layout(out)),
                Step::MaxPool { config, input, .. } => passes::max_pool(isa, get(*input)?, config, layout(out)),
                Step::GlobalAvgPool { input, .. } => passes::global_avg_pool(isa, get(*input)?, layout(out)),
                Step::Shortcut { input, stride, before, .. } => {
                    passes::shortcut(get(*input)?, *stride, *before, layout(out))
                }
                Step::Linear { input, weights, .. } => return conv::linear(isa, get(*input)?, weights),
            };
            maps[out] = Some(map);
            for &id in last_reads {
                maps[id] = None;
            }
        }
        let Some(map) = &maps[schedule.output] else { bail!("inference lost its output") };
        Ok(passes::output(map))
    }
}
