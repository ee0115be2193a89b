//! Convolutions by cuDNN: channels-last maps and weights, with a handle for each thread.
//!
//! By its graph API: the older calls, which name an algorithm, look their plan up at every call, 60 to 75 µs each on an
//! H200's host, three quarters of a training step of ResNet-20.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::cudnn::result;
use candle_core::cuda_backend::cudarc::cudnn::sys;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream, DevicePtr, sys::CUevent_flags};
use candle_core::{CudaDevice, Error, Result};

use super::conv_graph::{ConvGraph, variant_pack};
use super::execution_plan::{EngineConfig, ExecutionPlan, engine_configs};
use super::settings::settings;
use crate::cuda::autotune::{Answer, Autotuner, Key, Library, Line, Values};
use crate::cuda::conv_problem::{ConvPass, ConvProblem};
use crate::cuda::runtime::Element;
use crate::cuda::workspace::MOST_WORKSPACE;

/// Plans that are measured, how often each, and how many are kept.
const MEASURED_PLANS: usize = 12;
const MEASUREMENTS: usize = 3;
const KEPT_PLANS: usize = 3;

thread_local! {
    // Handles must not be used by two threads at once.
    static LIBRARIES: RefCell<HashMap<DeviceId, Autotuner<Cudnn>>> = RefCell::default();
}

/// Submits the convolution; false where cuDNN has no plan for it.
///
/// # Safety
/// Operands and result must be of the shape's sizes, and alive.
pub(super) unsafe fn convolve(
    device: &CudaDevice,
    pass: ConvPass,
    shape: &ConvProblem,
    element: Element,
    operands: [u64; 2],
    out: u64,
    accumulate: bool,
) -> Result<bool> {
    let stream = device.cuda_stream();
    stream.context().bind_to_thread().map_err(Error::wrap)?;
    LIBRARIES.with_borrow_mut(|libraries| {
        let library = match libraries.entry(device.id()) {
            Entry::Occupied(library) => library.into_mut(),
            Entry::Vacant(place) => place.insert(Autotuner::new(Cudnn::new(stream)?)),
        };
        let key = Key { pass, shape: *shape, element, accumulate, settings: settings() };
        // SAFETY: as the caller promises.
        unsafe { library.convolve(key, Values { operands, out }) }
    })
}

/// A plan that was measured, or what one is made of.
enum Candidate {
    Engine(EngineConfig),
    Plan(ExecutionPlan),
    /// What was said when it was to be measured.
    Failed(sys::cudnnStatus_t),
}

struct Cudnn {
    handle: sys::cudnnHandle_t,
    stream: Arc<CudaStream>,
}

impl Drop for Cudnn {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and is not used again. At the end of a thread there is nobody to tell of an error.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Library for Cudnn {
    type Descriptors = ConvGraph;
    type Candidate = Candidate;
    type Algorithm = ExecutionPlan;
    type Status = sys::cudnnStatus_t;
    type Memory = CudaSlice<u8>;

    fn code(status: sys::cudnnStatus_t) -> u32 {
        status as u32
    }

    fn describe(&self, key: &Key) -> Answer<Self, ConvGraph> {
        // SAFETY: the handle goes after all choices.
        unsafe { ConvGraph::new(key, self.handle) }.map_err(|error| error.0)
    }

    unsafe fn list(&self, key: &Key, graph: &ConvGraph, operands: [u64; 2]) -> Result<Answer<Self, Vec<Line<Self>>>> {
        let mut configs = match engine_configs(graph, key.element, key.settings) {
            Ok(configs) => configs.into_iter(),
            Err(error) => return Ok(Err(error.0)),
        };
        let mut lines = Vec::new();
        if key.settings.search {
            // SAFETY: as the caller promises.
            lines = unsafe { self.measure(key, &mut configs, operands) }?;
        }
        lines.extend(configs.map(|config| Line { repeats: config.repeats, candidate: Candidate::Engine(config) }));
        Ok(Ok(lines))
    }

    fn prepare(&self, candidate: Candidate) -> Answer<Self, (ExecutionPlan, usize)> {
        let plan = match candidate {
            // SAFETY: the handle goes after all choices.
            Candidate::Engine(config) => unsafe { ExecutionPlan::new(config, self.handle) }.map_err(|error| error.0)?,
            Candidate::Plan(plan) => plan,
            Candidate::Failed(status) => return Err(status),
        };
        let workspace = plan.workspace;
        Ok((plan, workspace))
    }

    fn allocate(&self, bytes: usize) -> Result<CudaSlice<u8>> {
        // SAFETY: cuDNN writes before it reads.
        unsafe { self.stream.alloc::<u8>(bytes) }.map_err(Error::wrap)
    }

    unsafe fn launch(
        &self,
        key: &Key,
        plan: &ExecutionPlan,
        workspace: Option<&CudaSlice<u8>>,
        values: &Values,
    ) -> Answer<Self, ()> {
        let space = workspace.map_or(0, |memory| memory.device_ptr(&self.stream).0);
        let run = || {
            let pack = variant_pack(key.pass, values.operands, values.out, space)?;
            // SAFETY: as the caller promises; whatever used the workspace before runs before on the same stream.
            unsafe { plan.run(self.handle, &pack) }
        };
        run().map_err(|error| error.0)
    }
}

impl Cudnn {
    fn new(stream: Arc<CudaStream>) -> Result<Self> {
        let handle = result::create_handle().map_err(|error| {
            Error::wrap(error).context("cuDNN cannot start: all of its libraries must be found, and be of one version")
        })?;
        let library = Self { handle, stream };
        // SAFETY: both are alive; the library keeps the stream as long as the handle.
        unsafe { result::set_stream(handle, library.stream.cu_stream().cast()) }.map_err(Error::wrap)?;
        Ok(library)
    }

    /// Runs the first plans on the operands, the result into a scratch (what is there may have to be added to): the fastest
    /// first.
    unsafe fn measure(
        &self,
        key: &Key,
        configs: &mut impl Iterator<Item = EngineConfig>,
        operands: [u64; 2],
    ) -> Result<Vec<Line<Self>>> {
        let (mut plans, mut lines) = (Vec::new(), Vec::new());
        while plans.len() < MEASURED_PLANS
            && let Some(config) = configs.next()
        {
            let repeats = config.repeats;
            // SAFETY: the handle goes after all choices.
            match unsafe { ExecutionPlan::new(config, self.handle) } {
                Ok(plan) if plan.workspace <= MOST_WORKSPACE => plans.push((plan, repeats)),
                // It wants too much.
                Ok(_) => {}
                Err(error) => lines.push(Line { candidate: Candidate::Failed(error.0), repeats }),
            }
        }
        let [_, _, count] = key.shape.counts(key.pass);
        let scratch = self.stream.alloc_zeros::<u8>(count * key.element.size()).map_err(Error::wrap)?;
        let bytes = plans.iter().map(|(plan, _)| plan.workspace).max().unwrap_or(0);
        let space = self.allocate(bytes.max(1))?;
        let [out, space_at] = [&scratch, &space].map(|memory| memory.device_ptr(&self.stream).0);
        let mut timed = Vec::with_capacity(plans.len());
        for (plan, repeats) in plans {
            // SAFETY: as the caller promises; scratch and space are large enough.
            let seconds = unsafe { self.time(key.pass, &plan, space_at, &Values { operands, out }) }?;
            timed.push((seconds, Line { candidate: Candidate::Plan(plan), repeats }));
        }
        timed.sort_by(|a, b| a.0.total_cmp(&b.0));
        timed.truncate(KEPT_PLANS);
        Ok(timed.into_iter().map(|(_, line)| line).chain(lines).collect())
    }

    /// Milliseconds of a run, endless for a plan that refuses.
    unsafe fn time(&self, pass: ConvPass, plan: &ExecutionPlan, workspace: u64, values: &Values) -> Result<f32> {
        let Ok(pack) = variant_pack(pass, values.operands, values.out, workspace) else { return Ok(f32::INFINITY) };
        // SAFETY: as the caller promises.
        let run = || unsafe { plan.run(self.handle, &pack) };
        // The first run loads the kernel.
        if run().is_err() {
            return Ok(f32::INFINITY);
        }
        let event = || self.stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).map_err(Error::wrap);
        let start = event()?;
        for _ in 0..MEASUREMENTS {
            if run().is_err() {
                return Ok(f32::INFINITY);
            }
        }
        let end = event()?;
        Ok(start.elapsed_ms(&end).map_err(Error::wrap)? / MEASUREMENTS as f32)
    }
}
