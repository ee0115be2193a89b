//! A network without its head: images to the features that the head classifies.

use candle_core::{Result, bail};
use resnet_ops::Graph;
#[cfg(doc)]
use resnet_ops::Inference;
use resnet_ops::graph::{NodeId, Op};

use crate::Network;

impl Network {
    /// The network up to its head, on the same parameters: images (N, 3, H, W) to features (N, C), the means of the
    /// last maps over all pixels. Make it once and use it often: it prepares itself at its first use.
    ///
    /// It is a [`candle_nn::ModuleT`], as the network is. [`Inference::new`] makes it ready for inference alone, then as a
    /// [`candle_nn::Module`]:
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::{Module, seq};
    /// use resnet_models::{Inference, Parameters, create};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
    /// let embedding = create("resnet20", parameters.builder(), None)?.embedding()?;
    /// let unit = |x: &Tensor| x.broadcast_div(&x.sqr()?.sum_keepdim(1)?.sqrt()?);
    /// let model = seq().add(Inference::new(&embedding)?).add_fn(unit);
    /// let images = Tensor::ones((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
    /// assert_eq!(model.forward(&images)?.dims(), [2, 64]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the network has no head.
    pub fn embedding(&self) -> Result<Graph> {
        match self.head_input() {
            _ if self.config().classes == 0 => Ok(self.graph().clone()),
            Some(features) => Ok(self.graph().subgraph_to(features)),
            None => bail!("the network has no fully connected layer to leave out"),
        }
    }

    /// What the last fully connected layer reads.
    fn head_input(&self) -> Option<NodeId> {
        let head = self.graph().nodes().iter().rev().find(|node| matches!(node.op, Op::Linear { .. }))?;
        head.inputs.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use candle_nn::ModuleT;

    use crate::{Graph, Parameters, create};

    /// Whoever takes a module takes an embedding.
    #[test]
    fn an_embedding_is_a_module() {
        struct Half(Box<dyn ModuleT>);
        impl ModuleT for Half {
            fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
                self.0.forward_t(x, train)? / 2.0
            }
        }
        let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
        let embedding: Graph = create("resnet20", parameters.builder(), None).unwrap().embedding().unwrap();
        let images = Tensor::ones((2, 3, 32, 32), DType::F32, &Device::Cpu).unwrap();
        let half = Half(Box::new(embedding.clone()));
        let halves = |train| half.forward_t(&images, train).unwrap().to_vec2::<f32>().unwrap();
        let whole = embedding.forward_t(&images, false).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(halves(false)[1][3] * 2.0, whole[1][3]);
        assert_ne!(halves(true), halves(false), "`train` arrives");
    }

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
