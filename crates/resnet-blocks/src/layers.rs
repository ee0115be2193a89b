//! The layers that blocks are made of.

use candle_core::{Result, Tensor};
use candle_nn::init::{FanInOut, NonLinearity, NormalOrUniform};
use candle_nn::{Init, VarBuilder};
use resnet_ops::{ConvConfig, GraphBuilder, Value};

/// Something that appends itself to a network's graph.
pub trait Layer {
    /// Appends this layer's operations on `x`, named under `path`, and returns its result.
    fn append(&self, graph: &mut GraphBuilder, path: &str, x: Value) -> Value;
}

/// Joins a dotted path.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

/// A two-dimensional convolution; parameters `weight` (O, C / groups, kh, kw) and, if asked for, `bias` (O).
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    config: ConvConfig,
    standardize: Option<f64>,
}

/// He initialisation over the fan out.
pub(crate) fn he() -> Init {
    Init::Kaiming { dist: NormalOrUniform::Normal, fan: FanInOut::FanOut, non_linearity: NonLinearity::ReLU }
}

impl Conv2d {
    /// A square kernel without bias, with the padding that keeps the size at stride 1; He initialisation over the
    /// fan out (He et al. 2015, "Delving deep into rectifiers", eq. 14), as in torchvision.
    ///
    /// # Errors
    /// If the builder has no such tensor of that shape.
    pub fn new(inputs: usize, outputs: usize, kernel: usize, stride: usize, vb: VarBuilder) -> Result<Self> {
        let config = ConvConfig::square(stride, kernel / 2);
        Self::with_config(inputs, outputs, (kernel, kernel), config, vb)
    }

    /// Any kernel and [`ConvConfig`], without bias.
    ///
    /// # Errors
    /// If the builder has no such tensor of that shape.
    pub fn with_config(
        inputs: usize,
        outputs: usize,
        (kh, kw): (usize, usize),
        config: ConvConfig,
        vb: VarBuilder,
    ) -> Result<Self> {
        let weight = vb.get_with_hints((outputs, inputs / config.groups.max(1), kh, kw), "weight", he())?;
        Ok(Self { weight, bias: None, config, standardize: None })
    }

    /// With a bias that begins at a constant, from the builder that the weight came from.
    ///
    /// # Errors
    /// If the builder has no such tensor of that shape.
    pub fn with_bias(mut self, initial: f64, vb: VarBuilder) -> Result<Self> {
        self.bias = Some(vb.get_with_hints(self.weight.dim(0)?, "bias", Init::Const(initial))?);
        Ok(self)
    }

    /// With the weight standardised before use, for convolutions without bias; `eps` is added to the variance.
    pub fn with_standardization(mut self, eps: Option<f64>) -> Self {
        self.standardize = eps;
        self
    }
}

impl Layer for Conv2d {
    fn append(&self, graph: &mut GraphBuilder, path: &str, x: Value) -> Value {
        match self.standardize {
            Some(eps) => graph.standardized_conv(path, x, &self.weight, eps, self.config),
            None => graph.conv(path, x, &self.weight, self.bias.as_ref(), self.config),
        }
    }
}

/// A fully connected layer on (N, I); parameters `weight` (O, I), `bias` (O).
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Uniform in ±1/√I, as PyTorch's `nn.Linear`.
    ///
    /// # Errors
    /// If the builder has no such tensors of that shape.
    pub fn new(inputs: usize, outputs: usize, vb: VarBuilder) -> Result<Self> {
        let bound = 1. / (inputs.max(1) as f64).sqrt();
        let uniform = Init::Uniform { lo: -bound, up: bound };
        Ok(Self {
            weight: vb.get_with_hints((outputs, inputs), "weight", uniform)?,
            bias: vb.get_with_hints(outputs, "bias", uniform)?,
        })
    }
}

impl Linear {
    /// As [`Linear::new`], with the weight of a 1×1 convolution (O, I, 1, 1).
    ///
    /// # Errors
    /// If the builder has no such tensors of that shape.
    pub fn pointwise(inputs: usize, outputs: usize, vb: VarBuilder) -> Result<Self> {
        let bound = 1. / (inputs.max(1) as f64).sqrt();
        let uniform = Init::Uniform { lo: -bound, up: bound };
        let weight = vb.get_with_hints((outputs, inputs, 1, 1), "weight", uniform)?;
        // A view: it follows the parameter's values, and gradients go back through it.
        Ok(Self { weight: weight.flatten_from(1)?, bias: vb.get_with_hints(outputs, "bias", uniform)? })
    }
}

impl Layer for Linear {
    fn append(&self, graph: &mut GraphBuilder, path: &str, x: Value) -> Value {
        graph.linear(path, x, &self.weight, Some(&self.bias))
    }
}
