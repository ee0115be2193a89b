//! Weights know the pictures that they were trained for: `eval` and `predict` make the same of an image as the trainer did.

mod common;

use std::fs;
use std::path::Path;

use common::{json, succeed, text, write_folder};

/// Trains for an epoch, and gives the loss that the run told and the one that `eval` finds with its weights.
fn losses(folder: &Path, arch: &str, steps: &str) -> (f64, f64) {
    let (data, recipe, out) = (folder.join("data"), folder.join("recipe.toml"), folder.join(arch));
    write_folder(&data);
    let dataset = format!("folder:{}", data.display());
    let lines = format!("dataset = '{dataset}'\nepochs = 1\nbatch_size = 8\n{steps}");
    fs::write(&recipe, format!("arch = '{arch}'\n{lines}\n[schedule]\nkind = 'constant'\nlr = 0.01\n")).unwrap();
    let told = succeed(&["train", "--recipe", text(&recipe), "--out", text(&out)]);
    let trained = told.split("loss ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    let evaluated = json(&["eval", "--weights", text(&out.join("last.safetensors"))]);
    (trained, evaluated[0]["loss"].as_f64().unwrap())
}

fn assert_same((trained, evaluated): (f64, f64)) {
    assert!((trained - evaluated).abs() < 2e-3 * trained, "trained {trained}, evaluated {evaluated}");
}

/// A network made for photos, trained on images of 32 pixels as they are: nothing is enlarged later either.
#[test]
fn images_are_taken_whole_where_training_took_them_whole() {
    let folder = tempfile::tempdir().unwrap();
    assert_same(losses(folder.path(), "resnet18", ""));
}

#[test]
fn the_recipes_steps_before_evaluation_are_those_of_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let steps =
        "test_transform = [{ step = 'resize', size = 41, filter = 'bicubic' }, { step = 'center-crop', size = 28 }]";
    assert_same(losses(
        folder.path(),
        "resnet20",
        &format!("augment = [{{ step = 'random-crop', size = 28 }}]\n{steps}"),
    ));
    let pictures = folder.path().join("data/val/ant");
    let file = folder.path().join("resnet20/last.safetensors");
    let logits = |more: &[&str]| {
        json(&[&["predict", "--weights", text(&file), "--logits", text(&pictures)], more].concat())[0]["logits"].clone()
    };
    assert_eq!(logits(&[]), logits(&["--image-size", "28"]));
    assert_ne!(logits(&[]), logits(&["--crop-pct", "1"]));
}
