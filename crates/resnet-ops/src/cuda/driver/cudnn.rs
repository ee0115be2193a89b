//! Convolutions by cuDNN: channels-last maps and weights, algorithms chosen once a shape, one workspace for all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::Arc;

use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, result, sys};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use candle_core::{CudaDevice, Error, Result};

use super::refusals::refuse;
use super::settings::{Settings, settings};
use crate::cuda::algorithms::{Candidate, MOST_WORKSPACE, Verdict, grown, order, verdict};
use crate::cuda::conv_shape::{ConvPass, ConvShape};
use crate::cuda::runtime::Element;

/// Entries asked of cuDNN's lists of algorithms: it knows 10 at most, each with and without tensor cores.
const LIST: usize = 24;

type Status<T> = std::result::Result<T, CudnnError>;

thread_local! {
    // Handles must not be used by two threads at once.
    static LIBRARIES: RefCell<HashMap<DeviceId, Library>> = RefCell::default();
}

/// The three lists have lines of three types with the same fields.
macro_rules! entry {
    ($line:expr, $algorithm:path) => {{
        let line = $line;
        Entry {
            algorithm: $algorithm(line.algo),
            math: line.mathType,
            candidate: Candidate {
                works: line.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS,
                bytes: line.memory,
                deterministic: line.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC,
            },
        }
    }};
}

/// Submits the convolution; false where cuDNN has no algorithm for it.
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
    LIBRARIES.with(|libraries| {
        let mut libraries = libraries.borrow_mut();
        let library = match libraries.entry(device.id()) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(Library::new(device.cuda_stream())?),
        };
        let key = Key { pass, shape: *shape, element, settings: settings() };
        // SAFETY: as the caller promises.
        unsafe { library.convolve(key, operands, out, accumulate) }
    })
}

/// What an algorithm is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    pass: ConvPass,
    shape: ConvShape,
    element: Element,
    settings: Settings,
}

struct Library {
    handle: sys::cudnnHandle_t,
    stream: Arc<CudaStream>,
    prepared: HashMap<Key, Prepared>,
    workspace: Option<CudaSlice<u8>>,
}

impl Drop for Library {
    fn drop(&mut self) {
        self.prepared.clear();
        // SAFETY: the handle is ours and is not used again. At the end of a thread there is nobody to tell of an error.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

fn wrap(error: CudnnError, key: &Key) -> Error {
    Error::wrap(error).context(format!("cuDNN, {:?} of {:?} in {:?}", key.pass, key.shape, key.element))
}

impl Library {
    fn new(stream: Arc<CudaStream>) -> Result<Self> {
        stream.context().bind_to_thread().map_err(Error::wrap)?;
        let handle = result::create_handle().map_err(|error| {
            Error::wrap(error).context("cuDNN cannot start: all of its libraries must be found, and be of one version")
        })?;
        let library = Self { handle, stream, prepared: HashMap::new(), workspace: None };
        // SAFETY: both are alive; the library keeps the stream as long as the handle.
        unsafe { result::set_stream(handle, library.stream.cu_stream().cast()) }.map_err(Error::wrap)?;
        Ok(library)
    }

    unsafe fn convolve(&mut self, key: Key, operands: [u64; 2], out: u64, accumulate: bool) -> Result<bool> {
        self.stream.context().bind_to_thread().map_err(Error::wrap)?;
        if !self.prepared.contains_key(&key) {
            // SAFETY: as the caller promises.
            let prepared = unsafe { self.prepare(&key, operands)? };
            self.prepared.insert(key, prepared);
        }
        // An algorithm that is on the list may refuse all the same, as PyTorch found too: then the next one has its turn.
        while let Some(bytes) = self.prepared.get(&key).and_then(|p| p.bytes(accumulate)) {
            let workspace = self.workspace(bytes)?;
            let Some(prepared) = self.prepared.get_mut(&key) else { break };
            // SAFETY: the descriptors are of the operands' sizes; the workspace is as large as the algorithm wants.
            // Whatever used the workspace before runs before on the same stream.
            match unsafe { prepared.launch(self.handle, operands, out, workspace, accumulate) } {
                Ok(()) => return Ok(true),
                Err(error) => prepared.refused(error, accumulate).map_err(|error| wrap(error, &key))?,
            }
        }
        if !accumulate {
            // What is not added to is computed into memory of its own next, and comes here again.
            refuse(format!("{:?} of {:?} in {:?}", key.pass, key.shape, key.element));
        }
        Ok(false)
    }

    /// Where a workspace of so many bytes lies; null for none.
    fn workspace(&mut self, bytes: usize) -> Result<*mut c_void> {
        if let Some(size) = grown(self.workspace.as_ref().map_or(0, CudaSlice::len), bytes) {
            // The old one goes back to the pool first, so that the new one may take its place.
            self.workspace = None;
            // SAFETY: cuDNN writes before it reads.
            self.workspace = Some(unsafe { self.stream.alloc::<u8>(size) }.map_err(Error::wrap)?);
        }
        Ok(match &self.workspace {
            Some(workspace) if bytes > 0 => workspace.device_ptr(&self.stream).0 as *mut c_void,
            _ => std::ptr::null_mut(),
        })
    }

    /// Descriptors and algorithms.
    unsafe fn prepare(&self, key: &Key, operands: [u64; 2]) -> Result<Prepared> {
        let descriptors = Descriptors::new(key).map_err(|error| wrap(error, key))?;
        let list = match key.settings.search {
            // SAFETY: as the caller promises.
            true => unsafe { self.measure(key, &descriptors, operands) }?,
            false => self.estimate(key, &descriptors),
        };
        let mut list = match list {
            Ok(list) => list,
            Err(error) if verdict(error.0 as u32) == Verdict::Refused => Vec::new(),
            Err(error) => return Err(wrap(error, key)),
        };
        for entry in &mut list {
            // cuDNN's lists name the default math for f32 even where TF32 is not allowed.
            if key.element == Element::F32 && !key.settings.tf32 {
                entry.math = FMA;
            }
            if entry.candidate.works {
                // The list's own figure is for the math that it names.
                let bytes = self.workspace_bytes(&descriptors, entry);
                entry.candidate.works = bytes.is_ok();
                entry.candidate.bytes = entry.candidate.bytes.max(bytes.unwrap_or(0));
            }
        }
        let candidates: Vec<Candidate> = list.iter().map(|entry| entry.candidate).collect();
        // Where no algorithm repeats to the bit, any is better than none.
        let order = order(&candidates, MOST_WORKSPACE, !key.settings.search);
        let entries = order.into_iter().map(|i| list[i]).collect();
        Prepared::new(descriptors, entries).map_err(|error| wrap(error, key))
    }

    fn workspace_bytes(&self, d: &Descriptors, entry: &Entry) -> Status<usize> {
        // SAFETY: handle and descriptors are alive.
        unsafe {
            result::set_convolution_math_type(d.conv, entry.math)?;
            match entry.algorithm {
                Algorithm::Forward(algorithm) => {
                    result::get_convolution_forward_workspace_size(self.handle, d.x, d.w, d.conv, d.y, algorithm)
                }
                Algorithm::BackwardData(algorithm) => {
                    result::get_convolution_backward_data_workspace_size(self.handle, d.w, d.y, d.conv, d.x, algorithm)
                }
                Algorithm::BackwardFilter(algorithm) => result::get_convolution_backward_filter_workspace_size(
                    self.handle,
                    d.x,
                    d.y,
                    d.conv,
                    d.w,
                    algorithm,
                ),
            }
        }
    }

    /// cuDNN's estimate.
    fn estimate(&self, key: &Key, d: &Descriptors) -> Status<Vec<Entry>> {
        let mut count: c_int = 0;
        macro_rules! list {
            ($get:ident($($descriptor:expr),*), $algorithm:path, $line:ty) => {{
                let mut list = [const { MaybeUninit::<$line>::uninit() }; LIST];
                // SAFETY: handle and descriptors are alive, the list has room for LIST entries, `count` are written.
                unsafe {
                    let first = list.as_mut_ptr().cast();
                    result::$get(self.handle, $($descriptor),*, LIST as c_int, &mut count, first)?;
                    let written = list[..count as usize].iter();
                    Ok(written.map(|entry| entry!(entry.assume_init(), $algorithm)).collect())
                }
            }};
        }
        match key.pass {
            ConvPass::Forward => {
                list!(
                    get_convolution_forward_algorithm(d.x, d.w, d.conv, d.y),
                    Algorithm::Forward,
                    sys::cudnnConvolutionFwdAlgoPerf_t
                )
            }
            ConvPass::BackwardData => {
                list!(
                    get_convolution_backward_data_algorithm(d.w, d.y, d.conv, d.x),
                    Algorithm::BackwardData,
                    sys::cudnnConvolutionBwdDataAlgoPerf_t
                )
            }
            ConvPass::BackwardFilter => {
                list!(
                    get_convolution_backward_filter_algorithm(d.x, d.y, d.conv, d.w),
                    Algorithm::BackwardFilter,
                    sys::cudnnConvolutionBwdFilterAlgoPerf_t
                )
            }
        }
    }

    /// Runs every algorithm on the operands, the result into a scratch: what is there may have to be added to.
    unsafe fn measure(&self, key: &Key, d: &Descriptors, [a, b]: [u64; 2]) -> Result<Status<Vec<Entry>>> {
        let [_, _, result_count] = key.shape.counts(key.pass);
        // SAFETY: cuDNN writes before it reads.
        let (scratch, space) = unsafe {
            let scratch = self.stream.alloc::<u8>(result_count * key.element.size()).map_err(Error::wrap)?;
            (scratch, self.stream.alloc::<u8>(MOST_WORKSPACE).map_err(Error::wrap)?)
        };
        let (a, b) = (a as *const c_void, b as *const c_void);
        let out = scratch.device_ptr(&self.stream).0 as *mut c_void;
        let space = space.device_ptr(&self.stream).0 as *mut c_void;
        let mut count: c_int = 0;
        macro_rules! list {
            ($find:ident($($argument:expr),*), $algorithm:path, $line:ty) => {{
                let mut list = [const { MaybeUninit::<$line>::uninit() }; LIST];
                // SAFETY: the operands are the caller's, the scratch has the result's size, the list room for LIST
                // entries, of which `count` are written.
                unsafe {
                    let first = list.as_mut_ptr().cast();
                    let status = sys::$find(
                        self.handle, $($argument),*, LIST as c_int, &mut count, first, space, MOST_WORKSPACE,
                    );
                    status.result().map(|()| {
                        let written = list[..count as usize].iter();
                        written.map(|entry| entry!(entry.assume_init(), $algorithm)).collect()
                    })
                }
            }};
        }
        Ok(match key.pass {
            ConvPass::Forward => {
                list!(
                    cudnnFindConvolutionForwardAlgorithmEx(d.x, a, d.w, b, d.conv, d.y, out),
                    Algorithm::Forward,
                    sys::cudnnConvolutionFwdAlgoPerf_t
                )
            }
            ConvPass::BackwardData => list!(
                cudnnFindConvolutionBackwardDataAlgorithmEx(d.w, a, d.y, b, d.conv, d.x, out),
                Algorithm::BackwardData,
                sys::cudnnConvolutionBwdDataAlgoPerf_t
            ),
            ConvPass::BackwardFilter => list!(
                cudnnFindConvolutionBackwardFilterAlgorithmEx(d.x, a, d.y, b, d.conv, d.w, out),
                Algorithm::BackwardFilter,
                sys::cudnnConvolutionBwdFilterAlgoPerf_t
            ),
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    BackwardData(sys::cudnnConvolutionBwdDataAlgo_t),
    BackwardFilter(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// A line of cuDNN's lists.
#[derive(Debug, Clone, Copy)]
struct Entry {
    algorithm: Algorithm,
    math: sys::cudnnMathType_t,
    candidate: Candidate,
}

const FMA: sys::cudnnMathType_t = sys::cudnnMathType_t::CUDNN_FMA_MATH;

struct Prepared {
    descriptors: Descriptors,
    /// What is left to try, the best first; the math of the first is set. Empty: cuDNN cannot do it.
    entries: Vec<Entry>,
    /// Whether the first has refused to add to what is there.
    only_writes: bool,
}

impl Prepared {
    fn new(descriptors: Descriptors, entries: Vec<Entry>) -> Status<Self> {
        let prepared = Self { descriptors, entries, only_writes: false };
        prepared.set_math()?;
        Ok(prepared)
    }

    fn set_math(&self) -> Status<()> {
        match self.entries.first() {
            // SAFETY: the descriptor is alive.
            Some(entry) => unsafe { result::set_convolution_math_type(self.descriptors.conv, entry.math) },
            None => Ok(()),
        }
    }

    /// The workspace of the next try; none where there is nothing to try.
    fn bytes(&self, accumulate: bool) -> Option<usize> {
        self.entries.first().filter(|_| !(accumulate && self.only_writes)).map(|entry| entry.candidate.bytes)
    }

    /// The algorithm that was tried gave this error: it is not tried again. The error comes back where it is none of the
    /// algorithm's own and there is no other one.
    fn refused(&mut self, error: CudnnError, accumulate: bool) -> Status<()> {
        let verdict = verdict(error.0 as u32);
        if accumulate && verdict == Verdict::Refused {
            self.only_writes = true;
            return Ok(());
        }
        if verdict == Verdict::Failed && self.entries.len() == 1 {
            return Err(error);
        }
        self.entries.remove(0);
        self.only_writes = false;
        self.set_math()
    }

    unsafe fn launch(
        &self,
        handle: sys::cudnnHandle_t,
        [a, b]: [u64; 2],
        out: u64,
        space: *mut c_void,
        accumulate: bool,
    ) -> Status<()> {
        let (alpha, beta) = (1f32, if accumulate { 1f32 } else { 0f32 });
        // Factors are f32 for all element types, and are read before the call returns.
        let (alpha, beta) = (std::ptr::from_ref(&alpha).cast(), std::ptr::from_ref(&beta).cast());
        let (a, b, out) = (a as *const c_void, b as *const c_void, out as *mut c_void);
        let Some(Entry { algorithm, candidate: Candidate { bytes, .. }, .. }) = self.entries.first().copied() else {
            return Err(CudnnError(sys::cudnnStatus_t::CUDNN_STATUS_NOT_SUPPORTED));
        };
        let d = &self.descriptors;
        // SAFETY: as the caller promises.
        unsafe {
            match algorithm {
                Algorithm::Forward(algorithm) => result::convolution_forward(
                    handle, alpha, d.x, a, d.w, b, d.conv, algorithm, space, bytes, beta, d.y, out,
                ),
                Algorithm::BackwardData(algorithm) => result::convolution_backward_data(
                    handle, alpha, d.w, a, d.y, b, d.conv, algorithm, space, bytes, beta, d.x, out,
                ),
                Algorithm::BackwardFilter(algorithm) => result::convolution_backward_filter(
                    handle, alpha, d.x, a, d.y, b, d.conv, algorithm, space, bytes, beta, d.w, out,
                ),
            }
        }
    }
}

/// Input, weight, output and convolution.
struct Descriptors {
    x: sys::cudnnTensorDescriptor_t,
    w: sys::cudnnFilterDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    conv: sys::cudnnConvolutionDescriptor_t,
}

impl Descriptors {
    fn new(key: &Key) -> Status<Self> {
        let mut all = Self {
            x: std::ptr::null_mut(),
            w: std::ptr::null_mut(),
            y: std::ptr::null_mut(),
            conv: std::ptr::null_mut(),
        };
        let (s, int) = (&key.shape, |value: usize| value as c_int);
        let format = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        let (kind, math) = match key.element {
            Element::F32 if key.settings.tf32 => {
                (sys::cudnnDataType_t::CUDNN_DATA_FLOAT, sys::cudnnMathType_t::CUDNN_DEFAULT_MATH)
            }
            Element::F32 => (sys::cudnnDataType_t::CUDNN_DATA_FLOAT, FMA),
            Element::Bf16 => (sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16, sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH),
            Element::F16 => (sys::cudnnDataType_t::CUDNN_DATA_HALF, sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH),
        };
        // SAFETY: each descriptor is made before it is set. Sizes are given in the order N, C, H, W whatever the format;
        // with NHWC the values lie as N, H, W, C and weights as O, kh, kw, C / groups.
        unsafe {
            all.x = result::create_tensor_descriptor()?;
            result::set_tensor4d_descriptor(all.x, format, kind, [int(s.n), int(s.c), int(s.h), int(s.w)])?;
            all.y = result::create_tensor_descriptor()?;
            result::set_tensor4d_descriptor(all.y, format, kind, [int(s.n), int(s.o), int(s.oh), int(s.ow)])?;
            all.w = result::create_filter_descriptor()?;
            let weight = [int(s.o), int(s.c / s.groups), int(s.kh), int(s.kw)];
            result::set_filter4d_descriptor(all.w, kind, format, weight)?;
            all.conv = result::create_convolution_descriptor()?;
            result::set_convolution2d_descriptor(
                all.conv,
                int(s.padding.0),
                int(s.padding.1),
                int(s.stride.0),
                int(s.stride.1),
                int(s.dilation.0),
                int(s.dilation.1),
                sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
                // Sums are taken in f32 for all element types.
                sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            )?;
            result::set_convolution_math_type(all.conv, math)?;
            result::set_convolution_group_count(all.conv, int(s.groups))?;
        }
        Ok(all)
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // SAFETY: each is destroyed once, and not where it was never made. There is nobody to tell of an error.
        unsafe {
            if !self.x.is_null() {
                let _ = result::destroy_tensor_descriptor(self.x);
            }
            if !self.y.is_null() {
                let _ = result::destroy_tensor_descriptor(self.y);
            }
            if !self.w.is_null() {
                let _ = result::destroy_filter_descriptor(self.w);
            }
            if !self.conv.is_null() {
                let _ = result::destroy_convolution_descriptor(self.conv);
            }
        }
    }
}
