//! Pretrained networks from a hub on this machine, folders and files. The configurations are those that timm 1.0 and
//! transformers 4 write (`fixtures/hub/`); the weights are random.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::ModuleT;
use resnet_hub::Hub;
use resnet_hub::testing::{Mood, Server};
use resnet_models::hub::{NewHead, published};
use resnet_models::{
    Error, Interpolation, Parameters, PretrainedOptions, from_pretrained, from_pretrained_with, weights,
};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hub").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// Random weights of a network with five classes as the bytes of a file, and its logits for [`images`].
fn random(arch: &str, folder: &Path, rename: impl Fn(&str) -> String) -> (Vec<u8>, Vec<Vec<f32>>) {
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    let network = resnet_models::create(arch, parameters.builder(), Some(5)).unwrap();
    let tensors: Vec<(String, Tensor)> =
        parameters.named().iter().map(|(name, var)| (rename(name), var.as_tensor().clone())).collect();
    let path = folder.join("random.safetensors");
    weights::save(&path, &tensors, &BTreeMap::new()).unwrap();
    (std::fs::read(path).unwrap(), logits(&network))
}

fn images() -> Tensor {
    let values: Vec<f32> = (0..3 * 64 * 64).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    Tensor::from_vec(values, (1, 3, 64, 64), &Device::Cpu).unwrap()
}

fn logits(network: &resnet_models::Network) -> Vec<Vec<f32>> {
    network.forward_t(&images(), false).unwrap().to_vec2().unwrap()
}

fn serve(repository: &str, files: &[(&str, Vec<u8>)]) -> Server {
    let at = |name: &str| format!("/{repository}/resolve/main/{name}");
    Server::start(files.iter().map(|(name, bytes)| (at(name), bytes.clone())).collect(), Mood::Healthy).unwrap()
}

fn options(hub: Hub) -> PretrainedOptions {
    PretrainedOptions { hub: Some(hub), ..PretrainedOptions::default() }
}

#[test]
fn a_repository_of_timm() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, expected) = random("resnet18", folder.path(), str::to_owned);
    let config = fixture("timm_resnet18.json").into_bytes();
    let server = serve("timm/resnet18.a1_in1k", &[("config.json", config), ("model.safetensors", bytes)]);
    let online = options(server.hub(folder.path()));
    let loaded = from_pretrained_with("timm/resnet18.a1_in1k", &online, &mut ()).unwrap();
    assert_eq!(logits(&loaded.network), expected);
    assert_eq!((loaded.network.config().name.as_str(), loaded.classes), ("resnet18", None));
    let pictures = loaded.preprocessing.unwrap();
    assert_eq!((pictures.size, pictures.crop, pictures.interpolation), (224, 0.95, Interpolation::Bicubic));
    assert_eq!(pictures.mean, [0.485, 0.456, 0.406]);

    // Again without a network; as timm names it too.
    let requests = server.requests();
    let offline = options(Hub { offline: true, ..server.hub(folder.path()) });
    let again = from_pretrained_with("hf-hub:timm/resnet18.a1_in1k", &offline, &mut ()).unwrap();
    assert_eq!((logits(&again.network), server.requests()), (expected.clone(), requests));
    // timm's weights need no owner.
    let short = from_pretrained_with("resnet18.a1_in1k", &offline, &mut ()).unwrap();
    assert_eq!(logits(&short.network), expected);
    let error = from_pretrained_with("timm/resnet34.a1_in1k", &offline, &mut ()).err().unwrap().to_string();
    for part in ["timm/resnet34.a1_in1k", "config.json", "HF_HUB_OFFLINE", "folder"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_repository_of_transformers() {
    let folder = tempfile::tempdir().unwrap();
    // As transformers names them; the rule is checked in weights/schemes.rs, too.
    let rename = |name: &str| {
        let (path, leaf) = name.rsplit_once('.').unwrap();
        let parts: Vec<&str> = path.split('.').collect();
        let kind = |part: &str| if part.starts_with("conv") { "convolution" } else { "normalization" };
        let theirs = match parts[..] {
            ["fc"] => "classifier.1".to_owned(),
            [stem] => format!("resnet.embedder.embedder.{}", kind(stem)),
            [stage, block, "downsample", place] => {
                let kind = if place == "0" { "convolution" } else { "normalization" };
                let stage = stage[5..].parse::<usize>().unwrap() - 1;
                format!("resnet.encoder.stages.{stage}.layers.{block}.shortcut.{kind}")
            }
            [stage, block, layer] => {
                let stage = stage[5..].parse::<usize>().unwrap() - 1;
                let index = layer.trim_start_matches(char::is_alphabetic).parse::<usize>().unwrap() - 1;
                format!("resnet.encoder.stages.{stage}.layers.{block}.layer.{index}.{}", kind(layer))
            }
            _ => panic!("{name}"),
        };
        format!("{theirs}.{leaf}")
    };
    let (bytes, expected) = random("resnet18", folder.path(), rename);
    let server = serve(
        "microsoft/resnet-18",
        &[
            ("config.json", fixture("transformers_resnet18.json").into_bytes()),
            ("preprocessor_config.json", fixture("transformers_preprocessor.json").into_bytes()),
            ("pytorch_model.bin", bytes),
        ],
    );
    let loaded = from_pretrained_with("microsoft/resnet-18", &options(server.hub(folder.path())), &mut ()).unwrap();
    assert_eq!(logits(&loaded.network), expected);
    assert_eq!(loaded.classes.unwrap(), ["tench", "goldfish", "shark", "hammerhead", "ray"]);
    let pictures = loaded.preprocessing.unwrap();
    assert_eq!((pictures.size, pictures.crop, pictures.interpolation), (224, 0.875, Interpolation::Bicubic));
}

#[test]
fn folders_and_files_of_the_same_form() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, expected) = random("resnet18", folder.path(), str::to_owned);
    let published = folder.path().join("resnet18-0676ba61.safetensors");
    std::fs::rename(folder.path().join("random.safetensors"), &published).unwrap();
    let text = |path: &PathBuf| path.display().to_string();
    for name in [text(&published), text(&folder.path().to_path_buf())] {
        let loaded = from_pretrained(&name).unwrap();
        assert_eq!((logits(&loaded.network), loaded.preprocessing), (expected.clone(), None), "{name}");
    }
    let local = folder.path().join("local");
    std::fs::create_dir(&local).unwrap();
    std::fs::write(local.join("config.json"), fixture("timm_resnet18.json")).unwrap();
    let error = from_pretrained(&text(&local)).err().unwrap().to_string();
    assert!(error.contains("model.safetensors"), "{error}");
    std::fs::write(local.join("model.safetensors"), &bytes).unwrap();
    assert_eq!(from_pretrained(&text(&local)).unwrap().preprocessing.unwrap().crop, 0.95);
    let named = fixture("timm_resnet18.json").replace(
        "\"architecture\"",
        r#""label_names": {"0": "n1", "4": "n2"}, "label_descriptions": {"n1": "tench"}, "num_classes": 5, "architecture""#,
    );
    std::fs::write(local.join("config.json"), named.replacen("\"num_classes\": 1000,", "", 1)).unwrap();
    assert_eq!(from_pretrained(&text(&local)).unwrap().classes.unwrap(), ["tench", "1", "2", "3", "n2"]);
    std::fs::write(local.join("config.json"), named.replace("\"num_classes\": 5,", "").replace("1000", "7")).unwrap();
    let seven = from_pretrained(&text(&local)).unwrap();
    assert_eq!((seven.classes, seven.unfitting_names), (None, Some(7)));
    // torchvision's second version, by the sum in its name.
    let second = folder.path().join("resnet50-11ad3fa6.pth");
    let parameters = Parameters::new(3, DType::F32, &Device::Cpu);
    resnet_models::create("resnet50", parameters.builder(), Some(5)).unwrap();
    let tensors: Vec<(String, Tensor)> =
        parameters.named().iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    weights::save_torch(&second, &tensors).unwrap();
    let loaded = from_pretrained(&text(&second)).unwrap();
    assert_eq!((224.0 / loaded.preprocessing.unwrap().crop) as usize, 232);
    std::fs::remove_file(second).unwrap();

    let nameless = folder.path().join("mine.safetensors");
    std::fs::write(&nameless, &bytes).unwrap();
    match from_pretrained(&text(&nameless)).err().unwrap() {
        Error::Nameless { fitting, .. } => assert!(fitting.contains(&"resnet18"), "{fitting:?}"),
        other => panic!("{other}"),
    }
    let error = from_pretrained(&text(&folder.path().to_path_buf())).err().unwrap().to_string();
    assert!(error.contains("several files"), "{error}");
    let foreign = folder.path().join("foreign.safetensors");
    let tensor = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
    weights::save(&foreign, &[("features.0.weight".to_owned(), tensor)], &BTreeMap::new()).unwrap();
    let error = from_pretrained(&text(&foreign)).err().unwrap().to_string();
    assert!(error.contains("fits none that is known"), "{error}");
}

#[test]
fn a_new_head_keeps_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    random("resnet18", folder.path(), str::to_owned);
    let file = folder.path().join("random.safetensors").display().to_string();
    let load = |seed| {
        let options = PretrainedOptions {
            arch: Some("resnet18".into()),
            new_head: Some(NewHead { classes: 3, seed }),
            ..PretrainedOptions::default()
        };
        from_pretrained_with(&file, &options, &mut ()).unwrap()
    };
    let (one, two) = (load(1), load(2));
    assert_eq!(one.network.config().classes, 3);
    let value = |loaded: &resnet_models::Pretrained, name: &str| {
        loaded.parameters.get(name).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_ne!(value(&one, "fc.weight"), value(&two, "fc.weight"));
    let kept = weights::load(&file).unwrap();
    let stem = kept.tensors["conv1.weight"].flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!((value(&one, "conv1.weight"), value(&two, "conv1.weight")), (stem.clone(), stem));
}

#[test]
fn configurations_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(folder.path().join("model.safetensors"), "").unwrap();
    let timm = fixture("timm_resnet18.json");
    let transformers = fixture("transformers_resnet18.json");
    for (config, part) in [
        ("{}".to_owned(), "architecture"),
        ("[".to_owned(), "no JSON"),
        (timm.replace("[\n      3,", "[\n      \"3\","), "`input_size` is"),
        (timm.replace("\"resnet18\"", "\"resnet81\""), "did you mean 'resnet18'"),
        (timm.replace("\"resnet18\"", "\"vit_base_patch16_224\""), "unknown network 'vit_base_patch16_224'"),
        (timm.replace("bicubic", "lanczos"), "lanczos"),
        (timm.replace("\"crop_pct\": 0.95", "\"crop_pct\": 9.5"), "9.5"),
        (timm.replace("\"in_chans\": 3", "\"in_chans\": 1"), "in_chans"),
        (transformers.replace("\"resnet\"", "\"vit\""), "vit"),
        (transformers.replace("\"relu\"", "\"gelu\""), "gelu"),
    ] {
        std::fs::write(&path, &config).unwrap();
        let error = from_pretrained(&folder.path().display().to_string()).err().unwrap().to_string();
        assert!(error.contains(part) && error.contains("config.json"), "{part}: {error}");
    }
    std::fs::write(&path, timm).unwrap();
    let error = from_pretrained(&folder.path().display().to_string()).err().unwrap().to_string();
    assert!(error.contains("model.safetensors") && error.contains("empty"), "{error}");
}

#[test]
fn published_weights_are_of_networks_of_their_size() {
    let table = include_str!("../src/hub/pretrained.tsv");
    let known = published();
    assert!(known.is_sorted_by(|a, b| a.top1 >= b.top1));
    for (name, top1) in [("resnet50.tv_in1k", 76.130), ("resnet18.a1_in1k", 73.158)] {
        assert_eq!(known.iter().find(|row| row.name == name).unwrap().top1, top1);
    }
    // No row of a known network is lost to a slip of the pen.
    let rows = table.lines().filter(|line| resnet_models::config(line.split('.').next().unwrap()).is_ok()).count();
    assert_eq!(known.len(), rows);
    // The largest would take gigabytes.
    for row in known.iter().filter(|row| row.parameters < 50.0) {
        let millions = resnet_models::summary(row.arch(), None, (224, 224)).unwrap().parameters as f64 / 1e6;
        assert!((millions - row.parameters).abs() < 0.0051, "{}: {millions}", row.name);
    }
}
