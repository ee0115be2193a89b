use candle_core::{DType, Result, Tensor};

use crate::config::{check_eps, in_range};
use crate::graph::{MapShape, Op, by_channel, map_shape};

/// Batch norm with the batch's own statistics (Ioffe & Szegedy 2015), the form used in training.
///
/// `x` is (N, C, H, W); `weight` and `bias` are (C) or absent. Returns the normalised tensor, the batch mean (C)
/// and the biased batch variance (C), both detached from the autograd graph.
///
/// # Errors
/// If the shapes do not fit together, or a channel holds fewer than two values.
pub fn batch_norm_train(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (c, pixels) = statistics("batch_norm", x, [("weight", weight), ("bias", bias)], eps)?;
    if pixels < 2 {
        bail!("batch_norm: training needs more than one value a channel, got an input {:?}", x.dims());
    }
    let dtype = x.dtype();
    let x = widen(x)?;
    let mean = x.mean_keepdim((0, 2, 3))?;
    let centred = x.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim((0, 2, 3))?;
    let y = centred.broadcast_div(&(&variance + eps)?.sqrt()?)?;
    let y = affine(y, weight, bias)?.to_dtype(dtype)?;
    Ok((y, mean.flatten_all()?.detach(), variance.reshape(c)?.detach()))
}

/// Batch norm with given statistics, the form used in evaluation. Shapes as in [`batch_norm_train`].
///
/// # Errors
/// If the shapes do not fit together.
pub fn batch_norm_eval(
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    let (c, _) = statistics("batch_norm", x, [("weight", weight), ("bias", bias)], eps)?;
    by_channel("batch_norm", "running_mean", Some(mean), c)?;
    by_channel("batch_norm", "running_var", Some(variance), c)?;
    let dtype = x.dtype();
    let x = widen(x)?;
    let mean = mean.to_dtype(x.dtype())?.reshape((1, c, 1, 1))?;
    let deviation = (variance.to_dtype(x.dtype())?.reshape((1, c, 1, 1))? + eps)?.sqrt()?;
    let y = x.broadcast_sub(&mean)?.broadcast_div(&deviation)?;
    affine(y, weight, bias)?.to_dtype(dtype)
}

/// Group norm (Wu & He 2018, eq. 1 and 7): mean and variance over each image's and group's channels and pixels.
///
/// `x` is (N, C, H, W); `weight` and `bias` are (C) or absent.
///
/// # Errors
/// If the shapes do not fit together, or the channels do not divide into the groups.
pub fn group_norm(
    x: &Tensor,
    groups: usize,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    let (c, _) = statistics("group_norm", x, [("weight", weight), ("bias", bias)], eps)?;
    in_range("group_norm", "groups", groups, (1, c))?;
    if !c.is_multiple_of(groups) {
        bail!("group_norm: groups = {groups} do not divide {c} channels");
    }
    let n = x.dim(0)?;
    let dtype = x.dtype();
    let grouped = widen(x)?.reshape((n, groups, x.elem_count() / (n * groups)))?;
    let centred = grouped.broadcast_sub(&grouped.mean_keepdim(2)?)?;
    let variance = centred.sqr()?.mean_keepdim(2)?;
    let y = centred.broadcast_div(&(variance + eps)?.sqrt()?)?.reshape(x.shape())?;
    affine(y, weight, bias)?.to_dtype(dtype)
}

/// `weight · x + bias` with a scale and a shift for each channel of `x` (N, C, H, W); both (C), or absent.
///
/// # Errors
/// If the shapes do not fit together.
pub fn channel_affine(x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>) -> Result<Tensor> {
    statistics("channel_affine", x, [("weight", weight), ("bias", bias)], 0.)?;
    affine(x.clone(), weight, bias)
}

/// The greater of each value of `x` (N, C, H, W) and its channel's threshold (C): the thresholded linear unit (Singh &
/// Krishnan 2020, eq. 3). Where they are equal, each gets half of the gradient, as in PyTorch.
///
/// # Errors
/// If the shapes do not fit together.
pub fn channel_floor(x: &Tensor, threshold: &Tensor) -> Result<Tensor> {
    Op::ChannelFloor { threshold: threshold.clone() }.applied_to(&[x])?;
    let c = x.dim(1)?;
    let threshold = threshold.to_dtype(x.dtype())?.reshape((1, c, 1, 1))?;
    x.broadcast_maximum(&threshold)
}

/// The channels of `x` (N, C, H, W) and the values of each, where everything else fits.
fn statistics(op: &str, x: &Tensor, parameters: [(&str, Option<&Tensor>); 2], eps: f64) -> Result<(usize, usize)> {
    let MapShape { channels, height, width } = map_shape(op, x)?;
    for (name, parameter) in parameters {
        by_channel(op, name, parameter, channels)?;
    }
    check_eps(op, eps)?;
    Ok((channels, x.dim(0)? * height * width))
}

fn affine(y: Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>) -> Result<Tensor> {
    let (c, dtype) = (y.dim(1)?, y.dtype());
    let y = match weight {
        Some(weight) => y.broadcast_mul(&weight.to_dtype(dtype)?.reshape((1, c, 1, 1))?)?,
        None => y,
    };
    match bias {
        Some(bias) => y.broadcast_add(&bias.to_dtype(dtype)?.reshape((1, c, 1, 1))?),
        None => Ok(y),
    }
}

/// Half precision is too coarse for sums over a whole batch: statistics are taken in f32.
pub(super) fn widen(x: &Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.to_dtype(DType::F32),
        _ => Ok(x.clone()),
    }
}
