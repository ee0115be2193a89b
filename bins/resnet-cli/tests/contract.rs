//! What other programs rely on: fields, files, exit codes.

mod common;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::ModuleT;
use common::{fields, json, resnet, succeed, text, unexplained, weights_file, write_folder, write_png, write_recipe};
use resnet_models::{Parameters, weights};

#[test]
fn summary_has_its_fields_and_the_published_parameters() {
    for (arch, parameters) in [("resnet18", 11_689_512_u64), ("resnet50", 25_557_032)] {
        let objects = json(&["summary", arch]);
        assert_eq!(objects.len(), 1);
        for field in ["arch", "parameters", "multiply_adds", "layers"] {
            assert!(objects[0].get(field).is_some(), "{field}");
        }
        assert_eq!(objects[0]["arch"], arch);
        assert_eq!(objects[0]["parameters"], parameters);
    }
    let table = succeed(&["summary", "resnet20"]);
    assert!(table.contains("layer3.2.conv2") && table.contains("parameters"), "{table}");
    let fewer = json(&["summary", "resnet20", "--classes", "2"]);
    let all = json(&["summary", "resnet20"]);
    assert_eq!(all[0]["parameters"].as_u64().unwrap() - fewer[0]["parameters"].as_u64().unwrap(), 8 * 65);
}

#[test]
fn list_names_networks_data_sets_and_recipes() {
    let objects = json(&["list"]);
    let names = |kind: &str| -> Vec<String> {
        let of_kind = objects.iter().filter(|object| object["kind"] == kind);
        of_kind.map(|object| object["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("network"), resnet_models::names());
    assert!(names("dataset").contains(&"cifar10".to_owned()));
    assert!(names("recipe").contains(&"he2015-cifar".to_owned()));
    assert!(succeed(&["list"]).contains("preact_resnet1001"));
}

#[test]
fn bench_has_its_fields() {
    for task in ["train", "infer"] {
        let objects = json(&["bench", task, "--batch-size", "2", "--steps", "1"]);
        assert_eq!(objects.len(), 1);
        let object = &objects[0];
        assert_eq!((object["task"].as_str(), object["arch"].as_str()), (Some(task), Some("resnet20")));
        assert_eq!(object["dtype"], "f32");
        assert!(object["images_per_second"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn forward_gives_the_networks_logits() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", Some(7));
    let (input, output) = (folder.path().join("x.safetensors"), folder.path().join("y.safetensors"));
    let images = Tensor::arange(0f32, 2.0 * 3.0 * 32.0 * 32.0, &Device::Cpu).unwrap();
    let images = images.sin().unwrap().reshape((2, 3, 32, 32)).unwrap();
    weights::save(&input, &[("input".to_owned(), images.clone())], &BTreeMap::new()).unwrap();
    let arguments = ["forward", "--arch", "resnet20", "--weights", text(&file), "--input", text(&input)];
    assert_eq!(succeed(&[&arguments[..], &["--output", text(&output)]].concat()), "");
    let written = weights::load(&output).unwrap();
    assert_eq!(written.tensors.keys().collect::<Vec<_>>(), ["logits"]);

    let parameters = Parameters::new(0, DType::F32, &Device::Cpu);
    let network = resnet_models::create("resnet20", parameters.builder(), Some(7)).unwrap();
    weights::assign(&weights::load(&file).unwrap(), &parameters.named(), &Default::default()).unwrap();
    let expected = network.forward_t(&images, false).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!(written.tensors["logits"].to_vec2::<f32>().unwrap(), expected);
}

#[test]
fn predict_has_its_fields_an_object_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", None);
    let pictures = [folder.path().join("a.png"), folder.path().join("b.png")];
    pictures.iter().enumerate().for_each(|(i, path)| write_png(path, i));
    let arguments = ["predict", "--arch", "resnet20", "--weights", text(&file), "--dataset", "cifar10", "--top-k", "3"];
    let images = [text(&pictures[0]), text(&pictures[1])];
    let objects = json(&[&arguments[..], &images, &["--logits"]].concat());
    assert_eq!(objects.len(), 2);
    for (object, image) in objects.iter().zip(images) {
        assert_eq!(fields(object), ["image", "logits", "top"]);
        assert_eq!(object["image"], image);
        assert_eq!(object["logits"].as_array().unwrap().len(), 10);
        let top = object["top"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        assert_eq!(fields(&top[0]), ["index", "label", "probability"]);
        let probability = |i: usize| top[i]["probability"].as_f64().unwrap();
        assert!(probability(0) >= probability(1) && probability(1) >= probability(2));
        let index = top[0]["index"].as_u64().unwrap() as usize;
        assert_eq!(top[0]["label"], resnet_data::cifar::Cifar::Ten.classes()[index]);
    }
    let objects = json(&[&arguments[..], &images].concat());
    assert_eq!(fields(&objects[0]), ["image", "top"]);
    assert!(succeed(&[&arguments[..], &images].concat()).contains(" %  "));
}

#[test]
fn a_run_leaves_its_directory_and_its_weights_know_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (data, recipe, out) =
        (folder.path().join("data"), folder.path().join("recipe.toml"), folder.path().join("runs/one"));
    write_folder(&data);
    write_recipe(&recipe, &data);
    let run = resnet(&["train", "--recipe", text(&recipe), "--epochs", "1", "--out", text(&out), "--log"]);
    let stdout = &run.stdout;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let lines = unexplained(&run);
    assert!(lines.len() == 2 && lines[0].contains(text(&out)), "{}", run.stderr);
    assert!(lines[1].starts_with("epoch 1/1: train loss "), "{}", run.stderr);
    assert!(stdout.contains("test accuracy") && stdout.contains("report.html"), "{stdout}");
    for file in ["config.toml", "log.jsonl", "state.safetensors", "last.safetensors", "best.safetensors"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("Confusion matrix") && report.contains("bee"));
    for line in std::fs::read_to_string(out.join("log.jsonl")).unwrap().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object());
    }

    let best = out.join("best.safetensors");
    let objects = json(&["eval", "--weights", text(&best)]);
    assert_eq!(objects.len(), 1);
    let expected = ["correct", "dataset", "images", "images_per_second", "loss", "split", "top1", "top5"];
    assert_eq!(fields(&objects[0]), expected);
    assert_eq!((objects[0]["images"].as_u64(), objects[0]["split"].as_str()), (Some(12), Some("test")));
    let correct = objects[0]["correct"].as_u64().unwrap();
    assert!(stdout.contains(&format!("({correct} of 12)")), "{stdout}, evaluated: {correct}");

    for crop in ["ten", "multiscale"] {
        let objects = json(&["eval", "--weights", text(&best), "--crop", crop]);
        assert_eq!(objects[0]["images"], 12);
        assert!(objects[0]["loss"].as_f64().unwrap().is_finite());
    }
    let objects = json(&["eval", "--weights", text(&best), "--reestimate-bn"]);
    assert_eq!((objects.len(), objects[0]["images"].as_u64()), (1, Some(12)));
    let picture = data.join("val/bee/0.png");
    let objects = json(&["predict", "--weights", text(&best), text(&picture)]);
    let labels: Vec<&str> =
        objects[0]["top"].as_array().unwrap().iter().map(|guess| guess["label"].as_str().unwrap()).collect();
    assert_eq!(labels.len(), 3);
    assert!(labels.contains(&"bee"), "{labels:?}");
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["--version"], &["train", "--help"], &["help", "eval"]] {
        let run = resnet(arguments);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(run.stdout.contains("resnet"));
    }
    let nothing = resnet(&[]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(2), ""));
    assert!(nothing.stderr.contains("Usage"));
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    use std::process::Stdio;
    let mut child = common::command(&["list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
