//! Runs a graph operation by operation on candle tensors.

use candle_core::{Result, Tensor, bail};

use super::{Graph, NormParameters, Op};
use crate::portable;

pub(super) fn run(graph: &Graph, x: &Tensor, train: bool) -> Result<Tensor> {
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
        let result = match (&node.op, inputs.as_slice()) {
            (Op::Input, []) => x.clone(),
            (Op::Given(map), []) => map.to_dtype(x.dtype())?,
            (Op::Conv { weight, bias, config }, [x]) => {
                let (weight, bias) = (weight.to_dtype(x.dtype())?, bias.as_ref().map(|b| b.to_dtype(x.dtype())));
                portable::conv2d(x, &weight, bias.transpose()?.as_ref(), config)?
            }
            (Op::Norm(parameters), [x]) => norm(x, parameters, train)?,
            (Op::Relu, [x]) => x.relu()?,
            (Op::Add, [a, b]) => a.add(b)?,
            (Op::MaxPool(config), [x]) => portable::max_pool2d(x, config)?,
            (Op::GlobalAvgPool, [x]) => portable::global_avg_pool2d(x)?,
            (Op::Linear { weight, bias }, [x]) => {
                let y = x.matmul(&weight.to_dtype(x.dtype())?.t()?)?;
                match bias {
                    Some(bias) => y.broadcast_add(&bias.to_dtype(x.dtype())?)?,
                    None => y,
                }
            }
            (Op::Subsample { stride }, [x]) => portable::subsample(x, *stride)?,
            (Op::PadChannels { before, after }, [x]) => portable::pad_channels(x, *before, *after)?,
            (op, inputs) => bail!("graph: {op:?} does not take {} inputs", inputs.len()),
        };
        values[i] = Some(result);
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

fn norm(x: &Tensor, p: &NormParameters, train: bool) -> Result<Tensor> {
    let (weight, bias) = (p.weight.as_ref(), p.bias.as_ref());
    if !train {
        let (mean, var) = (p.running_mean.as_detached_tensor(), p.running_var.as_detached_tensor());
        return portable::batch_norm_eval(x, &mean, &var, weight, bias, p.config.eps);
    }
    let (y, mean, var) = portable::batch_norm_train(x, weight, bias, p.config.eps)?;
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
