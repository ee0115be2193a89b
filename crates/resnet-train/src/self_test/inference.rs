//! A network made ready for inference against its graph in evaluation mode.

use candle_core::{DType, Device, Result};
use resnet_ops::{ConvConfig, Inference, PoolConfig};

use super::operations::{Case, case};
use super::{difference, noise};

/// Every way in which a norm, an addition or a ReLU stands behind a convolution, so that all of them are folded.
fn network() -> Case {
    case(&[3, 3, 33, 30], |g, v| {
        let x = g.conv("conv1", g.input(), &v.weight(&[32, 3, 7, 7])?, None, ConvConfig::square(2, 3));
        let x = g.norm("bn1", x, &v.norm(32)?);
        let x = g.relu(x);
        let x = g.max_pool("pool", x, PoolConfig::square(3, 2, 1));
        let y = g.conv("conv2", x, &v.weight(&[32, 32, 3, 3])?, None, ConvConfig::square(1, 1));
        let y = g.norm("bn2", y, &v.norm(32)?);
        let y = g.add(x, y);
        let x = g.relu(y);
        let y = g.conv("conv3", x, &v.weight(&[48, 32, 3, 3])?, None, ConvConfig::square(2, 1));
        let y = g.norm("bn3", y, &v.norm(48)?);
        let shortcut = g.conv("conv4", x, &v.weight(&[48, 32, 1, 1])?, None, ConvConfig::square(2, 0));
        let shortcut = g.norm("bn4", shortcut, &v.norm(48)?);
        let x = g.add(shortcut, y);
        let x = g.global_avg_pool("pool2", x);
        Ok(g.linear("fc", x, &v.weight(&[11, 48])?, None))
    })
}

/// How far its output on the device is off.
pub(super) fn error(device: &Device, compute: DType) -> Result<f64> {
    let network = network();
    let x = noise(&network.dims, 99)?;
    let (reference, _) = network.graph(&Device::Cpu, DType::F64)?;
    let reference = reference.forward_t(&x.to_dtype(DType::F64)?, false)?;
    let (graph, _) = network.graph(device, DType::F32)?;
    let inference = Inference::new(&graph.with_compute_dtype(compute))?;
    difference(&inference.forward(&x.to_device(device)?)?, &reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_that_changed_since_show() -> Result<()> {
        let device = Device::Cpu;
        assert!(error(&device, DType::F32)? < 1e-4);
        let network = network();
        let x = noise(&network.dims, 99)?;
        let (graph, _) = network.graph(&device, DType::F32)?;
        let folded = Inference::new(&graph)?;
        assert!(folded.is_folded());
        let before = folded.forward(&x)?;
        // A step of training moves the running statistics, which were folded in as they had been.
        graph.forward_t(&x, true)?;
        assert!(difference(&graph.forward_t(&x, false)?, &before)? > 1e-2);
        Ok(())
    }
}
