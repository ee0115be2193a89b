//! Pretrained networks in use: the hub, folders of images, features, conversion.

mod common;

use std::path::Path;

use candle_core::{DType, Device};
use common::{assert_refused, command, fields, json, succeed, text, weights_file, write_folder, write_png};
use resnet_hub::testing::{Mood, Server};
use resnet_models::{ModelCard, Outputs, Parameters};

/// timm's configuration of a network with three classes on small images.
const CONFIG: &str = r#"{"architecture": "resnet20", "num_classes": 3, "label_names": ["ant", "bee", "cat"],
    "pretrained_cfg": {"input_size": [3, 32, 32], "interpolation": "bicubic", "crop_pct": 1.0,
    "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}"#;

fn hub(folder: &Path) -> Server {
    let weights = std::fs::read(weights_file(folder, "resnet20", Some(3))).unwrap();
    let at = |name: &str| format!("/someone/small/resolve/main/{name}");
    let files = [(at("config.json"), CONFIG.into()), (at("model.safetensors"), weights)];
    Server::start(files.into(), Mood::Healthy).unwrap()
}

#[test]
fn predict_from_the_hub_then_without_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let server = hub(folder.path());
    let data = folder.path().join("data");
    write_folder(&data);
    let run = |offline: &str, name: &str| {
        let mut command = command(&["predict", "--hub", name, "--json", text(&data.join("val"))]);
        let cache = folder.path().join("cache");
        command.env("HF_HUB_OFFLINE", offline).env("HF_ENDPOINT", &server.endpoint).env("HF_TOKEN", "secret");
        common::Run::from(command.env("HF_HOME", cache).output().unwrap())
    };
    let first = run("0", "someone/small");
    assert_eq!((first.code, common::unexplained(&first)), (Some(0), vec![]));
    let lines: Vec<serde_json::Value> = first.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 12);
    assert_eq!(fields(&lines[0]), ["image", "top"]);
    assert!(lines[0]["image"].as_str().unwrap().ends_with("val/ant/0.png"));
    let mut labels: Vec<&str> =
        lines[0]["top"].as_array().unwrap().iter().map(|t| t["label"].as_str().unwrap()).collect();
    labels.sort_unstable();
    assert_eq!(labels, ["ant", "bee", "cat"]);
    assert_eq!(run("1", "someone/small").stdout, first.stdout);
    assert_refused(&run("1", "someone/other"), &["someone/other", "config.json", "HF_HUB_OFFLINE"]);
    assert_refused(&run("0", "someone/other"), &["someone/other", "config.json", "404"]);
    assert_refused(&run("0", "a/b/c"), &["a/b/c", "OWNER/NAME"]);
    assert_refused(&run("0", "resnet18"), &["resnet18", "timm/resnet18.a1_in1k"]);
}

#[test]
fn folders_and_patterns_are_classified_and_broken_images_do_not_stop_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", None);
    let data = folder.path().join("data");
    write_folder(&data);
    let predict = ["predict", "--arch", "resnet20", "--weights", text(&file), "--batch-size", "3", "--workers", "2"];
    let pattern = data.join("train/*/[0-4].png");
    assert_eq!(json(&[&predict[..], &[text(&pattern)]].concat()).len(), 15);
    std::fs::write(data.join("train/bee/1.png"), "no image").unwrap();
    let run = common::resnet(&[&predict[..], &["--json", text(&pattern)]].concat());
    assert_eq!((run.code, run.stdout.lines().count()), (Some(2), 14));
    let [error] = common::unexplained(&run)[..] else { panic!("{}", run.stderr) };
    assert!(error.contains("bee/1.png"), "{error}");
    // Of several, each is named.
    std::fs::write(data.join("train/cat/2.png"), "nor this").unwrap();
    let out = folder.path().join("f.npy");
    let embed = ["embed", "--arch", "resnet20", "--weights", text(&file), "--output", text(&out)];
    for arguments in [&predict[..], &embed[..]] {
        let run = common::resnet(&[arguments, &[text(&pattern)]].concat());
        let lines = common::unexplained(&run);
        assert!(run.code == Some(2) && lines.len() == 3, "{run:?}");
        assert!(lines[0].contains("bee/1.png") && lines[1].contains("cat/2.png"), "{run:?}");
        assert!(lines[2].starts_with("error: 2 of 15 images could not be read"), "{run:?}");
    }
    assert_refused(&common::resnet(&[&predict[..], &[text(&data.join("*.gif"))]].concat()), &["*.gif", "image"]);
}

#[test]
fn embed_writes_the_features_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", None);
    let data = folder.path().join("data");
    write_folder(&data);
    for name in ["f.npy", "f.parquet"] {
        let out = folder.path().join(name);
        let embed = ["embed", "--arch", "resnet20", "--weights", text(&file), "--output", text(&out)];
        let told = succeed(&[&embed[..], &[text(&data.join("val"))]].concat());
        assert!(told.contains("12 vectors of 64 values"), "{told}");
        assert!(out.is_file());
    }
    let features = candle_core::Tensor::read_npy(folder.path().join("f.npy")).unwrap();
    assert_eq!(features.dims(), [12, 64]);
    let paths = std::fs::read_to_string(folder.path().join("f.paths.txt")).unwrap();
    assert_eq!(paths.lines().count(), 12);
    // Where no image can be read, the file from before stays.
    let kept = std::fs::read(folder.path().join("f.npy")).unwrap();
    let out = folder.path().join("f.npy");
    let embed = ["embed", "--arch", "resnet20", "--weights", text(&file), "--output", text(&out), "nowhere.jpg"];
    assert_refused(&common::resnet(&embed), &["nowhere.jpg"]);
    assert_eq!(std::fs::read(&out).unwrap(), kept);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5);
    let embed = ["embed", "--arch", "resnet20", "--weights", text(&file), "--output", "f.csv", text(&data)];
    assert_refused(&common::resnet(&embed), &["f.csv", ".npy"]);
}

#[test]
fn converted_weights_are_the_same_network() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    write_png(&picture, 3);
    let file = weights_file(folder.path(), "resnet20", None);
    let logits = |file: &Path| {
        let found = json(&["predict", "--arch", "resnet20", "--weights", text(file), "--logits", text(&picture)]);
        found[0]["logits"].clone()
    };
    let expected = logits(&file);
    let mut from = file;
    for (name, names) in [("a.pth", "torchvision"), ("b.bin", "transformers"), ("c.safetensors", "timm")] {
        let to = folder.path().join(name);
        succeed(&["convert", text(&from), text(&to), "--names", names]);
        assert_eq!(logits(&to), expected, "{name}");
        from = to;
    }
    assert_refused(&common::resnet(&["convert", text(&from), "x.onnx"]), &["x.onnx", ".safetensors"]);
}

#[test]
fn converted_weights_keep_their_card_where_the_form_has_a_place_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mine, again, torch) = (folder.path().join("m.safetensors"), folder.path().join("a.safetensors"), "t.pth");
    let picture = folder.path().join("a.png");
    write_png(&picture, 3);
    let parameters = Parameters::new(7, DType::F32, &Device::Cpu);
    let network = resnet_models::create("resnet20", parameters.builder(), Some(2)).unwrap();
    let card = ModelCard::new(network.config()).with_classes(["left", "right"]).with_outputs(Outputs::AnyOf);
    card.save(&mine, &parameters.tensors()).unwrap();
    succeed(&["convert", text(&mine), text(&again), "--names", "transformers"]);
    let top = |file: &Path| {
        let run = common::resnet(&["predict", "--weights", text(file), text(&picture), "--json"]);
        assert_eq!(run.code, Some(0));
        assert!(common::unexplained(&run)[0].contains("sigmoid"), "{:?}", run.stderr);
        serde_json::from_str::<serde_json::Value>(&run.stdout).unwrap()["top"].clone()
    };
    assert_eq!(top(&again), top(&mine));
    assert!(top(&again)[0]["label"] == "left" || top(&again)[0]["label"] == "right");
    let run = common::resnet(&["convert", text(&mine), text(&folder.path().join(torch))]);
    let said = common::unexplained(&run).join("\n");
    assert!(
        said.contains("t.pth: not written") && said.contains("arch, classes, config, model_card, outputs"),
        "{said}"
    );
}

#[test]
fn list_tells_what_can_be_had() {
    let rows = json(&["list", "--pretrained"]);
    let row = rows.iter().find(|row| row["name"] == "timm/resnet50.a1_in1k").unwrap();
    assert_eq!((row["arch"].as_str(), row["top1"].as_f64()), (Some("resnet50"), Some(81.214)));
    let table = succeed(&["list", "--pretrained"]);
    assert!(table.contains("timm/resnet18.tv_in1k"), "{table}");
    assert!(table.lines().last().unwrap().contains("--image-size PIXELS --crop-pct CROP"), "{table}");
}

#[test]
fn a_fine_tuned_network_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", None);
    let (data, out) = (folder.path().join("data"), folder.path().join("run"));
    write_folder(&data);
    std::fs::write(data.join("train/bee/1.png"), "no image").unwrap();
    let finetune = ["finetune", "--arch", "resnet20", "--weights", text(&file), "--data", text(&data)];
    let short = ["--head-epochs", "1", "--epochs", "1", "--batch-size", "8", "--quiet", "--out", text(&out)];
    let run = common::resnet(&[&finetune[..], &short].concat());
    assert!(run.code == Some(0) && run.stderr.lines().count() == 1 && run.stderr.contains("bee/1.png"), "{run:?}");
    let told = run.stdout;
    assert!(told.contains("validation images") && told.contains("1 image could not be read"), "{told}");
    for name in ["config.toml", "log.jsonl", "report.html", "best.safetensors"] {
        assert!(out.join(name).is_file(), "{name}");
    }
    let best = out.join("best.safetensors");
    let found = json(&["predict", "--weights", text(&best), text(&data.join("val/cat"))]);
    let mut labels: Vec<&str> =
        found[0]["top"].as_array().unwrap().iter().map(|t| t["label"].as_str().unwrap()).collect();
    labels.sort_unstable();
    assert_eq!((found.len(), labels), (4, vec!["ant", "bee", "cat"]));
    let evaluated = json(&["eval", "--weights", text(&best)]);
    assert!(told.contains(&format!("({} of 12)", evaluated[0]["correct"])), "{told} {evaluated:?}");

    let again = common::resnet(&[&finetune[..], &short].concat());
    assert_refused(&again, &["run", "--out"]);
    // Nothing is left to do: the same result, from the weights that were kept.
    let again = common::resnet(&[&finetune[..], &short, &["--resume"]].concat());
    assert_eq!(again.stdout.split(", best in").next(), told.split(", best in").next());
    let other = common::resnet(&[&finetune[..], &short, &["--resume", "--patience", "9"]].concat());
    assert_refused(&other, &["recipe.patience", "config.toml"]);
    let ant = data.join("train/ant");
    let one = ["finetune", "--arch", "resnet20", "--weights", text(&file), "--data", text(&ant)];
    assert_refused(&common::resnet(&one), &["ant", "class"]);
    let rate = common::resnet(&[&finetune[..], &["--lr", "-1", "--out", "x"]].concat());
    assert_refused(&rate, &["lr"]);
    for (flag, value, key) in [("--weight-decay", "-1", "weight_decay"), ("--label-smoothing", "1", "label_smoothing")]
    {
        assert_refused(&common::resnet(&[&finetune[..], &[flag, value, "--out", "x"]].concat()), &[key, value]);
    }
}

#[test]
fn the_head_alone_is_trained_and_each_epoch_has_its_line_in_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", None);
    let (data, out) = (folder.path().join("data"), folder.path().join("run"));
    write_folder(&data);
    let finetune = ["finetune", "--arch", "resnet20", "--weights", text(&file), "--data", text(&data), "--log"];
    let values = ["--weight-decay", "0.001", "--label-smoothing", "0.05", "--head-epochs", "2", "--epochs", "0"];
    let run = common::resnet(&[&finetune[..], &values, &["--out", text(&out)]].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    let epochs: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("epoch ")).collect();
    assert!(epochs.len() == 2 && epochs[0].starts_with("epoch 1/2: train loss "), "{run:?}");
    let config = std::fs::read_to_string(out.join("config.toml")).unwrap();
    assert!(config.contains("weight_decay = 0.001") && config.contains("label_smoothing = 0.05"), "{config}");
    // Nothing but the head has changed.
    let read = |file: &Path| resnet_models::weights::load(file).unwrap().tensors;
    let (before, after) = (read(&file), read(&out.join("best.safetensors")));
    let values = |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (name, tensor) in before.iter().filter(|(name, _)| name.ends_with("conv1.weight")) {
        assert_eq!(values(&after[name]), values(tensor), "{name}");
    }
}

#[test]
fn a_fine_tuning_takes_what_a_training_takes() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", None);
    let (data, out) = (folder.path().join("data"), folder.path().join("run"));
    write_folder(&data);
    let finetune =
        ["finetune", "--arch", "resnet20", "--weights", text(&file), "--data", text(&data), "--image-size", "32"];
    let flags = ["--optimizer", "adamw", "--lr", "0.001", "--ema-decay", "0.9", "--mixup", "0.2", "--dtype", "bf16"];
    let more = ["--head-epochs", "1", "--epochs", "1", "--out", text(&out)];
    let run = common::resnet(&[&finetune[..], &flags, &more, &["--max-steps", "1"]].concat());
    assert!(run.code == Some(0) && run.stdout.contains("stopped after 0 whole epochs"), "{run:?}");
    // Without the flags: the run has its own recipe.
    let run = common::resnet(&[&finetune[..], &["--out", text(&out), "--resume"]].concat());
    assert!(run.code == Some(0) && run.stdout.contains("validation images"), "{run:?}");
    let config = std::fs::read_to_string(out.join("config.toml")).unwrap();
    for part in ["kind = \"adamw\"", "lr = 0.001", "decay = 0.9", "mixup = 0.2", "dtype = \"bf16\"", "pretrained = "] {
        assert!(config.contains(part), "{part}: {config}");
    }
    assert_refused(&common::resnet(&["train", "--out", text(&out), "--resume"]), &["--out", "resnet finetune"]);
    assert_refused(&common::resnet(&["train", "--recipe", "finetune"]), &["--recipe", "resnet finetune"]);
    // A recipe without phases trains everything at once.
    let one = ["--recipe", "quick", "--epochs", "1", "--out", text(&folder.path().join("one"))].map(str::to_owned);
    let run = common::resnet(&[&finetune[..], &one.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    assert!(run.code == Some(0) && run.stdout.contains("best in epoch 1 of 1"), "{run:?}");
    assert_refused(
        &common::resnet(&[&finetune[..], &["--recipe", "quick", "--head-lr", "1"]].concat()),
        &["--head-lr"],
    );
}

#[test]
fn an_exported_network_is_an_onnx_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", None);
    let out = folder.path().join("net.onnx");
    let told = succeed(&["export", "--arch", "resnet20", "--weights", text(&file), "--onnx", text(&out)]);
    assert!(told.contains("(batch, 3, 32, 32)"), "{told}");
    assert!(std::fs::metadata(&out).unwrap().len() > 1_000_000);
}

#[test]
fn the_loaders_speed_is_measured_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    let load =
        ["bench", "load", "--data", text(folder.path()), "--batch-size", "8", "--image-size", "16", "--steps", "1"];
    let found = json(&load);
    assert_eq!((found[0]["task"].as_str(), found[0]["images"].as_u64()), (Some("load"), Some(24)));
    assert!(found[0]["images_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!((found[0].get("arch"), found[0]["dtype"].as_str()), (Some(&serde_json::Value::Null), Some("f32")));
    assert_refused(&common::resnet(&["bench", "load"]), &["--data"]);
}
