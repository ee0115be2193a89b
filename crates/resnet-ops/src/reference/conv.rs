use candle_core::{Result, Tensor};

use super::pool::{bytes, padded};
use super::window::taps;
use crate::graph::Op;
use crate::{ConvConfig, memory};

/// Two-dimensional convolution (cross-correlation, as in PyTorch).
///
/// `x` is (N, C, H, W), `weight` (O, C / groups, kh, kw), `bias` (O). The result is (N, O, H', W').
///
/// # Errors
/// If the shapes do not fit together, or the windows do not fit into memory.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, config: &ConvConfig) -> Result<Tensor> {
    let op = Op::Conv { weight: weight.clone(), bias: bias.cloned(), config: *config, standardize: None };
    let out = op.applied_to(&[x])?;
    let (n, (oh, ow), groups) = (x.dim(0)?, (out.height, out.width), config.groups);
    let (o, cg, kh, kw) = weight.dims4()?;
    let (ph, pw) = config.padding;
    let x = padded("conv2d", &padded("conv2d", x, 2, (ph, ph))?, 3, (pw, pw))?;
    // Columns (N, groups, C/g · taps, H'·W'), channel-major so that they meet the weight as it is stored.
    let columns = [n, groups, cg, kh, kw, oh, ow];
    memory::check(format_args!("conv2d: the windows {columns:?}"), bytes(&columns, x.dtype()), x.device())?;
    let taps = taps(&x, (kh, kw), config.stride, config.dilation, (oh, ow))?;
    let columns = Tensor::stack(&taps, 2)?.reshape((n, groups, cg * kh * kw, oh * ow))?;
    let weight = weight.reshape((1, groups, o / groups, cg * kh * kw))?;
    let weight = weight.broadcast_as((n, groups, o / groups, cg * kh * kw))?.contiguous()?;
    let y = weight.matmul(&columns.contiguous()?)?.reshape((n, o, oh, ow))?;
    match bias {
        Some(bias) => y.broadcast_add(&bias.reshape((1, o, 1, 1))?),
        None => Ok(y),
    }
}
