//! Blocks in training mode against PyTorch (golden/blocks.py): units of He et al. 2016 written by the paper's figures,
//! and the blocks of timm and torchvision. Outputs, gradients of the input and of every parameter, running statistics.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, Var};
use resnet_blocks::{
    Attention, BlockConfig, BlockOptions, Branch, Layer, Merge, Naming, Order, Parameters, ResidualBlock, ShortcutKind,
};
use resnet_ops::{Backend, Graph, NodeId};
use serde::Deserialize;

#[path = "../../resnet-models/tests/rule/mod.rs"]
mod rule;

use rule::{crc32, filled};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    source: String,
    block: Described,
    loss: f64,
    input: f64,
    parameters: BTreeMap<String, f64>,
    running: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    branch: Branch,
    outputs: usize,
    stride: usize,
    order: Order,
    shortcut: ShortcutKind,
    #[serde(default)]
    merge: Merge,
    #[serde(default)]
    shared: bool,
    inner: Option<usize>,
    groups: Option<usize>,
    attention: Option<Attention>,
    #[serde(default)]
    naming: Naming,
}

impl Described {
    fn config(&self) -> BlockConfig {
        let base = match self.branch {
            Branch::Single | Branch::Basic => BlockConfig::basic(8, self.outputs),
            Branch::Bottleneck(_) => BlockConfig::bottleneck(8, self.outputs),
        };
        let base = self.inner.map_or(base, |inner| base.with_inner(inner));
        BlockConfig {
            branch: self.branch,
            stride: self.stride,
            shared_activation: self.shared,
            groups: self.groups.unwrap_or(1),
            options: BlockOptions {
                order: self.order,
                shortcut: self.shortcut,
                merge: self.merge,
                attention: self.attention,
                naming: self.naming,
                ..BlockOptions::default()
            },
            ..base
        }
    }
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("golden/blocks.json")).unwrap()
}

/// The inner product with the rule's tensor of that name.
fn product(tensor: &Tensor, probe: &str) -> Result<f64> {
    let tensor = tensor.to_dtype(DType::F64)?;
    (&tensor * filled(probe, tensor.dims(), DType::F64))?.sum_all()?.to_scalar()
}

/// Every number of a case, by name, in the order of the file.
fn ours(config: &BlockConfig, dtype: DType, backend: Backend) -> Result<BTreeMap<String, f64>> {
    let parameters = Parameters::zeros(dtype, &Device::Cpu);
    let block = ResidualBlock::new(config, parameters.builder())?;
    for (name, var) in parameters.named() {
        var.set(&filled(&name, var.dims(), dtype))?;
    }
    let mut graph = Graph::builder();
    let output = block.append(&mut graph, NodeId::default());
    let graph = graph.finish(output).with_backend(backend);
    let x = Var::from_tensor(&filled("input", &[3, 8, 6, 5], dtype))?;
    let y = graph.forward_t(x.as_tensor(), true)?;
    let weights = filled("loss", y.dims(), dtype);
    let gradients = (&y * weights)?.sum_all()?.backward()?;
    let gradient = |name: &str, var: &Var| gradients.get(var.as_tensor()).unwrap_or_else(|| panic!("{name}")).clone();
    let mut all = BTreeMap::from([("loss".to_string(), product(&y, "loss")?)]);
    all.insert("input".into(), product(&gradient("input", &x), "probe")?);
    for (name, var) in parameters.trainable() {
        all.insert(name.clone(), product(&gradient(&name, &var), &format!("{name}probe"))?);
    }
    for (name, var) in parameters.named() {
        if name.contains("running_") {
            all.insert(name.clone(), product(var.as_tensor(), &format!("{name}probe"))?);
        }
    }
    Ok(all)
}

fn compare(dtype: DType, backend: Backend, tolerance: f64) -> Result<()> {
    for case in cases() {
        let Case { source, block, loss, input, parameters, running } = &case;
        let mut expected = BTreeMap::from([("loss".to_string(), *loss), ("input".to_string(), *input)]);
        expected.extend(parameters.iter().chain(running).map(|(name, value)| (name.clone(), *value)));
        let ours = ours(&block.config(), dtype, backend)?;
        assert_eq!(ours.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{source}: {block:?}");
        for (name, value) in &ours {
            let (want, error) = (expected[name], (value - expected[name]).abs());
            assert!(error <= tolerance * want.abs().max(1.), "{source}: {block:?}: {name}: {value}, expected {want}");
        }
    }
    Ok(())
}

#[test]
fn blocks_are_those_of_pytorch() -> Result<()> {
    compare(DType::F64, Backend::Reference, 1e-8)
}

#[test]
fn the_fused_engine_gives_them_too() -> Result<()> {
    compare(DType::F32, Backend::Auto, 2e-3)
}

/// What the file must hold: every order and every merge, basic and bottleneck, and what timm and torchvision have.
#[test]
fn every_variant_is_compared() {
    let cases = cases();
    let count = |of: &dyn Fn(&BlockConfig) -> bool| cases.iter().filter(|case| of(&case.block.config())).count();
    for bottleneck in [false, true] {
        let branch = move |c: &BlockConfig| matches!(c.branch, Branch::Bottleneck(_)) == bottleneck;
        for order in Order::ALL {
            for shortcut in [ShortcutKind::A, ShortcutKind::B, ShortcutKind::C] {
                assert!(count(&|c| branch(c) && c.options.order == order && c.options.shortcut == shortcut) >= 2);
            }
            for merge in [
                Merge::Scaled { shortcut: 0., branch: 1. },
                Merge::Scaled { shortcut: 0.5, branch: 1. },
                Merge::Scaled { shortcut: 0.5, branch: 0.5 },
                Merge::ExclusiveGate { bias: -6. },
                Merge::ShortcutGate { bias: 0. },
            ] {
                assert_eq!(
                    count(&|c| branch(c) && c.options.order == order && c.options.merge == merge),
                    2,
                    "{order:?} {merge:?}"
                );
            }
        }
        let attention = |a: &dyn Fn(Attention) -> bool| count(&|c| branch(c) && c.options.attention.is_some_and(a));
        assert_eq!(attention(&|a| matches!(a, Attention::SqueezeExcitation { .. })), 2);
        assert_eq!(attention(&|a| a == Attention::EfficientChannel), 2);
        assert_eq!(count(&|c| branch(c) && c.options.naming == Naming::ResNetV2 && c.groups == 1), 2);
    }
    assert!(count(&|c| c.groups == 4) >= 4 && count(&|c| c.groups == 1 && c.inner == c.outputs / 2) >= 2);
    assert_eq!(crc32("123456789"), 0xCBF4_3926, "the rule's names are hashed as zlib does");
}
