//! Ten crops, many scales and batch-norm re-estimation against torchvision and PyTorch (golden/protocols.py).

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device};
use resnet_data::{Image, InMemory, Loader, LoaderConfig, Normalize, Transform};
use resnet_models::{Network, Parameters, create};
use resnet_train::multi_crop::{Crop, MultiCrop};
use resnet_train::trainer::{Silent, reestimate_statistics};
use serde::Deserialize;

#[path = "../../resnet-models/tests/rule/mod.rs"]
mod rule;

use rule::{crc32, filled};

#[derive(Deserialize)]
struct Golden {
    ten: Vec<Vec<f32>>,
    multiscale: Vec<Vec<f32>>,
    statistics: BTreeMap<String, f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/protocols.json")).unwrap()
}

/// A wave in each channel, of another length in each image.
fn image(index: usize, height: usize, width: usize) -> Image {
    let i = index as f64;
    let value = |y: usize, x: usize, c: usize| {
        let phase = 0.05 * (1. + i) * x as f64 + 0.07 * (1. + c as f64) * y as f64 + i;
        (128. + 100. * phase.sin()).floor() as u8
    };
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    let pixels = places.flat_map(|(y, x)| [0, 1, 2].map(|c| value(y, x, c))).collect();
    Image { height, width, pixels }
}

fn network() -> (Network, Parameters) {
    let parameters = Parameters::zeros(DType::F32, &Device::Cpu);
    let network = create("resnet18", parameters.builder(), Some(10)).unwrap();
    for (name, var) in parameters.named() {
        var.set(&filled(&name, var.dims(), DType::F32)).unwrap();
    }
    (network, parameters)
}

fn normalize() -> Normalize {
    Normalize::channel([0.5; 3], [0.25; 3])
}

#[test]
fn many_views_are_those_of_torchvision() {
    let (network, _) = network();
    let golden = golden();
    for (crop, expected) in [(Crop::Ten, &golden.ten), (Crop::Multiscale, &golden.multiscale)] {
        let crops = MultiCrop::new(crop, 56, &normalize()).unwrap();
        assert_eq!(expected.len(), 4);
        for (i, expected) in expected.iter().enumerate() {
            let scores = crops.log_probabilities(&network, &image(i, 70 + 3 * i, 100), &Device::Cpu).unwrap();
            let ours = scores.exp().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(ours.len(), expected.len());
            for (ours, theirs) in ours.iter().zip(expected) {
                // A middle crop one pixel aside is off by 4e-5 to 1.2e-4.
                assert!((ours - theirs).abs() < 2e-5, "{crop}, image {i}: {ours}, expected {theirs}");
            }
        }
    }
}

#[test]
fn reestimated_statistics_are_those_of_update_bn() {
    let (network, parameters) = network();
    let pixels = (0..24).flat_map(|i| image(i, 56, 56).pixels).collect();
    let set = InMemory::new("waves", (56, 56), pixels, vec![0; 24], vec!["wave".into()]).unwrap();
    let config = LoaderConfig { batch_size: 8, ..LoaderConfig::default() };
    let loader = Loader::new(Arc::new(set), Transform::plain(normalize()).unwrap(), config).unwrap();
    reestimate_statistics(&network, &loader, &Device::Cpu, &mut Silent).unwrap();
    let golden = golden().statistics;
    assert_eq!(golden.len(), 2 * 20, "mean and variance of every norm");
    for (name, expected) in golden {
        let values = parameters.get(&name).unwrap().as_detached_tensor().to_dtype(DType::F64).unwrap();
        let probe = filled(&format!("{name}probe"), values.dims(), DType::F64);
        let ours: f64 = (values * probe).unwrap().sum_all().unwrap().to_scalar().unwrap();
        assert!((ours - expected).abs() < 1e-3 * expected.abs().max(1.), "{name}: {ours}, expected {expected}");
    }
    assert_eq!(crc32("123456789"), 0xCBF4_3926, "the rule's names are hashed as zlib does");
}
