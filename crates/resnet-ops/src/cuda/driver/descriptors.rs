//! What cuDNN is told of a convolution.

use std::ffi::c_int;

use candle_core::cuda_backend::cudarc::cudnn::result::{self, CudnnResult};
use candle_core::cuda_backend::cudarc::cudnn::sys;

use crate::cuda::chooser::Key;
use crate::cuda::runtime::Element;

/// Input, weight, output and convolution.
pub(super) struct Descriptors {
    pub x: sys::cudnnTensorDescriptor_t,
    pub w: sys::cudnnFilterDescriptor_t,
    pub y: sys::cudnnTensorDescriptor_t,
    pub conv: sys::cudnnConvolutionDescriptor_t,
}

impl Descriptors {
    pub(super) fn new(key: &Key) -> CudnnResult<Self> {
        let mut all = Self {
            x: std::ptr::null_mut(),
            w: std::ptr::null_mut(),
            y: std::ptr::null_mut(),
            conv: std::ptr::null_mut(),
        };
        let (s, int) = (&key.shape, |value: usize| value as c_int);
        let format = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        let kind = match key.element {
            Element::F32 => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            Element::Bf16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
            Element::F16 => sys::cudnnDataType_t::CUDNN_DATA_HALF,
        };
        // What the lists are asked with; each algorithm is called with the math that its line names.
        let math = match key.element {
            Element::F32 if key.settings.tf32 => sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
            Element::F32 => sys::cudnnMathType_t::CUDNN_FMA_MATH,
            Element::Bf16 | Element::F16 => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
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
