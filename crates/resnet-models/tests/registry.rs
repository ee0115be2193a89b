//! Every registered network: builds, trains a step, round-trips its weights; parameters and multiply-adds as published.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::ModuleT;
use resnet_models::weights::{AssignOptions, assign, load, save};
use resnet_models::{
    Attention, BlockOptions, Branch, Config, Merge, NETWORKS, Network, Order, Parameters, ShortcutKind, StrideIn,
    create, names, summary,
};
use resnet_ops::graph::Op;

/// Of timm's networks, those with at most 30 million parameters and one of each kind of part.
const SMALL: &[&str] = &[
    "resnet10t",
    "resnet14t",
    "resnet18d",
    "resnet50_gn",
    "resnext50_32x4d",
    "ecaresnet26t",
    "seresnet18",
    "resnetblur18",
    "resnetaa34d",
    "resnetv2_18d",
    "seresnext26ts",
    "resnet33ts",
    "resnetv2_50x1_bit",
    "resnetv2_50d_evos",
    "resnetv2_50d_frn",
    "ecaresnet50d_pruned",
    "ecaresnet101d_pruned",
    "test_resnet",
];

/// Deeper ones of the same blocks, which only take long.
const DEEP: &[&str] =
    &["resnet101_cifar", "resnet152_cifar", "preact_resnet34", "preact_resnet101", "preact_resnet152"];

#[test]
fn every_network_trains_a_step_and_round_trips_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    for entry in NETWORKS.iter().filter(|entry| !entry.source.starts_with("timm") || SMALL.contains(&entry.name)) {
        let name = entry.name;
        if DEEP.contains(&name) {
            continue;
        }
        let size = if entry.config().image_size == 32 { 16 } else { 64 };
        let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
        let network = create(name, parameters.builder(), Some(5)).unwrap();
        let x: Vec<f32> = (0..2 * 3 * size * size).map(|i| (i % 97) as f32 / 48. - 1.).collect();
        let x = Tensor::from_vec(x, (2, 3, size, size), &Device::Cpu).unwrap();
        let targets = Tensor::new(&[1u32, 3], &Device::Cpu).unwrap();
        let loss = candle_nn::loss::cross_entropy(&network.forward_t(&x, true).unwrap(), &targets).unwrap();
        assert!(loss.to_scalar::<f32>().unwrap().is_finite(), "{name}");
        let gradients = loss.backward().unwrap();
        for (parameter, var) in parameters.trainable() {
            let gradient = gradients.get(var.as_tensor()).unwrap_or_else(|| panic!("{name}: {parameter} has none"));
            let moved = (var.as_detached_tensor() - (gradient * 1e-3).unwrap()).unwrap();
            var.set(&moved).unwrap();
        }
        let logits = network.forward_t(&x, false).unwrap();
        assert_eq!(logits.dims(), [2, 5], "{name}");

        let file = folder.path().join(format!("{name}.safetensors"));
        let tensors: Vec<_> = parameters.named().into_iter().map(|(n, v)| (n, v.as_detached_tensor())).collect();
        save(&file, &tensors, &BTreeMap::new()).unwrap();
        let other = Parameters::zeros(DType::F32, &Device::Cpu);
        let copy = create(name, other.builder(), Some(5)).unwrap();
        assign(&load(&file).unwrap(), &other.named(), &AssignOptions::default()).unwrap();
        for ((parameter, ours), (_, theirs)) in parameters.named().iter().zip(other.named()) {
            let values = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let (ours, theirs) = (values(ours.as_detached_tensor()), values(theirs.as_detached_tensor()));
            assert_eq!(ours, theirs, "{name}: {parameter}");
        }
        // As bits: after one step the running statistics fit so badly that the deepest plain network overflows.
        let bits = |logits: Tensor| -> Vec<u32> {
            logits.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
        };
        assert_eq!(bits(logits), bits(copy.forward_t(&x, false).unwrap()), "{name}");
        std::fs::remove_file(file).unwrap();
    }
}

/// Inference folds what it knows; networks of other operations run as they are.
#[test]
fn inference_equals_evaluation_with_every_norm() {
    let x: Vec<f32> = (0..2 * 3 * 64 * 64).map(|i| (i % 89) as f32 / 44. - 1.).collect();
    let x = Tensor::from_vec(x, (2, 3, 64, 64), &Device::Cpu).unwrap();
    for name in ["resnet10t", "resnetv2_50d_gn", "resnetv2_50d_evos", "resnetv2_50d_frn", "test_resnet"] {
        let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
        let network = create(name, parameters.builder(), Some(5)).unwrap();
        let wanted = network.forward_t(&x, false).unwrap();
        let found = network.into_inference().unwrap().forward(&x).unwrap();
        let largest = |t: Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        let error = largest((found - &wanted).unwrap()) / largest(wanted);
        assert!(error < 1e-4, "{name}: {error}");
    }
}

#[test]
fn pruned_and_mixed_networks_tell_their_widths() {
    for (name, stem, maps) in
        [("ecaresnet50d_pruned", 64, [19, 171, 818, 2022]), ("test_resnet", 32, [32, 48, 192, 96])]
    {
        let config = resnet_models::config(name).unwrap();
        let parameters = Parameters::zeros(DType::F32, &Device::Cpu);
        let network = create(name, parameters.builder(), None).unwrap();
        let x = Tensor::zeros((1, 3, 64, 64), DType::F32, &Device::Cpu).unwrap();
        let widths: Vec<_> = network.features(&x, &[1, 2, 3, 4]).unwrap().iter().map(|m| m.dim(1).unwrap()).collect();
        assert_eq!((config.stem_channels, &widths[..], config.features()), (stem, &maps[..], maps[3]), "{name}");
        // What a checkpoint says of its network makes the same one.
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    }
}

#[test]
fn parameters_are_exact() {
    // torchvision's counts; He et al. 2015, Table 6 to the digits printed there.
    let exact = [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
    ];
    for (name, count) in exact {
        assert_eq!(summary(name, None, (224, 224)).unwrap().parameters, count, "{name}");
    }
    let millions = [("resnet20", 0.27), ("resnet32", 0.46), ("resnet44", 0.66), ("resnet56", 0.85)];
    for (name, printed) in millions {
        let count = summary(name, None, (32, 32)).unwrap().parameters as f64 / 1e6;
        assert!((count - printed).abs() < 0.01, "{name}: {count}");
    }
    for (name, printed) in [("resnet110", 1.7), ("resnet1202", 19.4), ("preact_resnet1001", 10.2)] {
        let count = summary(name, None, (32, 32)).unwrap().parameters as f64 / 1e6;
        assert!((count - printed).abs() < 0.15, "{name}: {count}");
    }
}

/// The table prints one digit, sometimes rounded (7.57 as 7.6) and sometimes cut (3.86 as 3.8).
#[test]
fn multiply_adds_are_those_of_the_table() {
    let mut compared = 0;
    for entry in NETWORKS {
        if let Some(printed) = entry.published_multiply_adds {
            let ours = summary(entry.name, None, (224, 224)).unwrap().multiply_adds as f64 / 1e9;
            let digit = |x: f64| (x * 10.).floor() / 10.;
            let fits = digit(ours) == printed || digit(ours + 0.05) == printed;
            assert!(fits, "{}: {ours}, printed {printed}", entry.name);
            compared += 1;
        }
    }
    assert_eq!(compared, 7);
}

/// Every shortcut and order of He et al. 2016 on basic and bottleneck branches, and what others added to the block.
fn variants() -> Vec<Config> {
    let merges = [
        Merge::Identity,
        Merge::Scaled { shortcut: 0.5, branch: 1. },
        Merge::Scaled { shortcut: 0.5, branch: 0.5 },
        Merge::ExclusiveGate { bias: -6. },
        Merge::ShortcutGate { bias: -6. },
        Merge::Dropout { rate: 0.5 },
    ];
    let (mut all, usual) = (Vec::new(), BlockOptions::default());
    for branch in [Branch::Basic, Branch::Bottleneck(StrideIn::First)] {
        let shortcut = if branch == Branch::Basic { ShortcutKind::A } else { ShortcutKind::B };
        let base =
            Config { branch, drop_path: 0.5, block: BlockOptions { shortcut, ..usual }, ..Config::cifar("variant", 1) };
        for order in Order::ALL {
            let with = |block| Config { block, ..base.clone() };
            all.extend(merges.map(|merge| with(BlockOptions { order, merge, ..base.block })));
            all.push(with(BlockOptions { order, shortcut: ShortcutKind::C, ..base.block }));
            // Closed shortcuts, as a factor of 0 leaves them, would teach a projection nothing.
            let closed = Merge::Scaled { shortcut: 0., branch: 1. };
            all.push(with(BlockOptions { order, merge: closed, shortcut: ShortcutKind::A, ..base.block }));
        }
        let attention = Some(Attention::SqueezeExcitation { reduction: 16 });
        all.push(Config { block: BlockOptions { attention, ..base.block }, ..base.clone() });
        all.push(Config { widths: vec![32, 64, 128], ..base });
    }
    // ResNeXt (Xie et al. 2017), and a bottleneck twice as wide within.
    let bottleneck = Branch::Bottleneck(StrideIn::Middle);
    let base = Config { branch: bottleneck, block: usual, ..Config::cifar("variant", 1) };
    all.push(Config { groups: 4, group_width: 32, ..base.clone() });
    all.push(Config { group_width: 128, ..base });
    all
}

/// The parameters after two steps of gradient descent from fresh weights.
fn trained(config: &Config) -> (Network, Parameters) {
    let x = variant_images();
    let targets = Tensor::new(&[1u32, 3, 5, 7], &Device::Cpu).unwrap();
    let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
    let network = Network::new(config, parameters.builder()).unwrap();
    for step in 0..2 {
        network.dropout_rng().set(5, step);
        let logits = network.forward_t(&x, true).unwrap();
        let gradients = candle_nn::loss::cross_entropy(&logits, &targets).unwrap().backward().unwrap();
        for (name, var) in parameters.trainable() {
            let gradient = gradients.get(var.as_tensor()).unwrap_or_else(|| panic!("{config:?}: {name}"));
            var.set(&(var.as_detached_tensor() - (gradient * 0.01).unwrap()).unwrap()).unwrap();
        }
    }
    (network, parameters)
}

fn variant_images() -> Tensor {
    let x: Vec<f32> = (0..4 * 3 * 16 * 16).map(|i| (i % 89) as f32 / 44. - 1.).collect();
    Tensor::from_vec(x, (4, 3, 16, 16), &Device::Cpu).unwrap()
}

/// Finite values, as bits.
fn bits(tensor: &Tensor) -> Vec<u32> {
    let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(|value| if value.is_finite() { value.to_bits() } else { panic!("{value}") }).collect()
}

#[test]
fn every_variant_of_a_block_trains_repeats_and_round_trips_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("variant.safetensors");
    for config in variants() {
        let (network, parameters) = trained(&config);
        let all = |p: &Parameters| -> Vec<(String, Vec<u32>)> {
            p.named().iter().map(|(name, var)| (name.clone(), bits(var))).collect()
        };
        assert_eq!(all(&parameters), all(&trained(&config).1), "{config:?}");
        let fresh = Parameters::new(1, DType::F32, &Device::Cpu);
        let _ = Network::new(&config, fresh.builder()).unwrap();
        for (name, var) in parameters.trainable() {
            assert_ne!(bits(&var), bits(&fresh.get(&name).unwrap()), "{config:?}: {name} has not moved");
        }

        let tensors: Vec<_> = parameters.named().into_iter().map(|(n, v)| (n, v.as_detached_tensor())).collect();
        save(&file, &tensors, &BTreeMap::new()).unwrap();
        let other = Parameters::zeros(DType::F32, &Device::Cpu);
        let text = serde_json::to_string(&config).unwrap();
        let copy = Network::new(&serde_json::from_str(&text).unwrap(), other.builder()).unwrap();
        assert_eq!(copy.config(), &config);
        assign(&load(&file).unwrap(), &other.named(), &AssignOptions::default()).unwrap();
        assert_eq!(all(&other), all(&parameters), "{config:?}");
        let logits = |network: &Network| bits(&network.forward_t(&variant_images(), false).unwrap());
        assert_eq!(logits(&copy), logits(&network), "{config:?}");
    }
}

#[test]
fn what_follows_a_dot_names_weights() {
    assert_eq!(resnet_models::config("gluon_resnet50_v1d").unwrap().name, "resnet50d");
    assert_eq!(resnet_models::config("resnet50.a1_in1k").unwrap().name, "resnet50");
    assert!(resnet_models::config(".a1_in1k").is_err());
}

#[test]
fn stochastic_depth_grows_linearly_to_the_last_block() {
    let rates: Vec<f64> = Config { drop_path: 0.5, ..Config::cifar("x", 3) }
        .block_configs()
        .iter()
        .map(|(_, block)| block.drop_path)
        .collect();
    let expected: Vec<f64> = (1..=9).map(|l| 0.5 * l as f64 / 9.).collect();
    assert_eq!(rates, expected);
}

#[test]
fn features_are_the_maps_within_the_network() {
    let x: Vec<f32> = (0..2 * 3 * 64 * 64).map(|i| (i % 89) as f32 / 44. - 1.).collect();
    let x = Tensor::from_vec(x, (2, 3, 64, 64), &Device::Cpu).unwrap();
    for name in ["resnet18", "resnetv2_18d", "resnetrs50"] {
        let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
        let network = create(name, parameters.builder(), Some(5)).unwrap();
        let maps = network.features(&x, &[4, 1, 2, 3]).unwrap();
        let sizes: Vec<_> = maps.iter().map(|map| map.dim(2).unwrap()).collect();
        assert_eq!(sizes, [2, 16, 8, 4], "{name}");
        assert_eq!(maps[0].dim(1).unwrap(), network.config().features(), "{name}");
        if name == "resnet18" {
            // What the head sees.
            let pooled = maps[0].mean((2, 3)).unwrap();
            let weight = parameters.get("fc.weight").unwrap().as_detached_tensor();
            let bias = parameters.get("fc.bias").unwrap().as_detached_tensor();
            let logits = pooled.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
            let difference = (logits - network.forward_t(&x, false).unwrap()).unwrap().abs().unwrap();
            assert!(difference.max_all().unwrap().to_scalar::<f32>().unwrap() < 1e-5);
        }
        assert_eq!(network.features(&x, &[0]).unwrap()[0].dims()[2..], [32, 32], "{name}: before the pooling");
        assert!(network.features(&x, &[5]).is_err());
        // In training the statistics are the batch's, which those of evaluation are not yet.
        let trained = network.features_t(&x, &[4], true).unwrap();
        let difference = (&trained[0] - &maps[0]).unwrap().abs().unwrap().max_all().unwrap();
        assert!(difference.to_scalar::<f32>().unwrap() > 1e-3, "{name}");
    }
}

#[test]
fn unknown_names_suggest_the_nearest() {
    let parameters = Parameters::zeros(DType::F32, &Device::Cpu);
    let error = create("resnet5O", parameters.builder(), None).unwrap_err().to_string();
    assert!(error.contains("'resnet50'"), "{error}");
    assert_eq!(names().len(), NETWORKS.len());
}

/// He et al. 2016, Fig. 4 and appendix: the orders of convolution (C), norm (N), ReLU (R) and addition (A) in three units,
/// after the stem and before the head. Where units begin with an activation, the first one's stands before the network
/// splits into two paths, and the last one's output has an activation of its own.
#[test]
fn orders_are_those_of_figure_four() {
    for (order, expected) in [
        (Order::Original, "CNR CNRCNAR CNRCNAR CNRCNAR"),
        (Order::NormAfterAddition, "CNR CNRCANR CNRCANR CNRCANR"),
        (Order::ReluBeforeAddition, "CNR CNRCNRA CNRCNRA CNRCNRA"),
        (Order::ReluPreActivation, "CN RCNRCNA RCNRCNA RCNRCNA R"),
        (Order::PreActivation, "C NRCNRCA NRCNRCA NRCNRCA NR"),
    ] {
        let cifar = Config::cifar("order", 1);
        let config = Config { block: BlockOptions { order, ..cifar.block }, ..cifar };
        let network = Network::new(&config, Parameters::zeros(DType::F32, &Device::Cpu).builder()).unwrap();
        let letters = network.graph().nodes().iter().filter_map(|node| match node.op {
            Op::Conv { .. } => Some('C'),
            Op::Norm(_) => Some('N'),
            Op::Relu => Some('R'),
            Op::Add => Some('A'),
            _ => None,
        });
        assert_eq!(letters.collect::<String>(), expected.replace(' ', ""), "{order:?}");
        // The first unit's shortcut begins after that activation.
        let nodes = network.graph().nodes();
        let first = nodes.iter().find(|node| matches!(node.op, Op::Add)).unwrap();
        let around = &nodes[first.inputs[1].index()].op;
        assert!(matches!(around, Op::Relu), "{order:?}: {around:?}");
    }
}
