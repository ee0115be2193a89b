//! Published weights on published data. They are looked for in the folder that `RESNET_TEST_DATA` names.

mod common;

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
