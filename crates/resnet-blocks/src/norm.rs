//! What makes activations comparable: batch norm and what stands in for it.

use candle_core::{Result, Tensor, Var, bail};
use candle_nn::{Init, VarBuilder};
use resnet_ops::graph::{NormParameters, Spread};
use resnet_ops::{GraphBuilder, NodeId, NormConfig};
use serde::{Deserialize, Serialize};

use crate::Layer;
use crate::check::check_size;
use crate::layer::{at, modules, within};

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
    /// `γ x σ(v x) / √(variance of the group + ε) + β`, norm and activation in one (Liu et al. 2020, Table 1: EvoNorm-S0);
    /// [`Activation::None`](crate::Activation::None) goes with it.
    EvoS0 {
        /// Channel groups.
        groups: usize,
    },
    /// `max(γ x / √(mean square of the channel + ε) + β, τ)`, norm and activation in one (Singh & Krishnan 2020: filter
    /// response normalisation and thresholded linear unit); [`Activation::None`](crate::Activation::None) goes with it.
    FilterResponse,
}

/// A norm over a map; parameters `weight`, `bias`, all (C), also `v` or `tau` where the norm ends with an activation, and
/// for batch norm buffers `running_mean`, `running_var`.
#[derive(Debug, Clone)]
pub struct Norm2d {
    path: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Batch(NormParameters),
    Group { weight: Tensor, bias: Tensor, groups: usize },
    EvoS0 { weight: Tensor, bias: Tensor, v: Tensor, groups: usize },
    FilterResponse { weight: Tensor, bias: Tensor, tau: Tensor },
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

    /// Any norm, beginning with that scale and shift 0; v begins with 1, τ with 0.
    ///
    /// # Errors
    /// If the builder has no such tensors of that shape, or the channels do not divide into the groups.
    pub fn of_kind(kind: NormKind, channels: usize, scale: f64, vb: VarBuilder) -> Result<Self> {
        let check = || {
            check_size("channels", channels)?;
            if let NormKind::Group { groups } | NormKind::EvoS0 { groups } = kind {
                check_size("groups", groups)?;
                if !channels.is_multiple_of(groups) {
                    bail!("groups = {groups} do not divide channels = {channels}");
                }
            }
            Ok(())
        };
        check().map_err(|error| at(&vb, "a norm", error))?;
        let get = |name: &str, initial: f64| vb.get_with_hints(channels, name, Init::Const(initial));
        let (weight, bias) = (get("weight", scale)?, get("bias", 0.)?);
        let kind = match kind {
            NormKind::Batch => Kind::Batch(NormParameters {
                weight: Some(weight),
                bias: Some(bias),
                running_mean: Var::from_tensor(&get("running_mean", 0.)?)?,
                running_var: Var::from_tensor(&get("running_var", 1.)?)?,
                config: NormConfig::default(),
            }),
            NormKind::Group { groups } => Kind::Group { weight, bias, groups },
            NormKind::EvoS0 { groups } => Kind::EvoS0 { weight, bias, v: get("v", 1.)?, groups },
            NormKind::FilterResponse => Kind::FilterResponse { weight, bias, tau: get("tau", 0.)? },
        };
        Ok(Self { path: vb.prefix(), kind })
    }
}

impl Layer for Norm2d {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        let (path, eps) = (&self.path, NormConfig::default().eps);
        let spread = within(path, "spread");
        match &self.kind {
            Kind::Batch(parameters) => graph.norm(path, x, parameters),
            Kind::Group { weight, bias, groups } => graph.group_norm(path, x, (weight, bias), *groups, eps),
            Kind::EvoS0 { weight, bias, v, groups } => {
                let gate = graph.channel_affine(&within(path, "v"), x, v, None);
                let gate = graph.sigmoid(gate);
                let y = graph.divide_by_spread(&spread, x, Spread::Deviation, *groups, eps);
                let y = graph.mul(y, gate);
                graph.channel_affine(path, y, weight, Some(bias))
            }
            Kind::FilterResponse { weight, bias, tau } => {
                let y = graph.divide_by_spread(&spread, x, Spread::RootMeanSquare, weight.elem_count(), eps);
                let y = graph.channel_affine(path, y, weight, Some(bias));
                graph.channel_floor(&within(path, "tau"), y, tau)
            }
        }
    }
}

modules!(Norm2d);
