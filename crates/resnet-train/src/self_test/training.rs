//! Loss and optimizer on the device against the CPU's.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::{Check, difference, noise};
use crate::loss::CrossEntropy;
use crate::optimizer::{Gradients, Sgd, SgdConfig};

pub(super) fn all(device: &Device, tell: &mut dyn FnMut(Check)) -> crate::Result<()> {
    for smoothing in [0., 0.1] {
        for soft in [false, true] {
            let targets = if soft { "probabilities" } else { "labels" };
            let error = cross_entropy(device, smoothing, soft);
            tell(Check::new(format!("cross-entropy, {targets}, smoothing {smoothing}"), error, 1e-5));
        }
    }
    for config in [
        SgdConfig::default(),
        SgdConfig { nesterov: true, ..SgdConfig::default() },
        SgdConfig { momentum: 0., ..SgdConfig::default() },
    ] {
        let name = format!("sgd, momentum {}, nesterov {}", config.momentum, config.nesterov);
        tell(Check::new(name, sgd(device, config), 1e-6));
    }
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        tell(Check::new("images: crop, flip, normalise", images(device), 1e-6));
    }
    Ok(())
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

/// Three steps on three parameters.
fn sgd(device: &Device, config: SgdConfig) -> Result<f64> {
    let shapes: [&[usize]; 3] = [&[64, 64, 3, 3], &[10], &[1000, 33]];
    let run = |device: &Device| -> crate::Result<Vec<Tensor>> {
        let mut named = Vec::new();
        for (i, shape) in shapes.iter().enumerate() {
            named.push((format!("p{i}.weight"), Var::from_tensor(&noise(shape, i as u32)?.to_device(device)?)?));
        }
        let mut sgd = Sgd::new(&named, config)?;
        for step in 0..3 {
            let mut loss = Tensor::zeros((), DType::F32, device)?;
            for (i, (_, var)) in named.iter().enumerate() {
                let factor = noise(shapes[i], 10 * (step + 1) + i as u32)?.to_device(device)?;
                loss = (loss + (var.as_tensor() * factor)?.sum_all()?)?;
            }
            let mut gradients = Gradients::new();
            gradients.add(&sgd.parameters(), loss.backward()?, 1)?;
            sgd.step(&gradients, 0.5, 0.1)?;
        }
        Ok(named.into_iter().map(|(_, var)| var.as_detached_tensor()).collect())
    };
    let (ours, reference) =
        (run(device).map_err(candle_core::Error::wrap)?, run(&Device::Cpu).map_err(candle_core::Error::wrap)?);
    ours.iter().zip(&reference).map(|(a, b)| difference(a, b)).try_fold(0., |worst: f64, d| Ok(worst.max(d?)))
}

#[cfg(feature = "cuda")]
fn images(device: &Device) -> Result<f64> {
    use resnet_ops::cuda::{ImageScale, ImageView, take_images};
    let (count, side) = (5, 32);
    let bytes: Vec<u8> = (0..count * side * side * 3).map(|i| (i * 37 % 251) as u8).collect();
    let scale =
        ImageScale { mean_image: None, mean: [0.5, 0.4, 0.3], deviation: [0.2, 0.3, 0.4], border: [-1., -2., -3.] };
    let views: Vec<ImageView> = (0..9i32)
        .map(|i| ImageView { image: (i * 3 % 5) as u32, row: i - 4, column: 4 - i, flip: i % 2 == 1 })
        .collect();
    let mut wanted = Vec::new();
    for view in &views {
        for (c, i, j) in (0..3 * side * side).map(|at| (at / side / side, at / side % side, at % side)) {
            let j = if view.flip { side - 1 - j } else { j };
            let (p, q) = (view.row + i as i32, view.column + j as i32);
            let inside = (0..side as i32).contains(&p) && (0..side as i32).contains(&q);
            wanted.push(if inside {
                let at = ((view.image as usize * side + p as usize) * side + q as usize) * 3 + c;
                (f32::from(bytes[at]) / 255. - scale.mean[c]) / scale.deviation[c]
            } else {
                scale.border[c]
            });
        }
    }
    let wanted = Tensor::from_vec(wanted, (views.len(), 3, side, side), &Device::Cpu)?;
    let pixels = Tensor::from_vec(bytes, (count, side, side, 3), device)?;
    difference(&take_images(&pixels, &views, (side, side), &scale, DType::F32)?.contiguous()?, &wanted)
}
