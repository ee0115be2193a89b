//! A network without its head: images to the features that the head classifies.

use candle_core::{Result, bail};
use resnet_ops::Graph;
use resnet_ops::graph::{Op, Value};

use crate::Network;

impl Network {
    /// The network up to its head, on the same parameters: images (N, 3, H, W) to features (N, C), the means of the
    /// last maps over all pixels. Make it once and use it often: it prepares itself at its first use.
    ///
    /// # Errors
    /// If the network has no head.
    pub fn embedding(&self) -> Result<Graph> {
        match self.head_input() {
            Some(features) => Ok(self.graph().until(features)),
            None => bail!("the network has no fully connected layer to leave out"),
        }
    }

    /// What the last fully connected layer reads.
    fn head_input(&self) -> Option<Value> {
        let head = self.graph().nodes().iter().rev().find(|node| matches!(node.op, Op::Linear { .. }))?;
        head.inputs.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use candle_nn::ModuleT;

    use crate::{Parameters, create};

    #[test]
    fn the_head_makes_logits_of_the_embedding() {
        for arch in ["resnet20", "preact_resnet20"] {
            let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
            let network = create(arch, parameters.builder(), Some(7)).unwrap();
            let images = Tensor::ones((2, 3, 32, 32), DType::F32, &Device::Cpu).unwrap();
            let features = network.embedding().unwrap().forward_t(&images, false).unwrap();
            assert_eq!(features.dims(), [2, 64]);
            let (weight, bias) = (parameters.get("fc.weight").unwrap(), parameters.get("fc.bias").unwrap());
            let logits = features.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
            let expected = network.forward_t(&images, false).unwrap();
            let difference = (logits - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(difference < 1e-5, "{arch}: {difference}");
        }
    }
}
