//! Maps of the size that a training has them in: an index that overflows, or a block that is left out, shows there alone.
//!
//! In evaluation images do not know of each other, so that a batch gives what its parts give, and the gradients of
//! parameters are the sums over the parts. Both sides run on the device: the CPU would take minutes.

use candle_core::{DType, Device, Result, Tensor, Var};
use resnet_ops::graph::NormParameters;
use resnet_ops::{ConvConfig, Graph, NormConfig, PoolConfig};

use super::noise;

/// How far a batch of so many square images is off its parts, at worst.
pub(super) fn error(device: &Device, compute: DType, images: usize, size: usize, parts: usize) -> Result<f64> {
    let x = noise(&[images, 3, size, size], 1)?.to_device(device)?;
    let layers = {
        let mut g = Graph::builder();
        let (first, second) = (weight(&[64, 3, 7, 7], device)?, weight(&[64, 64, 1, 1], device)?);
        let y = g.conv("conv1", g.input(), &first, None, ConvConfig::square(2, 3));
        let y = g.norm("bn", y, &norm(64, device)?);
        let y = g.conv("conv2", y, &second, None, ConvConfig::square(1, 0));
        g.finish(y).with_compute_dtype(compute)
    };
    // Alone: where rounding decided between two values, other sums would take another one.
    let pool = {
        let mut g = Graph::builder();
        let y = g.max_pool("pool", g.input(), PoolConfig::square(3, 2, 1));
        g.finish(y).with_compute_dtype(compute)
    };
    let maps = noise(&[images, 1, size / 2, size / 2], 2)?.broadcast_add(&noise(&[1, 64, 1, 1], 3)?)?;
    Ok(off(&layers, &x, parts)?.max(off(&pool, &maps.to_device(device)?, parts)?))
}

fn weight(dims: &[usize], device: &Device) -> Result<Tensor> {
    let scale = (3. / dims[1..].iter().product::<usize>() as f64).sqrt();
    Ok(Var::from_tensor(&(noise(dims, 4)? * scale)?.to_device(device)?)?.into_inner())
}

fn norm(channels: usize, device: &Device) -> Result<NormParameters> {
    let var = |value: f64| Var::from_tensor(&(Tensor::ones(channels, DType::F32, device)? * value)?);
    let (weight, bias) = (var(0.9)?.into_inner(), var(0.2)?.into_inner());
    let (running_mean, running_var, config) = (var(0.1)?, var(0.7)?, NormConfig::default());
    Ok(NormParameters { weight: Some(weight), bias: Some(bias), running_mean, running_var, config })
}

/// The result, the gradient of the input, and those of all parameters.
fn run(graph: &Graph, x: &Tensor) -> Result<Vec<Tensor>> {
    let x = Var::from_tensor(&x.contiguous()?)?;
    let y = graph.forward_t(x.as_tensor(), false)?;
    let gradients = (&y * y.detach())?.sum_all()?.backward()?;
    let parameters = graph.nodes().iter().flat_map(|node| node.op.parameters()).flatten();
    let mut all = vec![y.detach()];
    for tensor in std::iter::once(x.as_tensor()).chain(parameters) {
        match gradients.get(tensor) {
            Some(gradient) => all.push(gradient.clone()),
            None => candle_core::bail!("a tensor {:?} got no gradient", tensor.dims()),
        }
    }
    Ok(all)
}

fn off(graph: &Graph, x: &Tensor, parts: usize) -> Result<f64> {
    let whole = run(graph, x)?;
    let each = x.dim(0)?.div_ceil(parts);
    let (mut worst, mut sums) = (0f64, Vec::<Tensor>::new());
    for begin in (0..x.dim(0)?).step_by(each) {
        let count = each.min(x.dim(0)? - begin);
        let part = run(graph, &x.narrow(0, begin, count)?)?;
        for (whole, part) in whole[..2].iter().zip(&part) {
            worst = worst.max(difference(&whole.narrow(0, begin, count)?, part)?);
        }
        sums = match sums.is_empty() {
            true => part[2..].to_vec(),
            false => sums.iter().zip(&part[2..]).map(|(sum, part)| sum + part).collect::<Result<_>>()?,
        };
    }
    whole[2..]
        .iter()
        .zip(&sums)
        .map(|(whole, sum)| difference(whole, sum))
        .try_fold(worst, |worst, d| Ok(worst.max(d?)))
}

/// As [`super::difference`], on the device.
fn difference(ours: &Tensor, reference: &Tensor) -> Result<f64> {
    let norm = |t: &Tensor| Ok::<f64, candle_core::Error>(f64::from(t.sqr()?.sum_all()?.to_scalar::<f32>()?).sqrt());
    let error = norm(&(ours - reference)?)? / norm(reference)?.max(1e-6);
    Ok(if error.is_finite() { error } else { f64::INFINITY })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_batch_give_what_the_whole_gives() -> Result<()> {
        let error = error(&Device::Cpu, DType::F32, 7, 22, 3)?;
        assert!(error < 1e-5, "{error}");
        Ok(())
    }

    #[test]
    fn a_value_that_is_wrong_or_missing_shows() -> Result<()> {
        let right = noise(&[2, 3, 4, 4], 1)?;
        assert_eq!(difference(&right, &right)?, 0.);
        let mut values = right.flatten_all()?.to_vec1::<f32>()?;
        values[50] = -values[50];
        assert!(difference(&Tensor::from_vec(values.clone(), (2, 3, 4, 4), &Device::Cpu)?, &right)? > 1e-3);
        values[50] = f32::NAN;
        assert_eq!(difference(&Tensor::from_vec(values, (2, 3, 4, 4), &Device::Cpu)?, &right)?, f64::INFINITY);
        Ok(())
    }
}
