use candle_core::{Result, Tensor, bail};

use super::window::taps;
use crate::ConvConfig;

/// Two-dimensional convolution (cross-correlation, as in PyTorch).
///
/// `x` is (N, C, H, W), `weight` (O, C / groups, kh, kw), `bias` (O). The result is (N, O, H', W').
///
/// # Errors
/// If the shapes do not fit together.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, config: &ConvConfig) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let (o, cg, kh, kw) = weight.dims4()?;
    let groups = config.groups;
    if groups == 0 || cg * groups != c || o % groups != 0 {
        bail!("conv2d: a weight {:?} in {groups} groups does not fit an input {:?}", weight.dims(), x.dims());
    }
    let (oh, ow) = config.output_size((h, w), (kh, kw))?;
    let (ph, pw) = config.padding;
    let x = x.pad_with_zeros(2, ph, ph)?.pad_with_zeros(3, pw, pw)?;
    // Columns (N, groups, C/g · taps, H'·W'), channel-major so that they meet the weight as it is stored.
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
