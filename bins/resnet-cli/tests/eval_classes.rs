//! What an evaluation says of classes that are not the network's, and of images that are not all alike.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{assert_refused, json, resnet, text, weights_file_with, write_png};

/// A picture of one grey, of any size.
fn write_grey(path: &Path, (width, height): (u32, u32), grey: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&vec![grey; (width * height) as usize]).unwrap();
}

/// A repository whose labels are dog and cat, and that always says dog.
fn hub(folder: &Path) -> PathBuf {
    let file = weights_file_with(folder, "resnet20", Some(2), |name, tensor| match name {
        "fc.weight" => tensor.zeros_like().unwrap(),
        "fc.bias" => candle_core::Tensor::new(&[5f32, 0.0], tensor.device()).unwrap(),
        _ => tensor,
    });
    let hub = folder.join("hub");
    fs::create_dir_all(&hub).unwrap();
    fs::rename(file, hub.join("model.safetensors")).unwrap();
    let config = r#"{"architecture": "resnet20", "num_classes": 2, "label_names": ["dog", "cat"],
        "pretrained_cfg": {"input_size": [3, 32, 32], "interpolation": "bicubic", "crop_pct": 1.0,
        "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}"#;
    fs::write(hub.join("config.json"), config).unwrap();
    hub
}

fn write_classes(root: &Path, classes: &[(&str, usize)]) -> String {
    for (name, count) in classes {
        (0..*count).for_each(|i| write_png(&root.join(name).join(format!("{i}.png")), i));
    }
    format!("folder:{}", root.display())
}

#[test]
fn classes_are_the_networks_of_that_name() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path());
    let eval = |dataset: &str, more: &[&str]| {
        resnet(&[&["eval", "--hub", text(&hub), "--dataset", dataset, "--json"], more].concat())
    };
    let correct = |run: common::Run| {
        assert_eq!(run.code, Some(0), "{run:?}");
        let object: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        (object["correct"].as_u64().unwrap(), object["images"].as_u64().unwrap())
    };
    let same = write_classes(&folder.path().join("same"), &[("dog", 8), ("cat", 2)]);
    assert_eq!(correct(eval(&same, &[])), (8, 10));
    let others = write_classes(&folder.path().join("others"), &[("pizza", 8), ("steak", 2)]);
    assert_refused(&eval(&others, &[]), &["pizza, steak", "the weights know dog, cat", "--map"]);
    assert_eq!(correct(eval(&others, &["--map", "pizza=cat", "--map", "steak=dog"])), (2, 10));
    assert_eq!(correct(eval(&others, &["--map", "pizza=cat", "--map", "steak="])), (0, 8));
    assert_eq!(correct(eval(&others, &["--match", "position"])), (8, 10));
    let run = eval(&write_classes(&folder.path().join("some"), &[("dog", 3)]), &[]);
    assert!(run.stderr.contains("1 of the network's 2 classes"), "{run:?}");
    assert_eq!(correct(run), (3, 3));
}

#[test]
fn a_class_that_own_weights_do_not_know_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path());
    let (mine, out) = (folder.path().join("mine"), folder.path().join("run"));
    write_classes(&mine, &[("cat", 3), ("dog", 3), ("wolf", 3)]);
    let weights = hub.join("model.safetensors");
    let start = ["finetune", "--arch", "resnet20", "--weights", text(&weights), "--data", text(&mine)];
    let run = resnet(&[&start[..], &["--head-epochs", "1", "--epochs", "0", "--out", text(&out)]].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    let later = write_classes(&folder.path().join("later"), &[("ant", 3), ("cat", 3), ("dog", 3)]);
    let run = resnet(&["eval", "--weights", text(&out.join("best.safetensors")), "--dataset", &later]);
    assert_refused(&run, &["ant is no class of the weights", "cat, dog, wolf"]);
}

#[test]
fn the_first_image_says_nothing_about_the_sizes_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file_with(folder.path(), "resnet20", Some(2), |_, tensor| tensor);
    let sizes = [(32, 32), (60, 45), (45, 60), (80, 80), (33, 32), (32, 100)];
    let loss = |name: &str, place: &dyn Fn(usize) -> usize| {
        let root = folder.path().join(name);
        for (class, name) in ["ant", "bee"].into_iter().enumerate() {
            for (i, &size) in sizes.iter().enumerate() {
                write_grey(&root.join(name).join(format!("{}.png", place(i))), size, (100 * class + 20 * i) as u8);
            }
        }
        let dataset = format!("folder:{}", root.display());
        let found = &json(&["eval", "--arch", "resnet20", "--weights", text(&file), "--dataset", &dataset])[0];
        assert_eq!(found["images"].as_u64(), Some(12));
        found["loss"].as_f64().unwrap()
    };
    let (first, later) = (loss("first", &|i| i), loss("later", &|i| sizes.len() - i));
    assert!((first - later).abs() < 1e-5, "{first} {later}");
}

#[test]
fn images_that_cannot_be_read_are_left_out_of_the_result_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file_with(folder.path(), "resnet20", Some(2), |_, tensor| tensor);
    let root = folder.path().join("data");
    let dataset = write_classes(&root, &[("ant", 6), ("bee", 6)]);
    let broken = root.join("ant/3.png");
    let whole = fs::read(&broken).unwrap();
    fs::write(&broken, &whole[..whole.len() / 2]).unwrap();
    let eval = |more: &[&str]| {
        let start = ["eval", "--arch", "resnet20", "--weights", text(&file), "--dataset", &dataset, "--json"];
        resnet(&[&start[..], more].concat())
    };
    for more in [&[][..], &["--crop", "ten"]] {
        let run = eval(more);
        assert_eq!(run.code, Some(2), "{run:?}");
        let found: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(found["images"].as_u64(), Some(11));
        assert_eq!(run.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{run:?}");
        assert!(run.stderr.contains("1 of 12 images could not be read") && run.stderr.contains("ant/3.png"), "{run:?}");
    }
    for name in ["ant", "bee"] {
        (0..6).for_each(|i| fs::write(root.join(name).join(format!("{i}.png")), "x").unwrap());
    }
    assert_refused(&eval(&[]), &["none of 12 images could be read", "ant/0.png"]);
}
