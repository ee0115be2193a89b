//! Convolutions by cuDNN: channels-last maps and weights, with a handle for each thread.
//!
//! By its graph API: the older calls, which name an algorithm, look their plan up at every call, 60 to 75 µs each on an
//! H200's host, three quarters of a training step of ResNet-20.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::cudnn::result::{self, CudnnResult};
use candle_core::cuda_backend::cudarc::cudnn::sys;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream, DevicePtr, sys::CUevent_flags};
use candle_core::{CudaDevice, Error, Result};

use super::conv_graph::{ConvGraph, variant_pack};
use super::execution_plan::{Candidate, ExecutionPlan, plans};
use super::settings::settings;
use crate::cuda::chooser::{Answer, Chooser, Key, Library, Line, Values};
use crate::cuda::conv_shape::{ConvPass, ConvShape};
use crate::cuda::runtime::Element;
use crate::cuda::workspace::MOST_WORKSPACE;

/// Plans that are made for a shape: the first, and those that take its place if it refuses.
const PLANS: usize = 3;

/// Plans that are measured, and how often each.
const MEASURED_PLANS: usize = 12;
const MEASUREMENTS: usize = 3;

thread_local! {
    // Handles must not be used by two threads at once.
    static LIBRARIES: RefCell<HashMap<DeviceId, Chooser<Cudnn>>> = RefCell::default();
}

/// Submits the convolution; false where cuDNN has no plan for it.
///
/// # Safety
/// Operands and result must be of the shape's sizes, and alive.
pub(super) unsafe fn convolve(
    device: &CudaDevice,
    pass: ConvPass,
    shape: &ConvShape,
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
            Entry::Vacant(place) => place.insert(Chooser::new(Cudnn::new(stream)?)),
        };
        let key = Key { pass, shape: *shape, element, accumulate, settings: settings() };
        // SAFETY: as the caller promises.
        unsafe { library.convolve(key, Values { operands, out }) }
    })
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
    type Algorithm = ExecutionPlan;
    type Status = sys::cudnnStatus_t;
    type Memory = CudaSlice<u8>;

    fn code(status: sys::cudnnStatus_t) -> u32 {
        status as u32
    }

    fn describe(&self, key: &Key) -> Answer<Self, ConvGraph> {
        ConvGraph::new(key, self.handle).map_err(|error| error.0)
    }

    unsafe fn list(&self, key: &Key, graph: &ConvGraph, operands: [u64; 2]) -> Result<Answer<Self, Vec<Line<Self>>>> {
        let enough = if key.settings.search { MEASURED_PLANS } else { PLANS };
        let mut candidates = match plans(graph, key.element, key.settings, self.handle, enough) {
            Ok(candidates) => candidates,
            Err(error) => return Ok(Err(error.0)),
        };
        if key.settings.search {
            // SAFETY: as the caller promises.
            candidates = unsafe { self.measure(key, candidates, operands) }?;
        }
        let line = |(plan, repeats): Candidate| {
            let works = plan.map(|plan| {
                let workspace = plan.workspace;
                (plan, workspace)
            });
            Line { works: works.map_err(|error| error.0), repeats }
        };
        Ok(Ok(candidates.into_iter().map(line).collect()))
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
        // SAFETY: as the caller promises; whatever used the workspace before runs before on the same stream.
        unsafe { self.run(key.pass, plan, space, values) }.map_err(|error| error.0)
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

    unsafe fn run(&self, pass: ConvPass, plan: &ExecutionPlan, workspace: u64, values: &Values) -> CudnnResult<()> {
        let pack = variant_pack(pass, values.operands, values.out, workspace)?;
        // SAFETY: as the caller promises.
        unsafe { plan.run(self.handle, &pack) }
    }

    /// Runs every plan on the operands, the result into a scratch (what is there may have to be added to), and puts the
    /// fastest first.
    unsafe fn measure(&self, key: &Key, candidates: Vec<Candidate>, operands: [u64; 2]) -> Result<Vec<Candidate>> {
        let [_, _, count] = key.shape.counts(key.pass);
        // SAFETY: what is there has no meaning, and is not read by anybody.
        let (scratch, space) = unsafe {
            let scratch = self.stream.alloc::<u8>(count * key.element.size()).map_err(Error::wrap)?;
            (scratch, self.stream.alloc::<u8>(MOST_WORKSPACE).map_err(Error::wrap)?)
        };
        let values = Values { operands, out: scratch.device_ptr(&self.stream).0 };
        let space = space.device_ptr(&self.stream).0;
        let mut timed = Vec::with_capacity(candidates.len());
        for (plan, repeats) in candidates {
            let seconds = match &plan {
                Ok(plan) if plan.workspace <= MOST_WORKSPACE => {
                    let mut best = f32::INFINITY;
                    // The first run also loads the kernel.
                    for _ in 0..=MEASUREMENTS {
                        let time = Some(CUevent_flags::CU_EVENT_DEFAULT);
                        let start = self.stream.record_event(time).map_err(Error::wrap)?;
                        // SAFETY: as the caller promises; scratch and space are large enough.
                        if unsafe { self.run(key.pass, plan, space, &values) }.is_err() {
                            best = f32::INFINITY;
                            break;
                        }
                        let end = self.stream.record_event(time).map_err(Error::wrap)?;
                        best = best.min(start.elapsed_ms(&end).map_err(Error::wrap)?);
                    }
                    best
                }
                _ => f32::INFINITY,
            };
            timed.push((seconds, (plan, repeats)));
        }
        timed.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(timed.into_iter().map(|(_, candidate)| candidate).collect())
    }
}
