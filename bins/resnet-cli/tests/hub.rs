//! Repositories as people have them: mirrors, configurations of every form, outputs of every meaning, hostile text.

mod common;

use std::path::{Path, PathBuf};

use common::{Run, assert_refused, command, json, resnet, text, weights_file, write_png};
use resnet_hub::testing::{Mood, Server};
use serde_json::{Value, json as value};

/// A folder in a repository's form with a network for small pictures.
fn repository(root: &Path, name: &str, arch: &str, classes: usize, config: &str) -> PathBuf {
    let folder = root.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let file = weights_file(root, arch, Some(classes));
    std::fs::rename(file, folder.join("model.safetensors")).unwrap();
    std::fs::write(folder.join("config.json"), config).unwrap();
    folder
}

fn config() -> Value {
    value!({"architecture": "resnet20", "num_classes": 3, "label_names": ["ant", "bee", "cat"], "pretrained_cfg": {
        "input_size": [3, 32, 32], "interpolation": "bicubic", "crop_pct": 1.0, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}})
}

fn merged(one: &Value, more: &Value) -> Value {
    let mut whole = one.as_object().unwrap().clone();
    whole.extend(more.as_object().unwrap().clone());
    Value::Object(whole)
}

fn predict(folder: &Path, picture: &Path) -> Run {
    resnet(&["predict", "--hub", text(folder), "--json", "--logits", text(picture)])
}

fn line(run: &Run) -> Value {
    assert_eq!(run.code, Some(0), "{run:?}");
    serde_json::from_str(&run.stdout).unwrap()
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

#[test]
fn mirrors_without_ranges_and_with_compression_serve_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    write_png(&picture, 3);
    let weights = std::fs::read(weights_file(folder.path(), "resnet20", Some(3))).unwrap();
    let at = |name: &str| format!("/someone/small/resolve/main/{name}");
    let mut lines = Vec::new();
    for (number, mood) in [Mood::Healthy, Mood::Compressing, Mood::Whole, Mood::Chunked].into_iter().enumerate() {
        let files =
            [(at("config.json"), config().to_string().into_bytes()), (at("model.safetensors"), weights.clone())];
        let server = Server::start(files.into(), mood).unwrap();
        let mut command = command(&["predict", "--hub", "someone/small", "--json", text(&picture)]);
        let home = folder.path().join(number.to_string());
        std::fs::create_dir_all(&home).unwrap();
        // The token where Python keeps it.
        std::fs::write(home.join("token"), "secret\n").unwrap();
        command.env("HF_HUB_OFFLINE", "0").env("NO_PROXY", "127.0.0.1").env("HF_HOME", &home);
        command.env_remove("HF_TOKEN").env_remove("HF_HUB_CACHE").env("HF_ENDPOINT", &server.endpoint);
        let run = Run::from(command.output().unwrap());
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
        lines.push(run.stdout);
    }
    assert!(lines.iter().all(|line| *line == lines[0]), "{lines:?}");
}

#[test]
fn one_output_is_a_sigmoid_and_never_certain_of_everything() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", Some(1));
    for seed in 0..3 {
        write_png(&folder.path().join(format!("{seed}.png")), seed * 50);
    }
    let pictures = folder.path().join("*.png");
    let one = ["predict", "--arch", "resnet20", "--weights", text(&file), text(&pictures)];
    let run = resnet(&[&one[..], &["--json", "--logits"]].concat());
    assert!(run.stderr.contains("one output") && run.stderr.lines().count() == 1, "{run:?}");
    for line in run.stdout.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let (top, logit) = (line["top"].as_array().unwrap(), line["logits"][0].as_f64().unwrap());
        assert_eq!((top.len(), top[0]["index"].as_u64()), (1, Some(0)));
        assert!((top[0]["probability"].as_f64().unwrap() - sigmoid(logit)).abs() < 1e-6, "{line}");
    }
    assert_refused(&resnet(&[&one[..], &["--outputs", "one-of"]].concat()), &["--outputs one-of", "one output"]);
    // Two names are no and yes.
    let names = value!({"num_classes": 1, "label_names": ["healthy", "ill"]});
    let named = repository(folder.path(), "named", "resnet20", 1, &merged(&config(), &names).to_string());
    let line = line(&predict(&named, &folder.path().join("0.png")));
    let yes = sigmoid(line["logits"][0].as_f64().unwrap());
    for guess in line["top"].as_array().unwrap() {
        let (expected, label) = if guess["index"] == 1 { (yes, "ill") } else { (1.0 - yes, "healthy") };
        assert_eq!(guess["label"], label);
        assert!((guess["probability"].as_f64().unwrap() - expected).abs() < 1e-6, "{line}");
    }
}

#[test]
fn several_of_many_have_probabilities_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    write_png(&picture, 3);
    let with = |problem: &str| {
        let config = merged(&config(), &value!({"problem_type": problem, "model_type": "timm_wrapper"}));
        repository(folder.path(), problem, "resnet20", 3, &config.to_string())
    };
    let many = with("multi_label_classification");
    let run = predict(&many, &picture);
    assert!(run.stderr.contains("several may hold") && run.stderr.lines().count() == 1, "{run:?}");
    let found = line(&run);
    let logits: Vec<f64> = found["logits"].as_array().unwrap().iter().map(|logit| logit.as_f64().unwrap()).collect();
    let top = found["top"].as_array().unwrap();
    assert!(top.is_sorted_by(|a, b| a["probability"].as_f64() >= b["probability"].as_f64()), "{found}");
    for guess in top {
        let logit = logits[guess["index"].as_u64().unwrap() as usize];
        assert!((guess["probability"].as_f64().unwrap() - sigmoid(logit)).abs() < 1e-6, "{found}");
    }
    let single = line(&predict(&with("single_label_classification"), &picture));
    let sum: f64 = single["top"].as_array().unwrap().iter().map(|guess| guess["probability"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5 && single["logits"] == found["logits"], "{single}");
    assert_refused(&predict(&with("regression"), &picture), &["regression", "--outputs"]);
    // The flag says it of weights that do not.
    let flag = ["predict", "--hub", text(&with("regression")), "--outputs", "any-of", "--logits", text(&picture)]
        .map(str::to_owned);
    let flag: Vec<&str> = flag.iter().map(String::as_str).chain(["--json"]).collect();
    assert_eq!(line(&resnet(&flag)), found);
}

#[test]
fn a_wrapped_network_of_timm_is_timms() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    write_png(&picture, 3);
    let wrapped = merged(
        &config(),
        &value!({"architectures": ["TimmWrapperForImageClassification"], "model_type": "timm_wrapper", "do_pooling": true,
            "initializer_range": 0.02, "problem_type": "single_label_classification", "torch_dtype": "float32"}),
    );
    let control = repository(folder.path(), "control", "resnet20", 3, &config().to_string());
    let expected = predict(&control, &picture);
    assert_eq!(expected.code, Some(0), "{expected:?}");
    for (name, more) in
        [("no_args", value!({})), ("saved", value!({"model_args": null})), ("empty", value!({"model_args": {}}))]
    {
        let other = repository(folder.path(), name, "resnet20", 3, &merged(&wrapped, &more).to_string());
        assert_eq!(predict(&other, &picture).stdout, expected.stdout, "{name}");
    }
}

#[test]
fn a_byte_order_mark_is_no_content() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    write_png(&picture, 3);
    let plain = serde_json::to_string_pretty(&config()).unwrap();
    let control = predict(&repository(folder.path(), "control", "resnet20", 3, &plain), &picture);
    let marked = format!("\u{feff}{}", plain.replace('\n', "\r\n"));
    let marked = predict(&repository(folder.path(), "marked", "resnet20", 3, &marked), &picture);
    assert_eq!((control.code, marked.code, &control.stdout), (Some(0), Some(0), &marked.stdout), "{marked:?}");
}

/// The cases are those of transformers' processors; `tests/processors.rs` of resnet-models compares the pixels.
#[test]
fn every_field_of_a_file_about_pictures_is_obeyed_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    write_png(&picture, 3);
    let weights = weights_file(folder.path(), "resnet18", Some(3));
    let usual = value!({"image_processor_type": "ConvNextImageProcessor", "do_resize": true, "do_rescale": true,
        "do_normalize": true, "crop_pct": 0.875, "size": {"shortest_edge": 56}, "resample": 3, "rescale_factor": 1.0 / 255.0,
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]});
    let config = value!({"model_type": "resnet", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2],
        "layer_type": "basic", "id2label": {"0": "a", "1": "b", "2": "c"}});
    let run = |name: &str, more: &Value, flags: &[&str]| {
        let root = folder.path().join(name);
        std::fs::create_dir_all(&root).unwrap();
        std::fs::copy(&weights, root.join("model.safetensors")).unwrap();
        std::fs::write(root.join("config.json"), config.to_string()).unwrap();
        std::fs::write(root.join("preprocessor_config.json"), merged(&usual, more).to_string()).unwrap();
        let arguments = ["predict", "--hub", text(&root), "--json", "--logits", text(&picture)].map(str::to_owned);
        resnet(&arguments.iter().map(String::as_str).chain(flags.iter().copied()).collect::<Vec<_>>())
    };
    let near = |one: &Run, other: &Run| {
        let logits =
            |run: &Run| line(run)["logits"].as_array().unwrap().iter().map(|l| l.as_f64().unwrap()).collect::<Vec<_>>();
        logits(one).iter().zip(logits(other)).all(|(a, b)| (a - b).abs() < 1e-3)
    };
    let plain = run("usual", &value!({}), &[]);
    let zero_one = run("zero_one", &value!({}), &["--mean", "0,0,0", "--std", "1,1,1"]);
    assert!(near(&run("unnormalised", &value!({"do_normalize": false}), &[]), &zero_one));
    let twice = run("twice", &value!({}), &["--mean", "0.2425,0.228,0.203", "--std", "0.1145,0.112,0.1125"]);
    assert!(near(&run("factor", &value!({"rescale_factor": 1.0 / 127.5}), &[]), &twice));
    assert!(!near(&run("unscaled", &value!({"do_rescale": false}), &[]), &plain));
    let bit = value!({"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 64}, "do_center_crop": true,
        "crop_pct": null, "crop_size": {"height": 56, "width": 56}});
    assert!(near(&run("bit", &bit, &[]), &plain));
    let vit =
        value!({"image_processor_type": "ViTImageProcessor", "size": {"height": 56, "width": 56}, "crop_pct": null});
    assert!(!near(&run("squash", &vit, &[]), &plain));
    for (name, more, part) in [
        ("unresized", value!({"do_resize": false}), "`do_resize`"),
        ("oblong", value!({"size": {"height": 56, "width": 64}}), "`size`"),
        ("huge", value!({"size": 1_000_000}), "4096"),
        ("other", value!({"image_processor_type": "Owlv2ImageProcessor"}), "Owlv2ImageProcessor"),
    ] {
        assert_refused(&run(name, &more, &[]), &["preprocessor_config.json", part]);
    }
}

#[test]
fn absurd_configurations_are_one_line_in_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    write_png(&picture, 3);
    let transformers = value!({"model_type": "resnet", "depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 32, 64],
        "embedding_size": 4, "layer_type": "basic"});
    let deep = format!("{{\"architecture\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (config, part) in [
        (merged(&transformers, &value!({"depths": [1_000_000_000_000_u64, 1, 1, 1]})).to_string(), "`depths`"),
        (merged(&transformers, &value!({"hidden_sizes": [u64::MAX, 16, 32, 64]})).to_string(), "`hidden_sizes`"),
        (merged(&transformers, &value!({"embedding_size": -4})).to_string(), "`embedding_size`"),
        (value!({"model_type": "vit"}).to_string(), "\"vit\""),
        (merged(&config(), &value!({"model_args": {"layers": [9_999_999_999_u64, 1, 1]}})).to_string(), "`layers`"),
        (deep, "nest"),
        (merged(&config(), &value!({"architecture": "re\u{1b}[2Js\nnet"})).to_string(), "\\u{1b}[2J"),
        ("<html>".into(), "web page"),
    ] {
        let root = repository(folder.path(), "absurd", "resnet20", 3, &config);
        let run = predict(&root, &picture);
        assert_refused(&run, &["config.json", part]);
        assert!(!run.stderr.contains('\u{1b}'), "{run:?}");
    }
}

/// Names of classes and files that are orders to a terminal are written escaped; in JSON they are themselves.
#[test]
fn text_of_files_reaches_a_terminal_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a\u{1b}[1m\u{202e}.png");
    write_png(&picture, 3);
    let names = value!({"label_names": ["\u{1b}[31mred\u{7}", "b\nc", "d\u{9b}2J"]});
    let root = repository(folder.path(), "names", "resnet20", 3, &merged(&config(), &names).to_string());
    let told = resnet(&["predict", "--hub", text(&root), text(&picture)]);
    assert_eq!((told.code, told.stdout.lines().count()), (Some(0), 4), "{told:?}");
    let is_plain = |text: &str| !text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}');
    assert!(is_plain(&told.stdout) && told.stdout.contains("\\u{1b}[31mred\\u{7}") && told.stdout.contains("b\\nc"));
    let run = predict(&root, &picture);
    assert!(is_plain(&run.stdout), "{run:?}");
    let line = line(&run);
    let labels: Vec<&str> =
        line["top"].as_array().unwrap().iter().map(|guess| guess["label"].as_str().unwrap()).collect();
    assert!(labels.contains(&"\u{1b}[31mred\u{7}") && labels.contains(&"d\u{9b}2J"), "{labels:?}");
    assert_eq!(line["image"].as_str().unwrap(), text(&picture));
    std::fs::write(&picture, "no picture").unwrap();
    let broken = predict(&root, &picture);
    assert!(is_plain(&broken.stderr) && broken.code == Some(2), "{broken:?}");
}

#[test]
fn no_backtrace_is_in_any_message() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    write_png(&picture, 3);
    let file = weights_file(folder.path(), "resnet20", Some(3));
    std::fs::write(folder.path().join("cut.safetensors"), &std::fs::read(&file).unwrap()[..9000]).unwrap();
    let input = folder.path().join("x.safetensors");
    let tensor = candle_core::Tensor::zeros((1, 4, 8), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
    candle_core::safetensors::save(&[("input", tensor)].into(), &input).unwrap();
    let cut = folder.path().join("cut.safetensors");
    let out = folder.path().join("y.safetensors");
    for arguments in [
        vec!["predict", "--arch", "resnet20", "--weights", text(&cut), text(&picture)],
        vec!["predict", "--arch", "resnet18", "--weights", text(&file), text(&picture)],
        vec![
            "forward",
            "--arch",
            "resnet20",
            "--weights",
            text(&file),
            "--input",
            text(&input),
            "--output",
            text(&out),
        ],
        vec!["predict", "--device", "cuda:0", "--arch", "resnet20", "--weights", text(&file), text(&picture)],
        vec!["predict", "--arch", "resnet20", "--weights", text(&file), "--image-size", "1", text(&picture)],
    ] {
        let run = Run::from(command(&arguments).env("RUST_BACKTRACE", "1").output().unwrap());
        let told = run.stderr.trim_end();
        assert!(told.lines().count() <= 1 && !told.contains("candle_core::") && !told.contains(" at "), "{run:?}");
    }
    let _ = json(&["list"]);
}
