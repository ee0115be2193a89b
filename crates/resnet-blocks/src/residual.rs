//! Any residual block, by its configuration.

use candle_core::{Result, Tensor};
use candle_nn::{ModuleT, VarBuilder};
use resnet_ops::{Graph, GraphBuilder, NodeId};

use crate::layer::{alone, at};
use crate::{
    AblationBlock, BasicBlock, BlockConfig, Bottleneck, Branch, Layer, Merge, Order, PreActBasic, PreActBottleneck,
};

/// A residual block: `shortcut(x) + branch(x)` (He et al. 2015, eq. 1), as a layer and as a module of candle.
///
/// Takes (N, inputs, H, W), returns (N, outputs, ⌈H / stride⌉, ⌈W / stride⌉).
#[derive(Debug, Clone)]
pub struct ResidualBlock {
    kind: Kind,
    graph: Graph,
}

#[derive(Debug, Clone)]
enum Kind {
    Basic(Box<BasicBlock>),
    Bottleneck(Box<Bottleneck>),
    PreActBasic(Box<PreActBasic>),
    PreActBottleneck(Box<PreActBottleneck>),
    Ablation(Box<AblationBlock>),
}

impl ResidualBlock {
    /// The block of that configuration, with its parameters from `vb`.
    ///
    /// # Errors
    /// If the configuration is impossible or the builder lacks a parameter.
    pub fn new(config: &BlockConfig, vb: VarBuilder) -> Result<Self> {
        config.check().map_err(|error| at(&vb, "a residual block", error))?;
        let options = &config.options;
        // The blocks with names have no attention before the last convolution, but for the bottleneck.
        let plain = options.merge == Merge::Identity && (options.attn_last || options.attention.is_none());
        let kind = match (options.order, config.branch) {
            (Order::Original, Branch::Basic) if plain => Kind::Basic(BasicBlock::new(config, vb)?.into()),
            (Order::PreActivation, Branch::Basic) if plain => Kind::PreActBasic(PreActBasic::new(config, vb)?.into()),
            (Order::PreActivation, Branch::Bottleneck(_)) if plain && middle(config) => {
                Kind::PreActBottleneck(PreActBottleneck::new(config, vb)?.into())
            }
            (Order::Original, Branch::Bottleneck(_)) if options.merge == Merge::Identity && middle(config) => {
                Kind::Bottleneck(Bottleneck::new(config, vb)?.into())
            }
            _ => Kind::Ablation(AblationBlock::new(config, vb)?.into()),
        };
        let graph = alone(&kind);
        Ok(Self { kind, graph })
    }

    /// The block as a graph of its own.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
}

/// Whether a filter that takes the stride would stand behind a bottleneck's 3×3 convolution.
fn middle(config: &BlockConfig) -> bool {
    config.options.anti_alias.is_none() || config.branch != Branch::Bottleneck(crate::StrideIn::First)
}

impl Layer for Kind {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        match self {
            Self::Basic(block) => block.append(graph, x),
            Self::Bottleneck(block) => block.append(graph, x),
            Self::PreActBasic(block) => block.append(graph, x),
            Self::PreActBottleneck(block) => block.append(graph, x),
            Self::Ablation(block) => block.append(graph, x),
        }
    }
}

impl Layer for ResidualBlock {
    fn append(&self, graph: &mut GraphBuilder, x: NodeId) -> NodeId {
        self.kind.append(graph, x)
    }
}

impl ModuleT for ResidualBlock {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.graph.forward_t(x, train)
    }
}
