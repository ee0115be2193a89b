//! Published weights on published data. They are looked for in the folder that `RESNET_TEST_DATA` names.

mod common;
#[path = "../../../crates/resnet-models/tests/rule/mod.rs"]
mod rule;

use std::path::PathBuf;

use common::{json, text};

/// A file or folder of the test data, or `None`, said aloud, where it is not there.
fn test_data(path: &str) -> Option<PathBuf> {
    let found = std::env::var_os("RESNET_TEST_DATA").map(|root| PathBuf::from(root).join(path));
    let found = found.filter(|path| path.exists());
    if found.is_none() {
        println!("skipped: no {path} in RESNET_TEST_DATA");
    }
    found
}

/// The number of CIFAR-10's test images that PyTorch classifies right with the same weights.
fn evaluates_to(arch: &str, file: &str, correct: u64) {
    let (Some(weights), Some(data)) = (test_data(&format!("weights/{file}")), test_data("cifar-10-batches-bin")) else {
        return;
    };
    let arguments = ["eval", "--arch", arch, "--weights", text(&weights), "--dataset", "cifar10"];
    let normalisation = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"];
    let objects = json(&[&arguments[..], &["--data-dir", text(&data)], &normalisation].concat());
    assert_eq!((objects[0]["images"].as_u64(), objects[0]["correct"].as_u64()), (Some(10_000), Some(correct)));
}

#[test]
fn resnet20_gets_as_many_right_as_in_pytorch() {
    evaluates_to("resnet20", "resnet20-12fca82f.th", 9173);
}

#[test]
fn resnet32_gets_as_many_right_as_in_pytorch() {
    evaluates_to("resnet32", "resnet32-d509ac18.th", 9263);
}

#[test]
fn photos_of_every_size_are_classified() {
    let Some(photos) = test_data("imagenet-sample") else { return };
    let folder = tempfile::tempdir().unwrap();
    let weights = common::weights_file(folder.path(), "resnet18", None);
    let mut images: Vec<PathBuf> = std::fs::read_dir(photos)
        .unwrap()
        .take(3)
        .map(|class| std::fs::read_dir(class.unwrap().path()).unwrap().next().unwrap().unwrap().path())
        .collect();
    images.sort();
    let mut arguments = vec!["predict", "--arch", "resnet18", "--weights", text(&weights), "--top-k", "2"];
    arguments.extend(images.iter().map(|path| text(path)));
    let objects = json(&arguments);
    assert_eq!(objects.len(), images.len());
    let names = resnet_data::imagenet::names();
    for guess in objects.iter().flat_map(|object| object["top"].as_array().unwrap()) {
        assert_eq!(guess["label"], names[guess["index"].as_u64().unwrap() as usize]);
    }
}

/// timm's answers for the hundred photos, with the same weights (`golden/top5.py`).
#[test]
fn the_five_classes_of_every_photo_are_timms() {
    let Some(photos) = test_data("imagenet-sample") else { return };
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/top5.json")).unwrap();
    let golden = golden.as_object().unwrap();
    let numbers = |value: &serde_json::Value| -> Vec<f32> {
        value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    let weights = common::weights_file_with(folder.path(), "resnet18", None, |name, tensor| match name {
        "fc.bias" => candle_core::Tensor::new(numbers(&golden["bias"]), tensor.device()).unwrap(),
        _ => rule::filled(name, tensor.dims(), tensor.dtype()),
    });
    // The shape of a repository of timm's.
    std::fs::rename(weights, folder.path().join("model.safetensors")).unwrap();
    let config = r#"{"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": {"input_size": [3, 224, 224],
        "interpolation": "bicubic", "crop_pct": 0.95, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}"#;
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let found = json(&["predict", "--hub", text(folder.path()), "--top-k", "5", "--logits", text(&photos)]);
    assert_eq!(found.len() + 1, golden.len());
    let mut swapped = 0;
    for object in &found {
        let image = object["image"].as_str().unwrap();
        let (name, want) = golden.iter().find(|(name, _)| image.ends_with(name.as_str())).unwrap();
        let top: Vec<u64> =
            object["top"].as_array().unwrap().iter().map(|guess| guess["index"].as_u64().unwrap()).collect();
        let (theirs, logits) = (&want["top"], numbers(&want["logits"]));
        let own = numbers(&object["logits"]);
        for (place, index) in theirs.as_array().unwrap().iter().enumerate() {
            let index = index.as_u64().unwrap();
            // A pixel may differ by 1/255, and a logit by what that makes of it.
            let off = (own[index as usize] - logits[place]).abs();
            assert!(off < 0.01 * logits[0].abs(), "{name}: class {index} is off by {off}");
            if top[place] != index {
                let gap = logits[place] - logits[place + 1];
                let gap = if place > 0 { gap.min(logits[place - 1] - logits[place]) } else { gap };
                assert!(gap < 0.01 * logits[0].abs(), "{name}: {top:?}, in timm {theirs}");
                swapped += 1;
            }
        }
    }
    println!("{} photos, {swapped} of {} places swapped with a neighbour as good", found.len(), 5 * found.len());
    assert!(swapped <= 10, "{swapped} classes stand in another place");
}
