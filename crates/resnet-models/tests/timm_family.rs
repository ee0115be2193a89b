//! timm's ResNet family: names, parameter counts and logits (golden/timm_family.py), through the fused engine.
//!
//! The larger networks take minutes and gigabytes: they are compared where RESNET_GOLDEN names them, separated by
//! commas, or is `all`.

mod rule;

use std::collections::BTreeMap;

use candle_core::{DType, Device};
use candle_nn::ModuleT;
use resnet_models::{NETWORKS, Network, Parameters, config, create};
use rule::{crc32, filled};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    size: usize,
    params: usize,
    names: u32,
    logits: Vec<f32>,
}

fn golden() -> BTreeMap<String, Golden> {
    serde_json::from_str(include_str!("golden/timm_family.json")).unwrap()
}

/// One of every kind of part.
const ALWAYS: &[&str] = &[
    "resnet10t",
    "resnet14t",
    "resnet18d",
    "resnet26t",
    "resnet50s",
    "resnet50_gn",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "seresnet18",
    "ecaresnet26t",
    "resnetblur18",
    "resnetaa34d",
    "resnetrs50",
    "resnetv2_18d",
    "seresnext26ts",
    "eca_resnet33ts",
    "resnetv2_50t",
    "resnetv2_50x1_bit",
    "resnetv2_50d_evos",
    "resnetv2_50d_frn",
    "ecaresnet50d_pruned",
    "ecaresnet101d_pruned",
    "test_resnet",
];

#[test]
fn logits_equal_those_of_timm() {
    let chosen = std::env::var("RESNET_GOLDEN").unwrap_or_default();
    let mut largest = ("", 0f32);
    let all = golden();
    for (name, golden) in &all {
        if chosen != "all" && !chosen.split(',').any(|c| c == name) && !ALWAYS.contains(&name.as_str()) {
            continue;
        }
        let parameters = Parameters::zeros(DType::F32, &Device::Cpu);
        let network = create(name, parameters.builder(), None).unwrap();
        let mut lines: Vec<_> = parameters.named().iter().map(|(n, v)| format!("{n} {:?}", v.dims())).collect();
        lines.sort();
        assert_eq!(crc32(&lines.join("\n")), golden.names, "{name}: names and shapes {lines:#?}");
        let count: usize = parameters.trainable().iter().map(|(_, v)| v.elem_count()).sum();
        assert_eq!(count, golden.params, "{name}: parameters");
        for (parameter, var) in parameters.named() {
            var.set(&filled(&parameter, var.dims(), DType::F32)).unwrap();
        }
        let x = filled("input", &[1, 3, golden.size, golden.size], DType::F32);
        let logits = network.forward_t(&x, false).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let size = golden.logits.iter().fold(0f32, |m, v| m.max(v.abs()));
        let pairs = logits.iter().zip(&golden.logits);
        let error = pairs.map(|(ours, theirs)| (ours - theirs).abs() / size).fold(0f32, f32::max);
        println!("{name}: {error:.1e}");
        assert!(error <= 1e-4, "{name}: off by {error}: {:?}, expected {:?}", &logits[..8], golden.logits);
        largest = if error > largest.1 { (name, error) } else { largest };
    }
    println!("largest difference: {:.1e} ({})", largest.1, largest.0);
    assert!(ALWAYS.iter().all(|name| all.contains_key(*name)));
}

#[derive(Deserialize)]
struct Row {
    name: String,
    arguments: Arguments,
    maps: Vec<[usize; 2]>,
    logits: Vec<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    output_stride: Option<usize>,
    in_chans: Option<usize>,
    num_classes: Option<usize>,
    drop_rate: Option<f64>,
    layers: Option<Vec<usize>>,
}

/// golden/timm_arguments.py: networks made with arguments of timm's `create_model`.
#[test]
fn arguments_of_timm_make_timms_networks() {
    let rows: Vec<Row> = serde_json::from_str(include_str!("golden/timm_arguments.json")).unwrap();
    for Row { name, arguments, maps, logits } in rows {
        let mut config = config(&name).unwrap();
        config.output_stride = arguments.output_stride.unwrap_or(config.output_stride);
        config.in_chans = arguments.in_chans.unwrap_or(config.in_chans);
        config.classes = arguments.num_classes.unwrap_or(config.classes);
        config.drop_rate = arguments.drop_rate.unwrap_or(config.drop_rate);
        config.blocks = arguments.layers.unwrap_or(config.blocks);
        let parameters = Parameters::zeros(DType::F32, &Device::Cpu);
        let network = Network::new(&config, parameters.builder()).unwrap();
        for (parameter, var) in parameters.named() {
            var.set(&filled(&parameter, var.dims(), DType::F32)).unwrap();
        }
        let x = filled("input", &[1, config.in_chans, 75, 75], DType::F32);
        let all: Vec<usize> = (0..maps.len()).collect();
        let found = network.features(&x, &all).unwrap();
        let sizes: Vec<[usize; 2]> = found.iter().map(|map| [map.dims()[2], map.dims()[3]]).collect();
        assert_eq!(sizes, maps, "{name}");
        let ours = network.forward_t(&x, false).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let largest = logits.iter().fold(0f32, |m, v| m.max(v.abs()));
        for (ours, theirs) in ours.iter().zip(&logits) {
            assert!((ours - theirs).abs() <= 1e-4 * largest, "{name}: {ours}, timm has {theirs}");
        }
        if config.drop_rate > 0. {
            let trained = network.forward_t(&x, true).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_ne!(trained, ours, "{name}: dropout acts in training");
        }
    }
}

#[test]
fn every_network_of_timm_has_a_golden_value() {
    let golden = golden();
    for entry in NETWORKS.iter().filter(|entry| entry.source.starts_with("timm")) {
        assert!(golden.contains_key(entry.name), "{}", entry.name);
    }
    assert!(golden.keys().all(|name| resnet_models::config(name).is_ok()));
}
