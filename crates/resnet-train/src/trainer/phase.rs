//! A phase of a training, made ready: what it trains of the network, with what optimizer and rates.

use candle_core::{Tensor, Var};
use resnet_models::Network;
use resnet_ops::{Backend, Graph};

use super::lr_scheduler::LrScheduler;
use crate::optimizer::Optimizer;
use crate::recipe::{Length, Phase, Recipe, Trains};
use crate::{Error, Result};

/// A [`Phase`] under way.
pub(super) struct ActivePhase {
    /// Makes what the trained part reads of images, with parameters that stay as they are.
    features: Option<Graph>,
    trained: Graph,
    pub freeze_norms: bool,
    pub optimizer: Optimizer,
    /// The optimizer's parameters, in its order.
    pub parameters: Vec<(String, Var)>,
    pub rate: LrScheduler,
    /// Steps and epochs, at most.
    pub steps: u64,
}

impl ActivePhase {
    /// Of a network whose tensors are `named`.
    pub(super) fn new(
        recipe: &Recipe,
        (phase, length): (Phase, Length),
        network: &Network,
        named: &[(String, Var)],
        steps_per_epoch: u64,
    ) -> Result<Self> {
        let graph = network.graph();
        let (mut features, mut trained, mut own) = (None, graph.clone(), named.to_vec());
        if phase.trains == Trains::Head {
            let head = network.config().head();
            let node = graph.nodes().iter().find(|node| node.name == head);
            let Some(input) = node.and_then(|node| node.inputs.first().copied()) else {
                return Err(Error::Invalid(format!("the network has no head called {head}")));
            };
            features = Some(graph.subgraph_to(input));
            // Vectors, not maps: candle's own operations take them as they are.
            trained = graph.subgraph(input, graph.output())?.with_backend(Backend::Reference);
            own.retain(|(name, _)| name.starts_with(head));
        }
        let mut optimizer = Optimizer::new(&own, recipe.optimizer)?;
        if phase.stage_decay < 1.0 {
            optimizer.set_lr_scales(|name| lr_scale(name, network, phase.stage_decay));
        }
        let mut schedule = recipe.schedule.clone();
        if let Some(lr) = phase.lr {
            schedule.set_lr(lr);
        }
        let steps = length.steps(steps_per_epoch);
        let schedule = schedule.resolve(length.unit(steps_per_epoch), steps)?;
        let hold = recipe.active_hold().cloned();
        let rate = LrScheduler::new(schedule, hold, steps_per_epoch);
        let parameters = optimizer.parameters();
        Ok(Self { features, trained, freeze_norms: phase.freeze_norms, optimizer, parameters, rate, steps })
    }

    /// The logits of images, for training.
    pub(super) fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let input = match &self.features {
            Some(features) => &features.forward_t(images, false)?.detach(),
            None => images,
        };
        Ok(match self.freeze_norms {
            true => self.trained.forward_with_fixed_norms(input)?,
            false => self.trained.forward_t(input, true)?,
        })
    }
}

/// What the rate of a parameter is multiplied by: 1 in the head and the last stage, less by a factor from stage to stage
/// before it, least in the stem.
pub(super) fn lr_scale(name: &str, network: &Network, stage_decay: f64) -> f64 {
    let stages = network.config().blocks.len();
    let number = |prefix: &str| -> Option<usize> {
        let rest = name.strip_prefix(prefix)?;
        rest.split('.').next()?.parse().ok()
    };
    // Behind the last stage stand the head, the last norm of pre-activation networks and the last 1×1 convolution of others.
    let last_norm = if network.config().block.order.norm_first() { "bn1." } else { "norm." };
    let behind = [network.config().head(), "norm.", "final_conv.", last_norm];
    // torchvision's names count stages from 1, timm's pre-activation networks from 0.
    let stage = match (number("layer"), number("stages.")) {
        (Some(stage), _) => stage,
        (None, Some(stage)) => stage + 1,
        (None, None) if behind.iter().any(|start| name.starts_with(start)) => stages,
        (None, None) => 0,
    };
    stage_decay.powi(stages.saturating_sub(stage) as i32)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use resnet_models::{Parameters, create};

    use super::*;

    #[test]
    fn early_stages_learn_slowly() {
        let network = create("resnet20", Parameters::new(0, DType::F32, &Device::Cpu).builder(), None).unwrap();
        let names = ["conv1.weight", "layer1.0.bn1.bias", "layer2.0.conv1.weight", "layer3.1.conv2.weight", "fc.bias"];
        assert_eq!(names.map(|name| lr_scale(name, &network, 0.5)), [0.125, 0.25, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn what_stands_behind_the_last_stage_learns_as_fast_as_the_head() {
        for (arch, names) in [
            ("resnet33ts", ["final_conv.conv.weight", "final_conv.bn.bias", "head.fc.weight"]),
            ("preact_resnet20", ["bn1.weight", "bn1.bias", "fc.weight"]),
            ("resnetv2_18d", ["norm.weight", "norm.bias", "head.fc.weight"]),
        ] {
            let parameters = Parameters::zeros(DType::F32, &Device::Cpu);
            let network = create(arch, parameters.builder(), None).unwrap();
            for name in names {
                assert!(parameters.get(name).is_some(), "{arch}: {name}");
                assert_eq!(lr_scale(name, &network, 0.5), 1.0, "{arch}: {name}");
            }
        }
    }
}
