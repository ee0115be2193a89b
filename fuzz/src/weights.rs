//! Weights, and what lies beside them.

use std::collections::BTreeMap;

use resnet_models::weights::{self, LoadOptions};
use resnet_models::{PretrainedOptions, from_pretrained_with};

use crate::{one_line, scratch};

/// A file of weights, of whatever format its bytes say.
pub fn file(bytes: &[u8]) {
    for keep_names in [false, true] {
        let options = LoadOptions { keep_names, ..LoadOptions::default() };
        match weights::load_bytes(bytes, "fuzzed.pth", &options) {
            Ok(checkpoint) => assert!(checkpoint.tensors.values().all(|tensor| tensor.is_contiguous())),
            Err(error) => one_line(&error),
        }
    }
}

/// PyTorch's old form around a pickle: magic number, version and system come before it.
pub fn pickle(bytes: &[u8]) {
    let mut whole = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    whole.extend(b"\x80\x02}q\x00X\x10\x00\x00\x00protocol_versionq\x01M\xe9\x03s.");
    whole.extend(bytes);
    file(&whole);
}

/// What the trainer writes beside its weights, from others: a value for each key, divided by line feeds.
pub fn metadata(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let keys = [
        "arch",
        "classes",
        "normalize",
        "config",
        "network",
        "preprocessing",
        "dataset",
        "division",
        "model_card",
        "outputs",
        "recipe",
        "step",
    ];
    let pairs = keys.iter().zip(text.split('\n'));
    let metadata: BTreeMap<String, String> =
        pairs.filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_string(), value.to_owned())).collect();
    let path = scratch::file("metadata/w.safetensors", &with_metadata(&metadata));
    load(&path.display().to_string());
}

/// `config.json` of a repository.
pub fn hub_config(bytes: &[u8]) {
    repository("config.json", bytes);
}

/// `preprocessor_config.json` of a repository.
pub fn preprocessor(bytes: &[u8]) {
    let config = br#"{"model_type":"resnet","architectures":["ResNetForImageClassification"],"depths":[1,1,1,1],
        "hidden_sizes":[4,4,4,4],"embedding_size":4,"layer_type":"basic","hidden_act":"relu","num_channels":3}"#;
    scratch::file("preprocessor_config.json/config.json", config);
    repository("preprocessor_config.json", bytes);
}

fn repository(name: &str, bytes: &[u8]) {
    let path = scratch::file(&format!("{name}/{name}"), bytes);
    scratch::file(&format!("{name}/model.safetensors"), &with_metadata(&BTreeMap::new()));
    load(&path.with_file_name("").display().to_string());
}

fn load(name: &str) {
    match from_pretrained_with(name, &PretrainedOptions::default(), &mut ()) {
        Ok(loaded) => drop(loaded.preprocessing.map(|preprocessing| preprocessing.transform())),
        Err(error) => one_line(&error),
    }
}

/// A safetensors file of a head alone, with metadata.
fn with_metadata(metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let header = serde_json::json!({
        "__metadata__": metadata,
        "fc.weight": { "dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32] },
        "fc.bias": { "dtype": "F32", "shape": [2], "data_offsets": [32, 40] },
    })
    .to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend([0; 40]);
    bytes
}
