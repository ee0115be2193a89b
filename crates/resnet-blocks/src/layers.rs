//! The layers that blocks are made of.

use candle_core::{Result, Tensor, Var, bail};
use candle_nn::init::{FanInOut, NonLinearity, NormalOrUniform};
use candle_nn::{Init, VarBuilder};
use resnet_ops::graph::NormParameters;
use resnet_ops::{ConvConfig, GraphBuilder, NormConfig, Value};
use serde::{Deserialize, Serialize};

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

/// Which norm a network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// Batch norm (Ioffe & Szegedy 2015).
    #[default]
    Batch,
    /// Group norm (Wu & He 2018).
    Group {
        /// Channel groups.
        groups: usize,
    },
}

/// A norm over a map; parameters `weight`, `bias` and, for batch norm, buffers `running_mean`, `running_var`, all (C).
#[derive(Debug, Clone)]
pub struct Norm2d(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Batch(NormParameters),
    Group { weight: Tensor, bias: Tensor, groups: usize },
}

impl Norm2d {
    /// Batch norm: scale 1, shift 0, statistics of a standard normal variable.
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
        Self::of_kind(NormKind::Batch, channels, scale, vb)
    }

    /// Any norm, beginning with that scale and shift 0.
    ///
    /// # Errors
    /// If the builder has no such tensors of that shape, or the channels do not divide into the groups.
    pub fn of_kind(kind: NormKind, channels: usize, scale: f64, vb: VarBuilder) -> Result<Self> {
        let weight = vb.get_with_hints(channels, "weight", Init::Const(scale))?;
        let bias = vb.get_with_hints(channels, "bias", Init::Const(0.))?;
        Ok(Self(match kind {
            NormKind::Batch => Kind::Batch(NormParameters {
                weight: Some(weight),
                bias: Some(bias),
                running_mean: Var::from_tensor(&vb.get_with_hints(channels, "running_mean", Init::Const(0.))?)?,
                running_var: Var::from_tensor(&vb.get_with_hints(channels, "running_var", Init::Const(1.))?)?,
                config: NormConfig::default(),
            }),
            NormKind::Group { groups } => {
                if !channels.is_multiple_of(groups.max(1)) || groups == 0 {
                    bail!("group norm: {channels} channels do not divide into {groups} groups");
                }
                Kind::Group { weight, bias, groups }
            }
        }))
    }
}

impl Layer for Norm2d {
    fn append(&self, graph: &mut GraphBuilder, path: &str, x: Value) -> Value {
        match &self.0 {
            Kind::Batch(parameters) => graph.norm(path, x, parameters),
            Kind::Group { weight, bias, groups } => {
                graph.group_norm(path, x, (weight, bias), *groups, NormConfig::default().eps)
            }
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
