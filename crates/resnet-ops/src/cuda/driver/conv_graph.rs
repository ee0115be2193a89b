//! A convolution as a graph of cuDNN's, of one operation.

use candle_core::cuda_backend::cudarc::cudnn::result::CudnnResult;
use candle_core::cuda_backend::cudarc::cudnn::sys;

use super::descriptor::{Address, Descriptor};
use crate::cuda::autotune::Key;
use crate::cuda::conv_problem::ConvPass;
use crate::cuda::launch::PACK_BYTES;
use crate::cuda::runtime::Element;

use sys::cudnnBackendAttributeName_t as Name;
use sys::cudnnBackendDescriptorType_t as Kind;

/// Names of the tensors in the graph.
const INPUT: i64 = 1;
const WEIGHT: i64 = 2;
const OUTPUT: i64 = 3;

/// The graph, with what it was made of behind it, so that it goes first.
pub(super) struct ConvGraph {
    pub graph: Descriptor,
    _parts: [Descriptor; 5],
}

impl ConvGraph {
    /// # Safety
    /// The handle is alive, and stays so as long as the graph.
    pub(super) unsafe fn new(key: &Key, handle: sys::cudnnHandle_t) -> CudnnResult<Self> {
        let s = &key.shape;
        let x = tensor(INPUT, key.element, [s.n, s.c, s.h, s.w])?;
        let w = tensor(WEIGHT, key.element, [s.o, s.c / s.groups, s.kh, s.kw])?;
        let y = tensor(OUTPUT, key.element, [s.n, s.o, s.oh, s.ow])?;
        let pair = |(rows, columns): (usize, usize)| [rows as i64, columns as i64];
        let conv = Descriptor::new(Kind::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?
            // Sums are taken in f32 for all element types.
            .set(Name::CUDNN_ATTR_CONVOLUTION_COMP_TYPE, &[sys::cudnnDataType_t::CUDNN_DATA_FLOAT])?
            .set(Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE, &[sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION])?
            .set(Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &[2i64])?
            .set(Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, &pair(s.padding))?
            .set(Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, &pair(s.padding))?
            .set(Name::CUDNN_ATTR_CONVOLUTION_DILATIONS, &pair(s.dilation))?
            .set(Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, &pair(s.stride))?
            .finalize()?;
        let names = Operation::of(key.pass);
        let operation = Descriptor::new(names.kind)?
            .set_descriptors(names.x, &[&x])?
            .set_descriptors(names.w, &[&w])?
            .set_descriptors(names.y, &[&y])?
            .set_descriptors(names.conv, &[&conv])?
            // The result times alpha, and what is there times beta.
            .set(names.alpha, &[1f32])?
            .set(names.beta, &[if key.accumulate { 1f32 } else { 0f32 }])?
            .finalize()?;
        let graph = Descriptor::new(Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?
            .set(Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, &[handle])?
            .set_descriptors(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, &[&operation])?
            .finalize()?;
        Ok(Self { graph, _parts: [operation, conv, x, w, y] })
    }
}

/// What cuDNN calls the parts of an operation.
struct Operation {
    kind: Kind,
    x: Name,
    w: Name,
    y: Name,
    conv: Name,
    alpha: Name,
    beta: Name,
}

impl Operation {
    fn of(pass: ConvPass) -> Self {
        match pass {
            ConvPass::Forward => Self {
                kind: Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                x: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                w: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                y: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                conv: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                alpha: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                beta: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
            },
            ConvPass::BackwardData => Self {
                kind: Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                x: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                w: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                y: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                conv: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                alpha: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                beta: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
            },
            ConvPass::BackwardFilter => Self {
                kind: Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                x: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                w: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                y: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                conv: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                alpha: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                beta: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
            },
        }
    }
}

/// A tensor of sizes N, C, H, W (a weight: O, C / groups, kh, kw) that lies channels-last.
fn tensor(name: i64, element: Element, [n, c, h, w]: [usize; 4]) -> CudnnResult<Descriptor> {
    let kind = match element {
        Element::F32 => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
        Element::Bf16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        Element::F16 => sys::cudnnDataType_t::CUDNN_DATA_HALF,
    };
    Descriptor::new(Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?
        .set(Name::CUDNN_ATTR_TENSOR_DATA_TYPE, &[kind])?
        .set(Name::CUDNN_ATTR_TENSOR_DIMENSIONS, &[n, c, h, w].map(|size| size as i64))?
        .set(Name::CUDNN_ATTR_TENSOR_STRIDES, &[c * h * w, 1, c * w, c].map(|step| step as i64))?
        .set(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, &[name])?
        .set(Name::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[PACK_BYTES as i64])?
        .finalize()
}

/// The addresses of a pass, for a plan.
pub(super) fn variant_pack(pass: ConvPass, [a, b]: [u64; 2], out: u64, workspace: u64) -> CudnnResult<Descriptor> {
    let names = match pass {
        ConvPass::Forward => [INPUT, WEIGHT, OUTPUT],
        ConvPass::BackwardData => [WEIGHT, OUTPUT, INPUT],
        ConvPass::BackwardFilter => [INPUT, OUTPUT, WEIGHT],
    };
    Descriptor::new(Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?
        .set(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, &names)?
        .set(Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, &[a, b, out].map(Address))?
        .set(Name::CUDNN_ATTR_VARIANT_PACK_WORKSPACE, &[Address(workspace)])?
        .finalize()
}
