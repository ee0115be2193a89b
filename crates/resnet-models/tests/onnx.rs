//! ONNX files of networks of every family. That ONNX Runtime computes the same is checked by `onnx/check.py`.

use std::collections::BTreeMap;

use candle_core::{DType, Device};
use resnet_models::{Error, Parameters, create, onnx};

#[test]
fn every_family_is_written_with_all_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    let archs = ["resnet20", "preact_resnet20", "resnet18", "resnet26t", "seresnet50", "ecaresnet50t", "resnetv2_50"];
    let others = ["resnetv2_50d_gn", "resnetv2_50d_evos", "resnetv2_50d_frn", "test_resnet"];
    let with = |norm: &'static str| move |arch: &'static str| (arch, norm);
    let norms = ["InstanceNormalization", "ReduceMean", "ReduceMean", "BatchNormalization"];
    for (arch, norm) in archs.into_iter().map(with("BatchNormalization")).chain(others.into_iter().zip(norms)) {
        let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
        let network = create(arch, parameters.builder(), Some(3)).unwrap();
        let path = folder.path().join("net.onnx");
        let metadata = BTreeMap::from([("classes".to_string(), "[\"a\"]".to_string())]);
        onnx::export(&network, &path, network.config().image_size, &metadata).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let weights: usize = parameters.named().iter().map(|(_, var)| var.elem_count() * 4).sum();
        assert!(bytes.len() > weights && bytes.len() < weights + weights / 4 + 100_000, "{arch}: {}", bytes.len());
        let has = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(has(onnx::INPUT) && has(onnx::OUTPUT) && has(norm) && has("Gemm"), "{arch}");
    }
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let network = create("resnet20", Parameters::new(1, DType::F32, &Device::Cpu).builder(), None).unwrap();
    let error = onnx::export(&network, "/nowhere/at/all/net.onnx", 32, &BTreeMap::new()).unwrap_err();
    assert!(matches!(&error, Error::Weights(_)) && error.to_string().contains("/nowhere/at/all/net.onnx"), "{error}");
    assert!(onnx::export(&network, "net.onnx", 0, &BTreeMap::new()).is_err());
}
