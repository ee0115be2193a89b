//! Runs a graph operation by operation on candle tensors.

use candle_core::{Result, Tensor};

use super::dropout::Draw;
use super::{DropUnit, Graph, NormParameters, Op};
use crate::error::named;
use crate::reference;

/// What a pass is told besides its input.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pass {
    /// Whether norms use and update statistics of the batch, and dropout acts.
    pub train: bool,
    /// Whether a backward pass is to follow: then what it reads is kept.
    pub keep: bool,
    /// The random numbers of dropout.
    pub draw: Draw,
}

pub(super) fn run(graph: &Graph, x: &Tensor, pass: Pass) -> Result<Tensor> {
    let mut last_use = vec![0; graph.nodes.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        for input in &node.inputs {
            last_use[input.0] = i;
        }
    }
    last_use[graph.output.0] = usize::MAX;
    let mut values: Vec<Option<Tensor>> = vec![None; graph.nodes.len()];
    for (i, node) in graph.nodes[..=graph.output.0].iter().enumerate() {
        let mut inputs = Vec::with_capacity(2);
        for input in &node.inputs {
            match &values[input.0] {
                Some(value) => inputs.push(value.clone()),
                None => bail!("graph: node {i} ({}) reads node {}, which is not there yet", node.name, input.0),
            }
        }
        values[i] = Some(match &node.op {
            Op::Input => x.clone(),
            Op::Constant(map) => map.to_dtype(x.dtype())?,
            op => apply(op, i, &inputs, pass).map_err(|error| named(&node.name, error))?,
        });
        for input in &node.inputs {
            if last_use[input.0] == i {
                values[input.0] = None;
            }
        }
    }
    match values[graph.output.0].take() {
        Some(output) => Ok(output),
        None => bail!("graph: no output"),
    }
}

/// One operation, the node of that index, on its inputs. Vectors (N, C) count as maps (N, C, 1, 1); where it gives a vector
/// [`Op::gives_vector`] says.
pub(crate) fn apply(op: &Op, node: usize, inputs: &[Tensor], pass: Pass) -> Result<Tensor> {
    let vector = op.gives_vector(inputs.iter().map(|x| x.rank() == 2));
    let maps = inputs.iter().map(map).collect::<Result<Vec<_>>>()?;
    let y = apply_to_maps(op, node, &maps, pass)?;
    if vector { y.flatten_from(1) } else { Ok(y) }
}

fn apply_to_maps(op: &Op, node: usize, inputs: &[Tensor], pass: Pass) -> Result<Tensor> {
    match (op, inputs) {
        (Op::Conv { weight, bias, config, standardize }, [x]) => {
            let weight = match standardize {
                Some(eps) => &reference::standardize_weight(weight, *eps)?,
                None => weight,
            };
            let (weight, bias) = (weight.to_dtype(x.dtype())?, bias.as_ref().map(|b| b.to_dtype(x.dtype())));
            reference::conv2d(x, &weight, bias.transpose()?.as_ref(), config)
        }
        (Op::Norm(parameters), [x]) => norm(x, parameters, pass.train),
        (Op::Relu, [x]) => x.relu(),
        (Op::Add, [a, b]) => a.add(b),
        (Op::MaxPool(config), [x]) => reference::max_pool2d(x, config),
        (Op::GlobalAvgPool, [x]) => reference::global_avg_pool2d(x),
        (Op::Linear { weight, bias }, [x]) => {
            let y = x.flatten_from(1)?.matmul(&weight.to_dtype(x.dtype())?.t()?)?;
            match bias {
                Some(bias) => y.broadcast_add(&bias.to_dtype(x.dtype())?),
                None => Ok(y),
            }
        }
        (Op::Subsample { stride }, [x]) => reference::subsample(x, *stride),
        (Op::PadChannels { before, after }, [x]) => reference::pad_channels(x, *before, *after),
        (Op::Affine { scale, shift }, [x]) => x.affine(*scale, *shift),
        (Op::Sigmoid, [x]) => reference::sigmoid(x),
        (Op::Mul, [a, b]) => a.broadcast_mul(b),
        (Op::Dropout { rate, unit }, [x]) if pass.train => {
            let mask = pass.draw.mask(node, *rate)?;
            match unit {
                DropUnit::Value => reference::drop_values(x, mask),
                DropUnit::Image => reference::drop_images(x, mask),
            }
        }
        (Op::Dropout { .. }, [x]) => Ok(x.clone()),
        (Op::AvgPool(config), [x]) => reference::avg_pool2d(x, config),
        (Op::GroupNorm { weight, bias, groups, eps }, [x]) => {
            reference::group_norm(x, *groups, Some(weight), Some(bias), *eps)
        }
        (Op::BlurPool { stride }, [x]) => reference::blur_pool2d(x, *stride),
        (Op::ChannelConv { weight }, [x]) => reference::channel_conv(x, &weight.to_dtype(x.dtype())?),
        (Op::ZeroPad { padding: (rows, columns) }, [x]) => reference::zero_pad(x, (*rows, *columns)),
        (Op::DivideBySpread { spread, groups, eps }, [x]) => reference::divide_by_spread(x, *spread, *groups, *eps),
        (Op::ChannelAffine { weight, bias }, [x]) => reference::channel_affine(x, Some(weight), bias.as_ref()),
        (Op::ChannelFloor { threshold }, [x]) => reference::channel_floor(x, threshold),
        (op, inputs) => bail!("graph: {op:?} does not take {} inputs", inputs.len()),
    }
}

/// (N, C) as (N, C, 1, 1).
fn map(x: &Tensor) -> Result<Tensor> {
    match *x.dims() {
        [n, c] => x.reshape((n, c, 1, 1)),
        _ => Ok(x.clone()),
    }
}

fn norm(x: &Tensor, p: &NormParameters, train: bool) -> Result<Tensor> {
    let (weight, bias) = (p.weight.as_ref(), p.bias.as_ref());
    if !train {
        let (mean, var) = (p.running_mean.as_detached_tensor(), p.running_var.as_detached_tensor());
        return reference::batch_norm_eval(x, &mean, &var, weight, bias, p.config.eps);
    }
    let (y, mean, var) = reference::batch_norm_train(x, weight, bias, p.config.eps)?;
    let count = (x.elem_count() / mean.elem_count()) as f64;
    update(&p.running_mean, &mean, p.config.momentum)?;
    update(&p.running_var, &(var * (count / (count - 1.)))?, p.config.momentum)?;
    Ok(y)
}

fn update(running: &candle_core::Var, batch: &Tensor, momentum: f64) -> Result<()> {
    if momentum == 0. {
        return Ok(());
    }
    let old = running.as_detached_tensor();
    let new = ((&old * (1. - momentum))? + (batch.to_dtype(old.dtype())? * momentum)?)?;
    running.set(&new)
}
