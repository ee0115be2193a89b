//! timm's ResNet family: names, parameter counts and logits (golden/timm_family.py), through the fused engine.
//!
//! The larger networks take minutes and gigabytes: they are compared where RESNET_GOLDEN names them, separated by
//! commas, or is `all`.

mod rule;

use std::collections::BTreeMap;

use candle_core::{DType, Device};
use candle_nn::ModuleT;
use resnet_models::{NETWORKS, Parameters, create};
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

#[test]
fn every_network_of_timm_has_a_golden_value() {
    let golden = golden();
    for entry in NETWORKS.iter().filter(|entry| entry.source.starts_with("timm")) {
        assert!(golden.contains_key(entry.name), "{}", entry.name);
    }
    assert!(golden.keys().all(|name| resnet_models::config(name).is_ok()));
}
