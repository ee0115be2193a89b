//! The layers that blocks are made of.

use candle_core::{Error, Result, Tensor, bail};
use candle_nn::init::{FanInOut, NonLinearity, NormalOrUniform};
use candle_nn::{Init, VarBuilder};
use resnet_ops::{ConvConfig, GraphBuilder, Value};

use crate::config::check_size;

/// Something that appends itself to a network's graph.
pub trait Layer {
    /// Appends this layer's operations on `x`, named under `path`, and returns its result.
    fn append(&self, graph: &mut GraphBuilder, path: &str, x: Value) -> Value;
}

/// Joins a dotted path.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

/// The error of a layer whose parameters stand under the builder's path.
pub(crate) fn at(vb: &VarBuilder, layer: &str, error: Error) -> Error {
    let error = match error {
        Error::WithBacktrace { inner, .. } => *inner,
        error => error,
    };
    let path = vb.prefix();
    Error::Msg(if path.is_empty() { format!("{layer}: {error}") } else { format!("{path}: {error}") })
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
    /// If a size is impossible, the groups do not divide the channels, or the builder has no such tensor of that shape.
    pub fn with_config(
        inputs: usize,
        outputs: usize,
        (kh, kw): (usize, usize),
        config: ConvConfig,
        vb: VarBuilder,
    ) -> Result<Self> {
        let groups = config.groups;
        let check = || {
            for (field, value) in [("inputs", inputs), ("outputs", outputs), ("groups", groups)] {
                check_size(field, value)?;
            }
            if !(inputs.is_multiple_of(groups) && outputs.is_multiple_of(groups)) {
                bail!("groups = {groups} do not divide inputs = {inputs} and outputs = {outputs}");
            }
            config.check((kh, kw))
        };
        check().map_err(|error| at(&vb, "a convolution", error))?;
        let weight = vb.get_with_hints((outputs, inputs / groups, kh, kw), "weight", he())?;
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
        let bound = bound(inputs, outputs, &vb)?;
        let uniform = Init::Uniform { lo: -bound, up: bound };
        Ok(Self {
            weight: vb.get_with_hints((outputs, inputs), "weight", uniform)?,
            bias: vb.get_with_hints(outputs, "bias", uniform)?,
        })
    }
}

/// The bound of a linear layer's initial values.
fn bound(inputs: usize, outputs: usize, vb: &VarBuilder) -> Result<f64> {
    let check = check_size("inputs", inputs).and_then(|()| check_size("outputs", outputs));
    check.map_err(|error| at(vb, "a linear layer", error))?;
    Ok(1. / (inputs as f64).sqrt())
}

impl Linear {
    /// As [`Linear::new`], with the weight of a 1×1 convolution (O, I, 1, 1).
    ///
    /// # Errors
    /// If the builder has no such tensors of that shape.
    pub fn pointwise(inputs: usize, outputs: usize, vb: VarBuilder) -> Result<Self> {
        let bound = bound(inputs, outputs, &vb)?;
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
