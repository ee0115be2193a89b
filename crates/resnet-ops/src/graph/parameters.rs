//! What an operation's own parameters have to be, whatever it is applied to.

use candle_core::{Result, Tensor};

use super::shapes::{check_float, infer};
use super::{MapShape, NormParameters, Op, dropout};
use crate::config::{MOST, check_eps, in_range};

impl Op {
    /// What it is called in messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Constant(_) => "constant",
            Op::Conv { .. } => "conv2d",
            Op::Norm(_) => "batch_norm",
            Op::Relu => "relu",
            Op::Add => "add",
            Op::MaxPool(_) => "max_pool2d",
            Op::GlobalAvgPool => "global_avg_pool2d",
            Op::Linear { .. } => "linear",
            Op::Subsample { .. } => "subsample",
            Op::PadChannels { .. } => "pad_channels",
            Op::Affine { .. } => "affine",
            Op::Sigmoid => "sigmoid",
            Op::Mul => "mul",
            Op::Dropout { .. } => "dropout",
            Op::AvgPool(_) => "avg_pool2d",
            Op::GroupNorm { .. } => "group_norm",
            Op::BlurPool { .. } => "blur_pool2d",
            Op::ChannelConv { .. } => "channel_conv",
            Op::ZeroPad { .. } => "zero_pad",
            Op::DivideBySpread { .. } => "divide_by_spread",
            Op::ChannelAffine { .. } => "channel_affine",
            Op::ChannelFloor { .. } => "channel_floor",
        }
    }

    /// All tensors that it reads besides its inputs: parameters and running statistics.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let statistics = match self {
            Op::Norm(p) => [Some(p.running_mean.as_tensor()), Some(p.running_var.as_tensor())],
            _ => [None, None],
        };
        self.parameters().into_iter().chain(statistics).flatten()
    }

    /// # Errors
    /// If a parameter is impossible; the message names the operation, the parameter and its value.
    pub(crate) fn check(&self) -> Result<()> {
        let op = self.name();
        for tensor in self.tensors() {
            check_float(op, "a parameter", tensor)?;
            if tensor.elem_count() == 0 || tensor.dims().iter().any(|&size| size > MOST) {
                bail!("{op}: a parameter is {:?}; sizes from 1 to {MOST} are possible", tensor.dims());
            }
        }
        match self {
            Op::Constant(map) => rank(op, "the map", map, 4),
            Op::Conv { weight, bias, config, standardize } => {
                rank(op, "weight", weight, 4)?;
                let (o, cg, kh, kw) = weight.dims4()?;
                config.windows((kh, kw))?;
                let groups = config.groups;
                if cg.checked_mul(groups).is_none_or(|channels| channels > MOST) {
                    bail!("{op}: groups = {groups} of {cg} channels each are more than {MOST} channels");
                }
                if !o.is_multiple_of(groups) {
                    bail!(
                        "{op}: groups = {groups} do not divide the {o} output channels of weight {:?}",
                        weight.dims()
                    );
                }
                by_channel(op, "bias", bias.as_ref(), o)?;
                standardize.map_or(Ok(()), |eps| check_eps(op, eps))
            }
            Op::Norm(parameters) => check_norm(op, parameters),
            Op::MaxPool(config) => config.windows().map(drop),
            Op::AvgPool(config) => config.windows().map(drop),
            Op::Linear { weight, bias } => {
                rank(op, "weight", weight, 2)?;
                by_channel(op, "bias", bias.as_ref(), weight.dim(0)?)
            }
            Op::Subsample { stride: (rows, columns) } => {
                in_range(op, "stride (rows)", *rows, (1, MOST))?;
                in_range(op, "stride (columns)", *columns, (1, MOST))
            }
            Op::PadChannels { before, after } => {
                in_range(op, "before", *before, (0, MOST))?;
                in_range(op, "after", *after, (0, MOST))
            }
            Op::Affine { scale, shift } => {
                finite(op, "scale", *scale)?;
                finite(op, "shift", *shift)
            }
            Op::Dropout { rate, .. } => dropout::check_rate(*rate),
            Op::GroupNorm { weight, bias, groups, eps } => {
                rank(op, "weight", weight, 1)?;
                by_channel(op, "bias", Some(bias), weight.elem_count())?;
                in_range(op, "groups", *groups, (1, MOST))?;
                check_eps(op, *eps)
            }
            Op::BlurPool { stride } => in_range(op, "stride", *stride, (1, MOST)),
            Op::ChannelConv { weight } => match *weight.dims() {
                [1, 1, k] if k % 2 == 1 => Ok(()),
                ref dims => bail!("{op}: weight is {dims:?}; [1, 1, an odd number] is needed"),
            },
            Op::ZeroPad { padding: (rows, columns) } => {
                in_range(op, "padding (rows)", *rows, (0, MOST))?;
                in_range(op, "padding (columns)", *columns, (0, MOST))
            }
            Op::DivideBySpread { groups, eps, .. } => {
                in_range(op, "groups", *groups, (1, MOST))?;
                check_eps(op, *eps)
            }
            Op::ChannelAffine { weight, bias } => {
                rank(op, "weight", weight, 1)?;
                by_channel(op, "bias", bias.as_ref(), weight.elem_count())
            }
            Op::ChannelFloor { threshold } => rank(op, "threshold", threshold, 1),
            Op::Input | Op::Relu | Op::Add | Op::GlobalAvgPool | Op::Sigmoid | Op::Mul => Ok(()),
        }
    }

    /// The shape of the result on maps (N, C, H, W), for the functions that apply one operation.
    ///
    /// # Errors
    /// If a parameter is impossible, or an input does not fit.
    pub(crate) fn applied_to(&self, inputs: &[&Tensor]) -> Result<MapShape> {
        self.check()?;
        let shapes = inputs.iter().map(|x| map_shape(self.name(), x)).collect::<Result<Vec<_>>>()?;
        infer(self, &shapes, MapShape { channels: 1, height: 1, width: 1 })
    }
}

/// The shape of a map (N, C, H, W).
///
/// # Errors
/// If it is another tensor, or empty.
pub(crate) fn map_shape(op: &str, x: &Tensor) -> Result<MapShape> {
    check_float(op, "the input", x)?;
    rank(op, "the input", x, 4)?;
    let (n, channels, height, width) = x.dims4()?;
    in_range(op, "images", n, (1, MOST))?;
    let shape = MapShape { channels, height, width };
    shape.check(op)?;
    Ok(shape)
}

fn check_norm(op: &str, p: &NormParameters) -> Result<()> {
    rank(op, "running_mean", p.running_mean.as_tensor(), 1)?;
    let channels = p.running_mean.elem_count();
    by_channel(op, "running_var", Some(p.running_var.as_tensor()), channels)?;
    by_channel(op, "weight", p.weight.as_ref(), channels)?;
    by_channel(op, "bias", p.bias.as_ref(), channels)?;
    check_eps(op, p.config.eps)?;
    let momentum = p.config.momentum;
    if !(0. ..=1.).contains(&momentum) {
        bail!("{op}: momentum = {momentum} is not in [0, 1]");
    }
    Ok(())
}

fn finite(op: &str, parameter: &str, value: f64) -> Result<()> {
    if !value.is_finite() {
        bail!("{op}: {parameter} = {value} is not finite");
    }
    Ok(())
}

fn rank(op: &str, what: &str, tensor: &Tensor, rank: usize) -> Result<()> {
    if tensor.rank() != rank {
        bail!("{op}: {what} is {:?}; a tensor of {rank} dimensions is needed", tensor.dims());
    }
    Ok(())
}

/// Refuses what has not one value a channel.
pub(crate) fn by_channel(op: &str, what: &str, tensor: Option<&Tensor>, channels: usize) -> Result<()> {
    match tensor.map(Tensor::dims) {
        Some(dims) if dims != [channels] => bail!("{op}: {what} is {dims:?}; [{channels}] is needed"),
        _ => Ok(()),
    }
}
