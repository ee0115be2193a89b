use candle_core::{Result, Tensor};

use super::conv2d;
use crate::ConvConfig;
use crate::graph::Op;

/// One-dimensional convolution along the channels of (N, C, 1, 1), with a kernel (1, 1, k), k odd, and zeros beyond the
/// ends: the cross-channel interaction of efficient channel attention (Wang et al. 2020, eq. 6).
///
/// # Errors
/// If the shapes are others.
pub fn channel_conv(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    Op::ChannelConv { weight: weight.clone() }.applied_to(&[x])?;
    let (n, c, _, _) = x.dims4()?;
    let k = weight.elem_count();
    let config = ConvConfig { padding: (0, k / 2), ..ConvConfig::default() };
    conv2d(&x.reshape((n, 1, 1, c))?, &weight.reshape((1, 1, 1, k))?, None, &config)?.reshape((n, c, 1, 1))
}
