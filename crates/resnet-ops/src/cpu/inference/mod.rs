//! Inference: norms folded into the convolutions, weights packed once, additions and ReLUs in the convolutions' ends,
//! Winograd's algorithm where it wins.

mod conv;
mod lower;
mod map;
mod passes;
mod weights;
mod winograd;

use candle_core::{CpuStorage, CustomOp1, DType, Layout as TensorLayout, Result, Shape, Tensor, bail};

use super::isa::Isa;
use crate::graph::{Graph, MapShape, Op};
use lower::{Id, Step, lower};
use map::{Layout, Map};

/// A graph made ready for inference. It may be shared by threads.
pub struct Inference {
    graph: Graph,
    /// `None` where the graph has an operation that only [`Graph::forward_t`] runs.
    steps: Option<(Vec<Step>, Id)>,
}

impl Inference {
    /// Folds the running statistics of the graph's norms into its convolutions.
    ///
    /// # Errors
    /// If a parameter cannot be read or does not fit.
    pub fn new(graph: &Graph) -> Result<Self> {
        let on_cpu = |op: &Op| match op {
            Op::Conv { weight, .. } | Op::Linear { weight, .. } => weight.device().is_cpu(),
            _ => true,
        };
        let steps = if graph.nodes().iter().all(|node| on_cpu(&node.op)) { lower(graph)? } else { None };
        Ok(Self { graph: graph.clone(), steps })
    }

    /// Whether the graph runs folded; if not, [`Self::forward`] is the graph's own in evaluation mode.
    pub fn is_folded(&self) -> bool {
        self.steps.is_some()
    }

    /// The graph's output for `x` (N, C, H, W), f32, in evaluation mode, without gradients.
    ///
    /// The weights of each convolution are packed at the first call that needs them.
    ///
    /// # Errors
    /// If the input's shape, dtype or device does not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.steps {
            Some((steps, output)) if x.device().is_cpu() && x.dtype() == DType::F32 && x.rank() == 4 => {
                let run = Run { graph: &self.graph, steps, output: *output };
                x.contiguous()?.apply_op1_no_bwd(&run)
            }
            _ => self.graph.forward_t(&x.detach(), false),
        }
    }
}

impl std::fmt::Debug for Inference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inference").field("graph", &self.graph).field("folded", &self.is_folded()).finish()
    }
}

/// One pass over a batch.
struct Run<'a> {
    graph: &'a Graph,
    steps: &'a [Step],
    output: Id,
}

impl CustomOp1 for Run<'_> {
    fn name(&self) -> &'static str {
        "inference"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &TensorLayout) -> Result<(CpuStorage, Shape)> {
        let (n, channels, height, width) = layout.shape().dims4()?;
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("inference takes contiguous tensors") };
        let values = &storage.as_slice::<f32>()?[start..end];
        if n == 0 {
            bail!("inference takes a batch (N, C, H, W) with at least one image, got {:?}", layout.dims());
        }
        self.run(values, n, MapShape { channels, height, width })
    }
}

impl Run<'_> {
    fn run(&self, x: &[f32], n: usize, input: MapShape) -> Result<(CpuStorage, Shape)> {
        let isa = Isa::current();
        let shapes = self.graph.shapes(input)?;
        let borders = self.borders(shapes.len());
        let last_uses = self.last_uses(shapes.len());
        let layout = |id: Id| Layout { n, shape: shapes[id], border: borders[id] };
        let mut maps: Vec<Option<Map>> = shapes.iter().map(|_| None).collect();
        maps[0] = Some(passes::input(isa, x, layout(0)));
        for (i, step) in self.steps.iter().enumerate() {
            let get = |id: Id| match &maps[id] {
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
                    passes::affine(isa, get(*input)?, scale, shift, *relu, layout(out))
                }
                Step::Add { a, b, relu, .. } => passes::add(isa, get(*a)?, b.map(get).transpose()?, *relu, layout(out)),
                Step::MaxPool { config, input, .. } => passes::max_pool(isa, get(*input)?, config, layout(out)),
                Step::GlobalAvgPool { input, .. } => passes::global_avg_pool(isa, get(*input)?, layout(out)),
                Step::Shortcut { input, stride, before, .. } => {
                    passes::shortcut(get(*input)?, *stride, *before, layout(out))
                }
                Step::Linear { input, weights, .. } => {
                    let logits = conv::linear(isa, get(*input)?, weights)?;
                    if out == self.output {
                        return Ok((CpuStorage::F32(logits), Shape::from((n, weights.outputs))));
                    }
                    bail!("inference ends with a linear layer")
                }
            };
            maps[out] = Some(map);
            for id in 0..maps.len() {
                if last_uses[id] == i && id != self.output {
                    maps[id] = None;
                }
            }
        }
        let Some(map) = &maps[self.output] else { bail!("inference lost its output") };
        let MapShape { channels, height, width } = map.layout.shape;
        let vector = matches!(self.graph.nodes()[self.output].op, Op::GlobalAvgPool);
        let shape = if vector { Shape::from((n, channels)) } else { Shape::from((n, channels, height, width)) };
        Ok((CpuStorage::F32(passes::output(map)), shape))
    }

    /// The border that the readers of each value need.
    fn borders(&self, values: usize) -> Vec<usize> {
        let mut borders = vec![0; values];
        for step in self.steps {
            if let Step::Conv { input, weights, .. } = step {
                let padding = weights.config.padding;
                borders[*input] = borders[*input].max(padding.0).max(padding.1);
            }
        }
        borders
    }

    fn last_uses(&self, values: usize) -> Vec<usize> {
        let mut last = vec![usize::MAX; values];
        for (i, step) in self.steps.iter().enumerate() {
            step.inputs().into_iter().flatten().for_each(|id| last[id] = i);
        }
        last
    }
}
