//! One small network in the forms that other projects write, made by torch (foreign/make.py): found, read, and computed
//! as torch computes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::ModuleT;
use resnet_models::hub::NewHead;
use resnet_models::weights::{self, LoadOptions};
use resnet_models::{Config, Error, Parameters, Pretrained, PretrainedOptions, Stem, from_pretrained_with};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name)
}

fn tiny() -> Config {
    Config {
        name: "tiny".into(),
        stem_channels: 2,
        blocks: vec![1; 4],
        widths: vec![2, 3, 3, 4],
        classes: 3,
        ..Config::default()
    }
}

fn read(name: &str, change: impl FnOnce(&mut PretrainedOptions)) -> Result<Pretrained, Error> {
    let mut options = PretrainedOptions { config: Some(tiny()), ..PretrainedOptions::default() };
    change(&mut options);
    from_pretrained_with(&file(name).display().to_string(), &options, &mut ())
}

fn plain(name: &str) -> Pretrained {
    read(name, |_| ()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn images(channels: usize) -> Tensor {
    let values: Vec<f32> = (0..channels * 32 * 32).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    Tensor::from_vec(values, (1, channels, 32, 32), &Device::Cpu).unwrap()
}

fn output(loaded: &Pretrained) -> Vec<f32> {
    let images = images(loaded.network.config().in_chans);
    loaded.network.forward_t(&images, false).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Of torch.
fn expected(key: &str) -> Vec<f32> {
    let text = std::fs::read_to_string(file("expected.json")).unwrap();
    let all: BTreeMap<String, Vec<f32>> = serde_json::from_str(&text).unwrap();
    all[key].clone()
}

fn near(name: &str, found: &[f32], key: &str, tolerance: f32) {
    let wanted = expected(key);
    let far = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(found.len() == wanted.len() && far <= tolerance, "{name}: {found:?}, {key} of torch {wanted:?}");
}

fn says(loaded: &Pretrained, parts: &[&str]) {
    let notes = loaded.notes.join("\n");
    assert!(parts.iter().all(|part| notes.contains(part)), "{parts:?} are not in: {notes}");
}

#[test]
fn networks_with_their_heads_wherever_these_stand() {
    for name in ["plain.pth", "lightning.ckpt", "fc_sequential.pth", "openmmlab.pth"] {
        near(name, &output(&plain(name)), "logits", 1e-5);
    }
    says(&plain("lightning.ckpt"), &["left alone", "criterion.weight", "val_acc.confmat"]);
    says(&plain("openmmlab.pth"), &["ema_*"]);
    assert_eq!(plain("openmmlab.pth").classes.unwrap(), ["ant", "bee", "cat"]);
    assert!(plain("plain.pth").notes.is_empty());
}

#[test]
fn networks_without_heads_give_features() {
    for name in ["moco.pth", "dino.pth", "fastai.pth", "children.pth", "detectron2.pkl"] {
        let loaded = plain(name);
        assert_eq!(loaded.network.config().classes, 0, "{name}");
        near(name, &output(&loaded), "features", 1e-5);
    }
    says(&plain("moco.pth"), &["module.encoder_k", "module.queue", "--prefix module.encoder_k"]);
    says(&plain("dino.pth"), &["--entry student", "head.*"]);
    let fastai = plain("fastai.pth");
    assert!(fastai.other_head.unwrap().contains("3 layers"));
}

#[test]
fn another_of_several_is_taken_where_it_is_asked_for() {
    let prefix = |name: &str, prefix: &str| read(name, |o| o.prefix = Some(prefix.into())).unwrap();
    near("moco", &output(&prefix("moco.pth", "module.encoder_k")), "other_features", 1e-5);
    near("moco", &output(&prefix("moco.pth", "encoder_k.")), "other_features", 1e-5);
    let student = read("dino.pth", |o| o.entry = Some("student".into())).unwrap();
    near("dino", &output(&student), "other_features", 1e-5);
    // timm's own programs take the average.
    let average = plain("timm.pth.tar");
    near("timm", &output(&average), "other_logits", 1e-5);
    says(&average, &["--entry state_dict"]);
    near("timm", &output(&read("timm.pth.tar", |o| o.entry = Some("state_dict".into())).unwrap()), "logits", 1e-5);
    let error = read("moco.pth", |o| o.prefix = Some("encoder_x".into())).err().unwrap().to_string();
    assert!(error.contains("moco.pth") && error.contains("encoder_x") && error.contains("module"), "{error}");
    let error = read("timm.pth.tar", |o| o.entry = Some("state".into())).err().unwrap().to_string();
    assert!(error.contains("state_dict"), "{error}");
}

#[test]
fn whole_modules_are_read_without_running_anything() {
    for name in ["whole_module.pt", "whole_module_legacy.pt"] {
        near(name, &output(&plain(name)), "logits", 1e-5);
    }
    let half = plain("module_in_dict.pt");
    near("module_in_dict.pt", &output(&half), "logits", 2e-2);
    near(
        "by its entry",
        &output(&read("module_in_dict.pt", |o| o.entry = Some("model".into())).unwrap()),
        "logits",
        2e-2,
    );
}

#[test]
fn a_whole_module_of_other_strides_or_norms_is_refused() {
    let whole = std::fs::read(file("whole_module_legacy.pt")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.pt");
    let find = |bytes: &[u8], from: usize, what: &[u8]| {
        from + bytes[from..].windows(what.len()).position(|window| window == what).unwrap()
    };
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let options = PretrainedOptions { config: Some(tiny()), ..PretrainedOptions::default() };
        from_pretrained_with(&path.display().to_string(), &options, &mut ()).err().unwrap().to_string()
    };
    let conv = find(&whole, find(&whole, 0, b"conv1"), b"stride");
    let mut strided = whole.clone();
    let at = find(&whole, conv, b"K\x02K\x02\x86");
    strided[at..at + 4].copy_from_slice(b"K\x01K\x01");
    let error = refused(&strided);
    assert!(error.contains("changed.pt: its conv1 has stride 1, tiny's has stride 2"), "{error}");
    let mut soft = whole.clone();
    let at = find(&whole, find(&whole, 0, b"eps"), &1e-5f64.to_be_bytes());
    soft[at..at + 8].copy_from_slice(&1e-3f64.to_be_bytes());
    let error = refused(&soft);
    assert!(error.contains("its bn1 has eps 0.001, tiny's has eps 0.00001"), "{error}");
    let notes = weights::load(&path).unwrap().remarks().join("\n");
    assert!(notes.contains("bn1 has eps 0.001"), "{notes}");
    let mut dropped = whole;
    let at = find(&dropped, 0, b"pooling\nMaxPool2d\n") + 8;
    dropped[at..at + 9].copy_from_slice(b"Identity\n");
    dropped.remove(at + 9);
    let error = refused(&dropped);
    assert!(error.contains("its maxpool has no pooling (Identity), tiny's has a max pooling"), "{error}");
}

#[test]
fn parametrized_and_folded_networks_are_computed() {
    near("parametrized", &output(&plain("parametrized.pth")), "parametrized", 1e-4);
    let folded = plain("folded.pth");
    near("folded", &output(&folded), "folded", 1e-4);
    says(&folded, &["folded"]);
}

#[test]
fn shapes_tell_channels_and_the_cifar_form() {
    let grey = plain("grey_biased.pth");
    assert_eq!(grey.network.config().in_chans, 1);
    near("grey_biased", &output(&grey), "grey_biased", 1e-4);
    says(&grey, &["1 channel", "biases"]);
    let cifar = plain("cifar.pth");
    assert_eq!((cifar.network.config().stem, cifar.network.config().image_size), (Stem::Cifar, 32));
    near("cifar", &output(&cifar), "cifar", 1e-4);
    says(&cifar, &["CIFAR form", "3x3"]);
}

#[test]
fn a_new_head_takes_the_place_of_any() {
    for name in ["fastai.pth", "moco.pth", "plain.pth"] {
        let loaded = read(name, |o| o.new_head = Some(NewHead { classes: 5, seed: 1 })).unwrap();
        assert_eq!(loaded.network.config().classes, 5, "{name}");
        let features = loaded.network.embedding().unwrap().forward_t(&images(3), false).unwrap();
        near(name, &features.flatten_all().unwrap().to_vec1::<f32>().unwrap(), "features", 1e-5);
    }
}

#[test]
fn what_is_loaded_is_written_clean() {
    let folder = tempfile::tempdir().unwrap();
    for (name, count) in [("moco.pth", 0), ("dino.pth", 0), ("openmmlab.pth", 2), ("parametrized.pth", 2)] {
        let checkpoint = weights::load(file(name)).unwrap();
        let names: Vec<&String> = checkpoint.tensors.keys().collect();
        assert!(
            names.iter().all(|name| ["conv1", "bn1", "layer", "fc."].iter().any(|root| name.starts_with(root))),
            "{names:?}"
        );
        assert_eq!(names.iter().filter(|name| name.starts_with("fc.")).count(), count, "{name}");
        let path = folder.path().join("clean.safetensors");
        let tensors: Vec<(String, Tensor)> = checkpoint.tensors.clone().into_iter().collect();
        weights::save(&path, &tensors, &BTreeMap::new()).unwrap();
        let options = PretrainedOptions { config: Some(tiny()), ..PretrainedOptions::default() };
        let clean = from_pretrained_with(&path.display().to_string(), &options, &mut ()).unwrap();
        assert!(clean.notes.is_empty(), "{name}: {:?}", clean.notes);
        assert_eq!(output(&clean), output(&plain(name)), "{name}");
    }
}

#[test]
fn what_a_configuration_says_of_classes_is_compared_with_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let parameters = Parameters::new(1, DType::F32, &Device::Cpu);
    resnet_models::create("resnet20", parameters.builder(), Some(3)).unwrap();
    let tensors: Vec<(String, Tensor)> =
        parameters.named().into_iter().map(|(name, var)| (name, var.as_tensor().clone())).collect();
    weights::save(folder.path().join("model.safetensors"), &tensors, &BTreeMap::new()).unwrap();
    let notes = |config: &str| {
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        resnet_models::from_pretrained(&folder.path().display().to_string()).unwrap().notes.join("; ")
    };
    assert_eq!(notes(r#"{"architecture": "resnet20", "num_classes": 3, "label_names": ["a", "b", "c"]}"#), "");
    let said = notes(r#"{"architecture": "resnet20", "num_classes": 5}"#);
    assert!(said.contains("has 5 classes, its head 3"), "{said}");
    let said = notes(r#"{"architecture": "resnet20", "num_classes": 3, "label_names": ["a", "b"]}"#);
    assert!(said.contains("names 2 of 3 classes"), "{said}");
}

#[test]
fn a_long_name_of_a_network_is_cut_and_its_file_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let tensor = Tensor::zeros((2, 4), DType::F32, &Device::Cpu).unwrap();
    let metadata = [("arch", "x".repeat(10_000)), ("classes", "[]".into()), ("normalize", "{}".into())];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
    weights::save(&path, &[("fc.weight".into(), tensor)], &metadata).unwrap();
    let error = resnet_models::from_pretrained(&path.display().to_string()).err().unwrap().to_string();
    assert!(
        error.contains("w.safetensors: its metadata \"arch\": unknown network 'xx") && error.len() < 300,
        "{error}"
    );
}

#[test]
fn networks_of_other_libraries_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let whole = weights::load(file("plain.pth")).unwrap();
    let path = folder.path().join("changed.safetensors");
    let with = |rename: &dyn Fn(&str) -> String, extra: &[&str]| {
        let zeros = |name: &&str| ((*name).to_owned(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
        let renamed = whole.tensors.iter().map(|(name, tensor)| (rename(name), tensor.clone()));
        let tensors: Vec<(String, Tensor)> = renamed.chain(extra.iter().map(zeros)).collect();
        weights::save(&path, &tensors, &BTreeMap::new()).unwrap();
        let options = PretrainedOptions { config: Some(tiny()), ..PretrainedOptions::default() };
        from_pretrained_with(&path.display().to_string(), &options, &mut ())
    };
    let refused = |rename: &dyn Fn(&str) -> String, extra: &[&str], word: &str| {
        let error = with(rename, extra).err().unwrap().to_string();
        assert!(error.contains("changed.safetensors") && error.contains(word), "{error}");
    };
    let paddle = |name: &str| name.replace("running_mean", "_mean").replace("running_var", "_variance");
    refused(&paddle, &[], "PaddlePaddle");
    refused(&|name| name.replace("fc.weight", "fc.scale"), &["fc.zero_point"], "quantized");
    for layer in ["layer1.0.conv1", "layer3.0.conv2"] {
        let weight = format!("{layer}.parametrizations.weight.original");
        refused(
            &|name| name.replace(&format!("{layer}.weight"), &weight),
            &[],
            "remove_parametrizations(MODULE, 'weight')",
        );
    }
    // Of a projector it does not matter.
    assert!(with(&str::to_owned, &["projector.parametrizations.weight.original"]).is_ok());
}

#[test]
fn half_a_network_is_never_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let whole = weights::load(file("plain.pth")).unwrap();
    let with = |change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let mut tensors = whole.tensors.clone();
        change(&mut tensors);
        let tensors: Vec<(String, Tensor)> = tensors.into_iter().collect();
        let path = folder.path().join("changed.safetensors");
        weights::save(&path, &tensors, &BTreeMap::new()).unwrap();
        let options = PretrainedOptions { config: Some(tiny()), ..PretrainedOptions::default() };
        from_pretrained_with(&path.display().to_string(), &options, &mut ()).err().unwrap().to_string()
    };
    let zeros = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
    let error = with(&|tensors| drop(tensors.remove("layer3.0.conv2.weight")));
    assert!(error.contains("1 missing: layer3.0.conv2.weight"), "{error}");
    let error = with(&|tensors| drop(tensors.insert("layer3.0.conv3.weight".into(), zeros(&[1]))));
    assert!(error.contains("1 unexpected: layer3.0.conv3.weight"), "{error}");
    let error = with(&|tensors| drop(tensors.insert("relu.weight".into(), zeros(&[2]))));
    assert!(error.contains("unexpected: relu.weight"), "{error}");
    let error = with(&|tensors| drop(tensors.insert("layer3.0.bn1.weight".into(), zeros(&[9]))));
    assert!(error.contains("1 misshapen: layer3.0.bn1.weight"), "{error}");
    let error = with(&|tensors| tensors.retain(|name, _| !name.contains("running_")));
    assert!(error.contains("track_running_stats"), "{error}");
    let error = with(&|tensors| drop(tensors.insert("attnpool.positional_embedding".into(), zeros(&[2]))));
    assert!(error.contains("CLIP"), "{error}");
}

#[test]
fn weights_in_several_files_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    let whole = weights::load(file("plain.pth")).unwrap();
    let names: Vec<&String> = whole.tensors.keys().collect();
    let mut map = BTreeMap::new();
    for (number, part) in names.chunks(names.len().div_ceil(2)).enumerate() {
        let name = format!("model-{:05}-of-00002.safetensors", number + 1);
        let tensors: Vec<(String, Tensor)> = part.iter().map(|n| ((*n).clone(), whole.tensors[*n].clone())).collect();
        weights::save(folder.path().join(&name), &tensors, &BTreeMap::new()).unwrap();
        part.iter().for_each(|n| drop(map.insert((*n).clone(), name.clone())));
    }
    // Without an index, too.
    assert_eq!(weights::load(folder.path()).unwrap().tensors.len(), whole.tensors.len());
    let options = PretrainedOptions { config: Some(tiny()), ..PretrainedOptions::default() };
    let here = folder.path().display().to_string();
    assert_eq!(output(&from_pretrained_with(&here, &options, &mut ()).unwrap()), output(&plain("plain.pth")));
    let index = folder.path().join("model.safetensors.index.json");
    let json = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    // A byte order mark is no content.
    std::fs::write(&index, format!("\u{feff}{json}")).unwrap();
    for path in [index.as_path(), folder.path()] {
        let joined = weights::load(path).unwrap();
        assert_eq!(joined.tensors.len(), whole.tensors.len(), "{}", path.display());
    }
    let part = folder.path().join("model-00001-of-00002.safetensors");
    let error = weights::load(&part).unwrap_err().to_string();
    assert!(error.contains("part 1 of 2") && error.contains("model.safetensors.index.json"), "{error}");
    std::fs::remove_file(part).unwrap();
    let error = weights::load(&index).unwrap_err().to_string();
    assert!(error.contains("model-00001-of-00002.safetensors is not beside it"), "{error}");
}

#[test]
fn a_configuration_beyond_its_file_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let tensor = Tensor::zeros((2, 4), DType::F32, &Device::Cpu).unwrap();
    for (config, word) in [
        (r#"{"name": "x", "widths": [1099511627776, 1, 1, 1]}"#, "`widths`"),
        (r#"{"name": "x", "blocks": [18446744073709551615, 1, 1, 1]}"#, "`blocks`"),
        (r#"{"name": "x", "widths": [100000, 100000, 100000, 100000]}"#, "the file holds 8"),
        (r#"{"name": "x", "stem_channels": 0}"#, "`stem_channels`"),
        (r#"{"name": "x", "blocks": [10000, 1, 1, 1]}"#, "`blocks`"),
    ] {
        let metadata = [("arch", "resnet20"), ("classes", "[\"a\"]"), ("normalize", "{}"), ("config", config)];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        weights::save(&path, &[("fc.weight".into(), tensor.clone())], &metadata).unwrap();
        let error = resnet_models::from_pretrained(&path.display().to_string()).err().unwrap().to_string();
        assert!(error.contains(word), "{config}: {error}");
    }
}

#[test]
fn an_entry_of_a_safetensors_file_is_refused() {
    let options = LoadOptions { entry: Some("model".into()), ..LoadOptions::default() };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let tensor = Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
    weights::save(&path, &[("a".into(), tensor)], &BTreeMap::new()).unwrap();
    let error = weights::load_with(&path, &options).unwrap_err().to_string();
    assert!(error.contains("has no entries"), "{error}");
}
