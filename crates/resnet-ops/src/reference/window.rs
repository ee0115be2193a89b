//! Strided views of one kernel tap, as differentiable tensor operations.

use candle_core::{Result, Tensor};

/// Every `stride`-th of `count` entries along `dim`, beginning with `start`. The gradient is an `index_add`.
pub(super) fn strided(x: &Tensor, dim: usize, start: usize, stride: usize, count: usize) -> Result<Tensor> {
    if stride == 1 {
        return x.narrow(dim, start, count);
    }
    // No direction of a padded map has 2³² pixels.
    let index: Vec<u32> = (0..count).map(|i| (start + i * stride) as u32).collect();
    x.contiguous()?.index_select(&Tensor::new(index, x.device())?, dim)
}

/// The input pixels under each tap of a kernel: kh·kw tensors of (N, C, out_h, out_w), row by row.
pub(super) fn taps(
    x: &Tensor,
    (kh, kw): (usize, usize),
    stride: (usize, usize),
    dilation: (usize, usize),
    (oh, ow): (usize, usize),
) -> Result<Vec<Tensor>> {
    let mut taps = Vec::with_capacity(kh * kw);
    for i in 0..kh {
        let rows = strided(x, 2, i * dilation.0, stride.0, oh)?;
        for j in 0..kw {
            taps.push(strided(&rows, 3, j * dilation.1, stride.1, ow)?);
        }
    }
    Ok(taps)
}
