//! Every registered network: builds, trains a step, round-trips its weights; parameters and multiply-adds as published.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::ModuleT;
use resnet_models::weights::{AssignOptions, assign, load, save};
use resnet_models::{NETWORKS, Parameters, create, names, summary};

#[test]
fn every_network_trains_a_step_and_round_trips_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    for entry in NETWORKS {
        let name = entry.name;
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

#[test]
fn unknown_names_suggest_the_nearest() {
    let parameters = Parameters::zeros(DType::F32, &Device::Cpu);
    let error = create("resnet5O", parameters.builder(), None).unwrap_err().to_string();
    assert!(error.contains("'resnet50'"), "{error}");
    assert_eq!(names().len(), NETWORKS.len());
}
