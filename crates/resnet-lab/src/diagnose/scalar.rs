//! A network of one input and one output, whose gradient can be plotted.

use candle_core::{DType, Device, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use resnet_ops::graph::NormParameters;
use resnet_ops::{ConvConfig, Graph, GraphBuilder, NodeId, NormConfig};

use crate::{Error, Result};

/// How layers are joined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Skip {
    /// x_l = ρ(BN(W x_{l-1})): a plain network.
    None,
    /// x_l = x_{l-1} + β W ρ(BN(x_{l-1})): a residual network.
    Scaled(f64),
}

/// A fully connected rectifier network from one number to one number, with batch norm and He initialisation.
///
/// The first layer has random biases and no batch norm: its kinks then lie all over the input. (Batch norm would put
/// those of all neurons on the mean of the grid.) The other layers have no bias.
pub struct ScalarNetwork {
    graph: Graph,
}

impl ScalarNetwork {
    /// A network of `depth` hidden layers of `width` neurons.
    ///
    /// # Errors
    /// When there is no hidden layer or no neuron.
    pub fn new(depth: usize, width: usize, skip: Skip, seed: u64) -> Result<Self> {
        if depth == 0 || width == 0 {
            return Err(Error::Invalid("a network needs one hidden layer and one neuron at least".into()));
        }
        let mut layers = Layers { graph: Graph::builder(), rng: ChaCha8Rng::seed_from_u64(seed), width };
        let input = layers.graph.input();
        let mut x = layers.first(input)?;
        if let Skip::Scaled(_) = skip {
            // The path of the additions carries mixtures of neurons. A neuron of the first layer that is active at one
            // input only has next to no variance: the norm of the first branch would blow up its gradient there.
            x = layers.linear(x, width, (2.0 / width as f64).sqrt())?;
        }
        for _ in 1..depth {
            x = match skip {
                Skip::None => {
                    let y = layers.linear(x, width, (2.0 / width as f64).sqrt())?;
                    let y = layers.norm(y)?;
                    layers.graph.relu(y)
                }
                Skip::Scaled(beta) => {
                    let y = layers.norm(x)?;
                    let y = layers.graph.relu(y);
                    let y = layers.linear(y, width, beta * (2.0 / width as f64).sqrt())?;
                    layers.graph.add(x, y)
                }
            };
        }
        let output = layers.linear(x, 1, (1.0 / width as f64).sqrt())?;
        Ok(Self { graph: layers.graph.finish(output) })
    }

    /// dy/dx at each of the inputs. Batch norm takes its statistics over all of them, then holds them fixed, so that y
    /// is a function of one number.
    ///
    /// # Errors
    /// When there are fewer than two inputs.
    pub fn gradients(&self, inputs: &[f32]) -> Result<Vec<f64>> {
        let x = Var::from_vec(inputs.to_vec(), (inputs.len(), 1, 1, 1), &Device::Cpu)?;
        self.graph.forward_t(&x.as_detached_tensor(), true)?;
        let y = self.graph.forward_t(x.as_tensor(), false)?;
        let gradient = super::vjp::gradient(&y.sum_all()?, &x)?;
        Ok(gradient.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from).collect())
    }
}

struct Layers {
    graph: GraphBuilder,
    rng: ChaCha8Rng,
    width: usize,
}

impl Layers {
    fn normal(&mut self, dims: &[usize], deviation: f64) -> Result<Tensor> {
        let mut draw = || (deviation * self.rng.sample::<f64, _>(StandardNormal)) as f32;
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| draw()).collect();
        Ok(Tensor::from_vec(values, dims, &Device::Cpu)?)
    }

    /// Kinks at -b/w, with w and b standard normal.
    fn first(&mut self, x: NodeId) -> Result<NodeId> {
        let (weight, bias) = (self.normal(&[self.width, 1, 1, 1], 1.0)?, self.normal(&[self.width], 1.0)?);
        let y = self.graph.conv("first", x, &weight, Some(&bias), ConvConfig::default());
        Ok(self.graph.relu(y))
    }

    fn linear(&mut self, x: NodeId, outputs: usize, deviation: f64) -> Result<NodeId> {
        let weight = self.normal(&[outputs, self.width, 1, 1], deviation)?;
        Ok(self.graph.conv("linear", x, &weight, None, ConvConfig::default()))
    }

    fn norm(&mut self, x: NodeId) -> Result<NodeId> {
        let buffer = |value: f32| -> Result<Var> {
            Ok(Var::from_tensor(&Tensor::full(value, self.width, &Device::Cpu)?.to_dtype(DType::F32)?)?)
        };
        // With a momentum of 1 the running statistics are those of the last batch.
        let config = NormConfig { momentum: 1.0, ..NormConfig::default() };
        let (running_mean, running_var) = (buffer(0.0)?, buffer(1.0)?);
        let parameters = NormParameters { weight: None, bias: None, running_mean, running_var, config };
        Ok(self.graph.norm("norm", x, &parameters))
    }
}

#[cfg(test)]
mod tests {
    use resnet_ops::Backend;

    use super::*;

    /// What the gradients add up to between two inputs is the difference of the function there.
    #[test]
    fn gradients_are_those_of_the_function() {
        let step = 4.0 / 8191.0;
        let inputs: Vec<f32> = (0..8192).map(|i| -2.0 + step * i as f32).collect();
        for (depth, skip) in [(1, Skip::None), (3, Skip::None), (8, Skip::None), (3, Skip::Scaled(1.0))] {
            let network = ScalarNetwork::new(depth, 40, skip, 5).unwrap();
            let gradients = network.gradients(&inputs).unwrap();
            let x = Tensor::from_slice(&inputs, (inputs.len(), 1, 1, 1), &Device::Cpu).unwrap();
            let y = network.graph.forward_t(&x, false).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let size = y.iter().map(|y| f64::from(y.abs())).fold(0.0, f64::max);
            for (from, to) in [(0, 1000), (1000, 3000), (3000, 5000), (5000, 8191)] {
                // The trapezoid rule: exact but where the function has a kink.
                let ends = (gradients[from] + gradients[to]) / 2.0;
                let sum = (ends + gradients[from + 1..to].iter().sum::<f64>()) * f64::from(step);
                let difference = f64::from(y[to] - y[from]);
                assert!((sum - difference).abs() < 2e-2 * size, "{depth}, {skip:?}: {sum}, {difference} of {size}");
            }
        }
    }

    #[test]
    fn gradients_are_those_of_candles_own_operations() {
        let inputs: Vec<f32> = (0..64).map(|i| -2.0 + 4.0 * i as f32 / 63.0).collect();
        for (depth, skip) in [(3, Skip::None), (12, Skip::None), (3, Skip::Scaled(1.0)), (50, Skip::Scaled(1.0))] {
            let network = ScalarNetwork::new(depth, 40, skip, 5).unwrap();
            let fast = network.gradients(&inputs).unwrap();
            let reference = ScalarNetwork { graph: network.graph.clone().with_backend(Backend::Reference) };
            let slow = reference.gradients(&inputs).unwrap();
            let size = slow.iter().map(|g| g.abs()).fold(0.0, f64::max);
            let off: Vec<(usize, f64, f64)> =
                (0..64).filter(|&i| (fast[i] - slow[i]).abs() > 1e-2 * size).map(|i| (i, fast[i], slow[i])).collect();
            assert!(off.is_empty(), "{depth}, {skip:?}: {off:?} of {size}");
        }
    }
}
