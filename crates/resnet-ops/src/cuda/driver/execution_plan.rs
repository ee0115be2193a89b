//! cuDNN's plans for a convolution: engines that its heuristics name, made ready to run.

use candle_core::cuda_backend::cudarc::cudnn::result::{CudnnError, CudnnResult};
use candle_core::cuda_backend::cudarc::cudnn::sys;

use super::conv_graph::ConvGraph;
use super::descriptor::Descriptor;
use crate::cuda::runtime::Element;
use crate::cuda::settings::Settings;
use crate::cuda::workspace::MOST_WORKSPACE;

use sys::cudnnBackendAttributeName_t as Name;
use sys::cudnnBackendDescriptorType_t as Kind;
use sys::cudnnBackendHeurMode_t as Mode;
use sys::cudnnBackendNumericalNote_t as Note;

/// Notes that an engine may have.
const NOTES: usize = 32;

/// Engine and settings, ready to run.
#[derive(Debug)]
pub(super) struct ExecutionPlan {
    plan: Descriptor,
    _config: Descriptor,
    /// Bytes that it wants.
    pub workspace: usize,
}

impl ExecutionPlan {
    fn new(config: Descriptor, handle: sys::cudnnHandle_t) -> CudnnResult<Self> {
        let plan = Descriptor::new(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?
            .set(Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, &[handle])?
            .set_descriptors(Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, &[&config])?
            .finalize()?;
        let workspace = plan.integer(Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)?;
        Ok(Self { plan, _config: config, workspace: workspace.max(0) as usize })
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

/// A plan, or why there is none, and whether it gives the same bits every time.
pub(super) type Candidate = (CudnnResult<ExecutionPlan>, bool);

/// The plans of a graph, in the order that the heuristics give: those that repeat first, unless all are to be measured. No
/// more are made once `enough` work in the workspace that there is: some engines are compiled for it.
///
/// # Errors
/// If no heuristic does the graph.
pub(super) fn plans(
    graph: &ConvGraph,
    element: Element,
    settings: Settings,
    handle: sys::cudnnHandle_t,
    enough: usize,
) -> CudnnResult<Vec<Candidate>> {
    let mut configs = Vec::new();
    let mut error = None;
    // The second names slower engines that do almost everything.
    for mode in [Mode::CUDNN_HEUR_MODE_A, Mode::CUDNN_HEUR_MODE_FALLBACK] {
        match engine_configs(graph, mode) {
            Ok(found) => configs.extend(found),
            Err(status) => error = error.or(Some(status)),
        }
    }
    if let (true, Some(error)) = (configs.is_empty(), error) {
        return Err(error);
    }
    let mut exact = Vec::new();
    for config in configs {
        let notes = notes(&config)?;
        if is_exact(&notes, element, settings) {
            exact.push((config, !notes.contains(&(Note::CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC as u32))));
        }
    }
    if !settings.search {
        exact.sort_by_key(|(_, repeats)| !repeats);
    }
    let (mut candidates, mut working) = (Vec::new(), 0);
    for (config, repeats) in exact {
        if working == enough {
            break;
        }
        let plan = ExecutionPlan::new(config, handle);
        working += usize::from(plan.as_ref().is_ok_and(|plan| plan.workspace <= MOST_WORKSPACE));
        candidates.push((plan, repeats));
    }
    Ok(candidates)
}

fn engine_configs(graph: &ConvGraph, mode: Mode) -> Result<Vec<Descriptor>, CudnnError> {
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
    match engines.first() {
        Some(engine) => engine.numbers::<NOTES>(
            Name::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
            sys::cudnnBackendAttributeType_t::CUDNN_TYPE_NUMERICAL_NOTE,
        ),
        None => Ok(Vec::new()),
    }
}

/// Whether an engine keeps operands and sums as exact as asked.
fn is_exact(notes: &[u32], element: Element, settings: Settings) -> bool {
    let has = |note: Note| notes.contains(&(note as u32));
    // The tensor cores round operands of f32 to TF32.
    let rounds = element == Element::F32 && !settings.tf32 && has(Note::CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
    !rounds
        && !has(Note::CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)
        && !has(Note::CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)
        && !has(Note::CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13)
}
