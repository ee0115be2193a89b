//! Convolutions by cuDNN: channels-last maps and weights, with a handle for each thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::Arc;

use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::cudnn::result::{self, CudnnResult};
use candle_core::cuda_backend::cudarc::cudnn::sys;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use candle_core::{CudaDevice, Error, Result};

use super::descriptors::Descriptors;
use super::settings::settings;
use crate::cuda::chooser::{Answer, Chooser, Key, Library, Line, Values};
use crate::cuda::conv_shape::{ConvPass, ConvShape};
use crate::cuda::runtime::Element;
use crate::cuda::workspace::MOST_WORKSPACE;

/// Entries asked of cuDNN's lists of algorithms: it knows 10 at most, each with and without tensor cores.
const LIST: usize = 24;

thread_local! {
    // Handles must not be used by two threads at once.
    static LIBRARIES: RefCell<HashMap<DeviceId, Chooser<Cudnn>>> = RefCell::default();
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
    let stream = device.cuda_stream();
    stream.context().bind_to_thread().map_err(Error::wrap)?;
    LIBRARIES.with_borrow_mut(|libraries| {
        let library = match libraries.entry(device.id()) {
            Entry::Occupied(library) => library.into_mut(),
            Entry::Vacant(place) => place.insert(Chooser::new(Cudnn::new(stream)?)),
        };
        let key = Key { pass, shape: *shape, element, settings: settings() };
        // SAFETY: as the caller promises.
        unsafe { library.convolve(key, Values { operands, out, accumulate }) }
    })
}

#[derive(Debug, Clone, Copy)]
enum OfPass {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    BackwardData(sys::cudnnConvolutionBwdDataAlgo_t),
    BackwardFilter(sys::cudnnConvolutionBwdFilterAlgo_t),
}

#[derive(Debug, Clone, Copy)]
struct Algorithm {
    pass: OfPass,
    math: sys::cudnnMathType_t,
}

/// The three lists have lines of three types with the same fields.
macro_rules! line {
    ($line:expr, $pass:path) => {{
        let line = $line;
        Line {
            algorithm: Algorithm { pass: $pass(line.algo), math: line.mathType },
            workspace: line.status.result().map(|()| line.memory).map_err(|error| error.0),
            repeats: line.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC,
        }
    }};
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
    type Descriptors = Descriptors;
    type Algorithm = Algorithm;
    type Status = sys::cudnnStatus_t;
    type Memory = CudaSlice<u8>;

    fn code(status: sys::cudnnStatus_t) -> u32 {
        status as u32
    }

    fn describe(&self, key: &Key) -> Answer<Self, Descriptors> {
        Descriptors::new(key).map_err(|error| error.0)
    }

    unsafe fn list(
        &self,
        key: &Key,
        descriptors: &Descriptors,
        operands: [u64; 2],
    ) -> Result<Answer<Self, Vec<Line<Self>>>> {
        let list = match key.settings.search {
            // SAFETY: as the caller promises.
            true => unsafe { self.measure(key, descriptors, operands) }?,
            false => self.estimate(key, descriptors),
        };
        let mut list = match list {
            Ok(list) => list,
            Err(error) => return Ok(Err(error.0)),
        };
        for line in &mut list {
            // cuDNN's lists name the default math for f32 even where TF32 is not allowed.
            if key.element == Element::F32 && !key.settings.tf32 {
                line.algorithm.math = sys::cudnnMathType_t::CUDNN_FMA_MATH;
            }
            if let Ok(bytes) = line.workspace {
                // The list's own figure is for the math that it names.
                let wanted = self.workspace(descriptors, line.algorithm);
                line.workspace = wanted.map(|wanted| wanted.max(bytes)).map_err(|error| error.0);
            }
        }
        Ok(Ok(list))
    }

    fn allocate(&self, bytes: usize) -> Result<CudaSlice<u8>> {
        // SAFETY: cuDNN writes before it reads.
        unsafe { self.stream.alloc::<u8>(bytes) }.map_err(Error::wrap)
    }

    unsafe fn launch(
        &self,
        d: &Descriptors,
        Algorithm { pass, math }: Algorithm,
        workspace: Option<(&CudaSlice<u8>, usize)>,
        values: &Values,
    ) -> Answer<Self, ()> {
        let (space, bytes) = match workspace {
            Some((memory, bytes)) => (memory.device_ptr(&self.stream).0 as *mut c_void, bytes),
            None => (std::ptr::null_mut(), 0),
        };
        let (alpha, beta) = (1f32, if values.accumulate { 1f32 } else { 0f32 });
        // Factors are f32 for all element types, and are read before the call returns.
        let (alpha, beta) = (std::ptr::from_ref(&alpha).cast(), std::ptr::from_ref(&beta).cast());
        let [a, b] = values.operands.map(|address| address as *const c_void);
        let (handle, out) = (self.handle, values.out as *mut c_void);
        // SAFETY: as the caller promises; whatever used the workspace before runs before on the same stream.
        let done = unsafe {
            result::set_convolution_math_type(d.conv, math).and_then(|()| match pass {
                OfPass::Forward(algorithm) => result::convolution_forward(
                    handle, alpha, d.x, a, d.w, b, d.conv, algorithm, space, bytes, beta, d.y, out,
                ),
                OfPass::BackwardData(algorithm) => result::convolution_backward_data(
                    handle, alpha, d.w, a, d.y, b, d.conv, algorithm, space, bytes, beta, d.x, out,
                ),
                OfPass::BackwardFilter(algorithm) => result::convolution_backward_filter(
                    handle, alpha, d.x, a, d.y, b, d.conv, algorithm, space, bytes, beta, d.w, out,
                ),
            })
        };
        done.map_err(|error| error.0)
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

    /// The workspace that an algorithm wants.
    fn workspace(&self, d: &Descriptors, Algorithm { pass, math }: Algorithm) -> CudnnResult<usize> {
        // SAFETY: handle and descriptors are alive.
        unsafe {
            result::set_convolution_math_type(d.conv, math)?;
            match pass {
                OfPass::Forward(algorithm) => {
                    result::get_convolution_forward_workspace_size(self.handle, d.x, d.w, d.conv, d.y, algorithm)
                }
                OfPass::BackwardData(algorithm) => {
                    result::get_convolution_backward_data_workspace_size(self.handle, d.w, d.y, d.conv, d.x, algorithm)
                }
                OfPass::BackwardFilter(algorithm) => result::get_convolution_backward_filter_workspace_size(
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
    fn estimate(&self, key: &Key, d: &Descriptors) -> CudnnResult<Vec<Line<Self>>> {
        let mut count: c_int = 0;
        macro_rules! list {
            ($get:ident($($descriptor:expr),*), $algorithm:path, $line:ty) => {{
                let mut list = [const { MaybeUninit::<$line>::uninit() }; LIST];
                // SAFETY: handle and descriptors are alive, the list has room for LIST entries, `count` are written.
                unsafe {
                    let first = list.as_mut_ptr().cast();
                    result::$get(self.handle, $($descriptor),*, LIST as c_int, &mut count, first)?;
                    let written = list[..count as usize].iter();
                    Ok(written.map(|entry| line!(entry.assume_init(), $algorithm)).collect())
                }
            }};
        }
        match key.pass {
            ConvPass::Forward => {
                list!(
                    get_convolution_forward_algorithm(d.x, d.w, d.conv, d.y),
                    OfPass::Forward,
                    sys::cudnnConvolutionFwdAlgoPerf_t
                )
            }
            ConvPass::BackwardData => {
                list!(
                    get_convolution_backward_data_algorithm(d.w, d.y, d.conv, d.x),
                    OfPass::BackwardData,
                    sys::cudnnConvolutionBwdDataAlgoPerf_t
                )
            }
            ConvPass::BackwardFilter => {
                list!(
                    get_convolution_backward_filter_algorithm(d.x, d.y, d.conv, d.w),
                    OfPass::BackwardFilter,
                    sys::cudnnConvolutionBwdFilterAlgoPerf_t
                )
            }
        }
    }

    /// Runs every algorithm on the operands, the result into a scratch: what is there may have to be added to.
    unsafe fn measure(&self, key: &Key, d: &Descriptors, [a, b]: [u64; 2]) -> Result<CudnnResult<Vec<Line<Self>>>> {
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
                        written.map(|entry| line!(entry.assume_init(), $algorithm)).collect()
                    })
                }
            }};
        }
        Ok(match key.pass {
            ConvPass::Forward => {
                list!(
                    cudnnFindConvolutionForwardAlgorithmEx(d.x, a, d.w, b, d.conv, d.y, out),
                    OfPass::Forward,
                    sys::cudnnConvolutionFwdAlgoPerf_t
                )
            }
            ConvPass::BackwardData => list!(
                cudnnFindConvolutionBackwardDataAlgorithmEx(d.w, a, d.y, b, d.conv, d.x, out),
                OfPass::BackwardData,
                sys::cudnnConvolutionBwdDataAlgoPerf_t
            ),
            ConvPass::BackwardFilter => list!(
                cudnnFindConvolutionBackwardFilterAlgorithmEx(d.x, a, d.y, b, d.conv, d.w, out),
                OfPass::BackwardFilter,
                sys::cudnnConvolutionBwdFilterAlgoPerf_t
            ),
        })
    }
}
