//! cuDNN's plans for a convolution: engines that its heuristics name, made ready to run.

use candle_core::cuda_backend::cudarc::cudnn::result::{CudnnError, CudnnResult};
use candle_core::cuda_backend::cudarc::cudnn::sys;

use super::conv_graph::ConvGraph;
use super::descriptor::Descriptor;
use crate::cuda::autotune::status::{Verdict, verdict};
use crate::cuda::runtime::Element;
use crate::device::CudaSettings;

use sys::cudnnBackendAttributeName_t as Name;
use sys::cudnnBackendDescriptorType_t as Kind;
use sys::cudnnBackendHeurMode_t as Mode;
use sys::cudnnBackendNumericalNote_t as Note;

/// An engine with its settings.
#[derive(Debug)]
pub(super) struct EngineConfig {
    config: Descriptor,
    /// Whether it gives the same bits every time.
    pub repeats: bool,
}

/// The same, ready to run.
#[derive(Debug)]
pub(super) struct ExecutionPlan {
    plan: Descriptor,
    _config: Descriptor,
    /// Bytes that it wants.
    pub workspace: usize,
}

impl ExecutionPlan {
    /// Some engines are compiled here, which takes up to a second.
    ///
    /// # Safety
    /// The handle is alive, and stays so as long as the plan.
    pub(super) unsafe fn new(config: EngineConfig, handle: sys::cudnnHandle_t) -> CudnnResult<Self> {
        let plan = Descriptor::new(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?
            .set(Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, &[handle])?
            .set_descriptors(Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, &[&config.config])?
            .finalize()?;
        let workspace = plan.integer(Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)?;
        Ok(Self { plan, _config: config.config, workspace: workspace.max(0) as usize })
    }

    /// Submits it.
    ///
    /// # Safety
    /// As for [`Descriptor::execute`].
    pub(super) unsafe fn run(&self, handle: sys::cudnnHandle_t, pack: &Descriptor) -> CudnnResult<()> {
        // SAFETY: as the caller promises.
        unsafe { self.plan.execute(handle, pack) }
    }
}

/// The engines for a graph that are as exact as asked, the best by cuDNN's heuristics first.
///
/// # Errors
/// If a heuristic fails, or there is no engine and something was said of it.
pub(super) fn engine_configs(
    graph: &ConvGraph,
    element: Element,
    settings: CudaSettings,
) -> CudnnResult<Vec<EngineConfig>> {
    let (mut configs, mut said) = (Vec::new(), None);
    // The second names slower engines that do almost everything.
    for mode in [Mode::CUDNN_HEUR_MODE_A, Mode::CUDNN_HEUR_MODE_FALLBACK] {
        match named_by(mode, graph) {
            Ok(named) => configs.extend(named),
            Err(error) if verdict(error.0 as u32) == Verdict::Failure => return Err(error),
            Err(error) => said = said.or(Some(error)),
        }
    }
    let mut exact = Vec::new();
    for config in configs {
        match notes(&config) {
            Ok(notes) if is_exact(&notes, element, settings) => {
                let repeats = !notes.contains(&(Note::CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC as u32));
                exact.push(EngineConfig { config, repeats });
            }
            Ok(_) => {}
            Err(error) => said = said.or(Some(error)),
        }
    }
    match said {
        Some(error) if exact.is_empty() => Err(error),
        _ => Ok(exact),
    }
}

fn named_by(mode: Mode, graph: &ConvGraph) -> Result<Vec<Descriptor>, CudnnError> {
    let heuristic = Descriptor::new(Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?
        .set_descriptors(Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, &[&graph.graph])?
        .set(Name::CUDNN_ATTR_ENGINEHEUR_MODE, &[mode])?
        .finalize()?;
    let results = Name::CUDNN_ATTR_ENGINEHEUR_RESULTS;
    heuristic.descriptors(results, Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, heuristic.count(results)?)
}

/// What cuDNN says of how an engine computes.
fn notes(config: &Descriptor) -> CudnnResult<Vec<u32>> {
    let engines = config.descriptors(Name::CUDNN_ATTR_ENGINECFG_ENGINE, Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1)?;
    engines.first().map_or(Ok(Vec::new()), Descriptor::numerical_notes)
}

/// Whether an engine keeps operands and sums as exact as asked.
fn is_exact(notes: &[u32], element: Element, settings: CudaSettings) -> bool {
    let has = |note: Note| notes.contains(&(note as u32));
    // The tensor cores round operands of f32 to TF32.
    let rounds = element == Element::F32 && !settings.tf32 && has(Note::CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
    !rounds
        && !has(Note::CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)
        && !has(Note::CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)
        && !has(Note::CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13)
}
