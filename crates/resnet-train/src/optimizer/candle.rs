//! The optimizers behind candle's own trait, for loops that are written against it.

use candle_core::Var;
use candle_core::backprop::GradStore;

use super::{Gradients, Optimizer, OptimizerConfig};

/// SGD, LAMB or AdamW as a [`candle_nn::Optimizer`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Linear, Module, Optimizer, VarBuilder, VarMap, linear, loss::mse};
/// use resnet_train::optimizer::{AdamWConfig, CandleConfig, CandleOptimizer, OptimizerConfig};
///
/// let variables = VarMap::new();
/// let layer: Linear = linear(2, 1, VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu))?;
/// let config = CandleConfig { optimizer: OptimizerConfig::AdamW(AdamWConfig::default()), lr: 0.1 };
/// let mut optimizer = CandleOptimizer::new(variables.all_vars(), config)?;
/// let x = Tensor::new(&[[1f32, 2.0], [3.0, -1.0]], &Device::Cpu)?;
/// let y = Tensor::new(&[[1f32], [2.0]], &Device::Cpu)?;
/// let loss = |layer: &Linear| mse(&layer.forward(&x)?, &y);
/// let before = loss(&layer)?.to_scalar::<f32>()?;
/// for _ in 0..50 {
///     optimizer.backward_step(&loss(&layer)?)?;
/// }
/// assert!(loss(&layer)?.to_scalar::<f32>()? < before / 10.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct CandleOptimizer {
    optimizer: Optimizer,
    lr: f64,
}

/// Settings of [`CandleOptimizer`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CandleConfig {
    /// Which optimizer.
    pub optimizer: OptimizerConfig,
    /// The learning rate.
    pub lr: f64,
}

impl candle_nn::Optimizer for CandleOptimizer {
    type Config = CandleConfig;

    fn new(variables: Vec<Var>, config: CandleConfig) -> candle_core::Result<Self> {
        // Candle's optimizers take any variables: names would only tell running statistics apart.
        let named: Vec<_> = variables.into_iter().enumerate().map(|(number, var)| (number.to_string(), var)).collect();
        let optimizer = Optimizer::new(&named, config.optimizer).map_err(candle_core::Error::wrap)?;
        Ok(Self { optimizer, lr: config.lr })
    }

    fn step(&mut self, gradients: &GradStore) -> candle_core::Result<()> {
        let gradients = Gradients::of(&self.optimizer.parameters(), gradients);
        self.optimizer.step(&gradients, 1.0, self.lr).map_err(candle_core::Error::wrap)
    }

    fn learning_rate(&self) -> f64 {
        self.lr
    }

    fn set_learning_rate(&mut self, lr: f64) {
        self.lr = lr;
    }
}
