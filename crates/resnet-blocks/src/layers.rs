//! The layers that blocks are made of.

use candle_core::{Result, Tensor, Var};
use candle_nn::init::{FanInOut, NonLinearity, NormalOrUniform};
use candle_nn::{Init, VarBuilder};
use resnet_ops::graph::NormParameters;
use resnet_ops::{ConvConfig, GraphBuilder, NormConfig, Value};

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
        let he =
            Init::Kaiming { dist: NormalOrUniform::Normal, fan: FanInOut::FanOut, non_linearity: NonLinearity::ReLU };
        let weight = vb.get_with_hints((outputs, inputs / config.groups.max(1), kh, kw), "weight", he)?;
        Ok(Self { weight, bias: None, config })
    }
}

impl Layer for Conv2d {
    fn append(&self, graph: &mut GraphBuilder, path: &str, x: Value) -> Value {
        graph.conv(path, x, &self.weight, self.bias.as_ref(), self.config)
    }
}

/// Batch norm; parameters `weight`, `bias`, buffers `running_mean`, `running_var`, all (C).
#[derive(Debug, Clone)]
pub struct Norm2d(NormParameters);

impl Norm2d {
    /// Scale 1, shift 0, statistics of a standard normal variable.
    ///
    /// # Errors
    /// If the builder has no such tensors of that shape.
    pub fn new(channels: usize, vb: VarBuilder) -> Result<Self> {
        Self::with_scale(channels, 1., vb)
    }

    /// As [`Norm2d::new`] with another initial scale: 0 for the last norm of a block makes the block begin as the
    /// identity (Goyal et al. 2017, 5.1).
    ///
    /// # Errors
    /// If the builder has no such tensors of that shape.
    pub fn with_scale(channels: usize, scale: f64, vb: VarBuilder) -> Result<Self> {
        Ok(Self(NormParameters {
            weight: Some(vb.get_with_hints(channels, "weight", Init::Const(scale))?),
            bias: Some(vb.get_with_hints(channels, "bias", Init::Const(0.))?),
            running_mean: Var::from_tensor(&vb.get_with_hints(channels, "running_mean", Init::Const(0.))?)?,
            running_var: Var::from_tensor(&vb.get_with_hints(channels, "running_var", Init::Const(1.))?)?,
            config: NormConfig::default(),
        }))
    }
}

impl Layer for Norm2d {
    fn append(&self, graph: &mut GraphBuilder, path: &str, x: Value) -> Value {
        graph.norm(path, x, &self.0)
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

impl Layer for Linear {
    fn append(&self, graph: &mut GraphBuilder, path: &str, x: Value) -> Value {
        graph.linear(path, x, &self.weight, Some(&self.bias))
    }
}
