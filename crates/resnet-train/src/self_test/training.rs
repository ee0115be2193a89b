//! Loss and optimizer on the device against the CPU's.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::{Check, difference, noise, worst_difference};
use crate::loss::CrossEntropy;
use crate::optimizer::{Gradients, Sgd, SgdConfig};

pub(super) fn all(device: &Device, tell: &mut dyn FnMut(Check)) {
    for smoothing in [0., 0.1] {
        for soft in [false, true] {
            let targets = if soft { "probabilities" } else { "labels" };
            let error = cross_entropy(device, smoothing, soft);
            tell(Check::new(format!("cross-entropy, {targets}, smoothing {smoothing}"), error, 1e-5));
        }
    }
    let few = [vec![64, 64, 3, 3], vec![10], vec![1000, 33]];
    for config in [
        SgdConfig::default(),
        SgdConfig { nesterov: true, ..SgdConfig::default() },
        SgdConfig { momentum: 0., ..SgdConfig::default() },
    ] {
        let name = format!("sgd, momentum {}, nesterov {}", config.momentum, config.nesterov);
        tell(Check::new(name, sgd_error(device, config, &few), 1e-6));
    }
    tell(Check::new("sgd, 2000 parameters", sgd_error(device, SgdConfig::default(), &many()), 1e-6));
}

/// The loss and its gradient.
fn cross_entropy(device: &Device, smoothing: f64, soft: bool) -> Result<f64> {
    let (n, classes) = (64, 1000);
    let logits = (noise(&[n, classes], 1)? * 5.)?;
    let targets = match soft {
        true => noise(&[n, classes], 2)?.abs()?,
        false => Tensor::from_vec((0..n as u32).map(|i| i * 37 % classes as u32).collect::<Vec<_>>(), n, &Device::Cpu)?,
    };
    let results = |device: &Device, dtype: DType| -> Result<[Tensor; 2]> {
        let x = Var::from_tensor(&logits.to_dtype(dtype)?.to_device(device)?)?;
        let loss = CrossEntropy { label_smoothing: smoothing };
        let loss = loss.forward(&x, &targets.to_device(device)?).map_err(candle_core::Error::wrap)?;
        let gradients = (&loss * 3.)?.backward()?;
        let Some(gradient) = gradients.get(&x) else { candle_core::bail!("the logits got no gradient") };
        Ok([loss, gradient.clone()])
    };
    let ([loss, gradient], reference) = (results(device, DType::F32)?, results(&Device::Cpu, DType::F64)?);
    Ok(difference(&loss, &reference[0])?.max(difference(&gradient, &reference[1])?))
}

/// More parameters than one launch on a CUDA device has rows for (1,638), some of them of several rows.
fn many() -> Vec<Vec<usize>> {
    (0..2000).map(|i| if i % 500 == 499 { vec![3, 10_000 + i] } else { vec![1 + i % 37] }).collect()
}

/// How far parameters of these shapes are off, at worst, from those that candle's operations in f64 give.
fn sgd_error(device: &Device, config: SgdConfig, shapes: &[Vec<usize>]) -> Result<f64> {
    let ours = sgd(device, DType::F32, config, shapes).map_err(candle_core::Error::wrap)?;
    let reference = sgd(&Device::Cpu, DType::F64, config, shapes).map_err(candle_core::Error::wrap)?;
    worst_difference(&ours, &reference)
}

/// The parameters after three steps.
fn sgd(device: &Device, dtype: DType, config: SgdConfig, shapes: &[Vec<usize>]) -> crate::Result<Vec<Tensor>> {
    let values = |i: usize, seed: u32| noise(&shapes[i], seed + 7 * i as u32)?.to_dtype(dtype)?.to_device(device);
    let mut named = Vec::new();
    for i in 0..shapes.len() {
        named.push((format!("p{i}.weight"), Var::from_tensor(&values(i, 0)?)?));
    }
    let mut sgd = Sgd::new(&named, config)?;
    for step in 1..=3 {
        let mut store = Tensor::zeros((), dtype, device)?.backward()?;
        for (i, (_, var)) in named.iter().enumerate() {
            store.insert(var, values(i, step)?);
        }
        let mut gradients = Gradients::new();
        gradients.add(&sgd.parameters(), store, 1)?;
        sgd.step(&gradients, 0.5, 0.1)?;
    }
    Ok(named.into_iter().map(|(_, var)| var.as_detached_tensor()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_optimizer_or_a_parameter_without_its_step_shows() -> crate::Result<()> {
        let shapes = many();
        let run = |config| sgd(&Device::Cpu, DType::F32, config, &shapes);
        let right = sgd(&Device::Cpu, DType::F64, SgdConfig::default(), &shapes)?;
        let mut ours = run(SgdConfig::default())?;
        assert!(worst_difference(&ours, &right)? <= 1e-6);
        for wrong in [
            SgdConfig { nesterov: true, ..SgdConfig::default() },
            SgdConfig { momentum: 0.899, ..SgdConfig::default() },
            SgdConfig { weight_decay: 0., ..SgdConfig::default() },
        ] {
            assert!(worst_difference(&run(wrong)?, &right)? > 1e-6, "{wrong:?}");
        }
        ours[1900] = noise(&shapes[1900], 7 * 1900)?;
        assert!(worst_difference(&ours, &right)? > 1e-2);
        Ok(())
    }
}
