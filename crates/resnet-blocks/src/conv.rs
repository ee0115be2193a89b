//! A convolution.

use candle_core::{Result, Tensor, bail};
use candle_nn::init::{FanInOut, NonLinearity, NormalOrUniform};
use candle_nn::{Init, VarBuilder};
use resnet_ops::{ConvConfig, GraphBuilder, NodeId};

use crate::Layer;
use crate::check::check_size;
use crate::layer::{at, modules};

/// A two-dimensional convolution; parameters `weight` (O, C / groups, kh, kw) and, if asked for, `bias` (O).
#[derive(Debug, Clone)]
pub struct Conv2d {
    path: String,
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
        Ok(Self { path: vb.prefix(), weight, bias: None, config, standardize: None })
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
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        let path = &self.path;
        match self.standardize {
            Some(eps) => graph.standardized_conv(path, x, &self.weight, eps, self.config),
            None => graph.conv(path, x, &self.weight, self.bias.as_ref(), self.config),
        }
    }
}

modules!(Conv2d);
