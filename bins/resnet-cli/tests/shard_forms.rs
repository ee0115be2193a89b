//! Shards as people have them: members in another order, byte order marks, parts without the last class, rows without a
//! picture, columns of other names, damaged files.

mod common;

use std::fs;
use std::path::Path;

use common::{assert_refused, json, resnet, text, weights_file, write_png};

const PARQUET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/resnet-data/tests/parquet");

/// A tar file of pictures and their labels: all pictures, then all labels, as `tar cf a.tar *.png *.cls` writes them.
fn write_tar(path: &Path, samples: &[(usize, &str)]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let png = path.with_extension("png");
    let mut builder = tar::Builder::new(fs::File::create(path).unwrap());
    let mut add = |name: String, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    for (number, _) in samples {
        write_png(&png, *number);
        add(format!("{number:04}.png"), &fs::read(&png).unwrap());
    }
    for (number, label) in samples {
        add(format!("{number:04}.cls"), label.as_bytes());
    }
    builder.finish().unwrap();
    fs::remove_file(png).unwrap();
}

fn write_recipe(path: &Path, dataset: &str) {
    let recipe = format!(
        "arch = 'resnet20'\ndataset = '{dataset}'\nepochs = 1\nbatch_size = 4\n[schedule]\nkind = 'constant'\nlr = 0.01\n"
    );
    fs::write(path, recipe).unwrap();
}

fn load(data: &str) -> common::Run {
    resnet(&["bench", "load", "--data", data, "--batch-size", "4", "--image-size", "32", "--steps", "1", "--json"])
}

#[test]
fn an_unsorted_shard_is_read_and_told() {
    let folder = tempfile::tempdir().unwrap();
    write_tar(&folder.path().join("train-000000.tar"), &[(0, "0"), (1, "1"), (2, "0"), (3, "1"), (4, "0")]);
    let run = load(&format!("shards:{}", folder.path().display()));
    assert!(run.code == Some(0) && run.stdout.contains("\"images\":5"), "{run:?}");
    assert!(
        run.stderr.starts_with("data: shards:")
            && run.stderr.contains("5 images of 2 classes, 2 (1) to 3 (0) each, in 1 tar file"),
        "{run:?}"
    );
}

#[test]
fn a_part_without_the_last_class_is_evaluated_as_in_training() {
    let folder = tempfile::tempdir().unwrap();
    let (shards, recipe, out) = (folder.path().join("tars"), folder.path().join("r.toml"), folder.path().join("run"));
    let train: Vec<(usize, &str)> = (0..12).map(|n| (n, ["0", "1", "2"][n % 3])).collect();
    write_tar(&shards.join("set-train-000000.tar"), &train);
    write_tar(&shards.join("set-val-000000.tar"), &[(100, "0"), (101, "1"), (102, "0"), (103, "1")]);
    write_recipe(&recipe, &format!("shards:{}", shards.display()));
    let run = resnet(&["train", "--recipe", text(&recipe), "--out", text(&out)]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("4 images of 2 classes, 2 each, 1 without images (2), in 1 tar file"), "{run:?}");
    let evaluated = resnet(&["eval", "--weights", text(&out.join("best.safetensors")), "--json"]);
    assert!(evaluated.code == Some(0) && evaluated.stdout.contains("\"images\":4"), "{evaluated:?}");
}

#[test]
fn byte_order_marks_are_no_content() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights_file(folder.path(), "resnet20", Some(2));
    let shards = folder.path().join("marked");
    write_tar(&shards.join("val-000.tar"), &[(0, "\u{feff}0\r\n"), (1, "\u{feff}1\r\n")]);
    fs::write(shards.join("classes.txt"), "\u{feff}cat\r\ndog\r\n").unwrap();
    let dataset = format!("shards:{}", shards.display());
    let network = ["--arch", "resnet20", "--weights", text(&weights), "--image-size", "32", "--dataset", &dataset];
    let image = folder.path().join("a.png");
    write_png(&image, 1);
    let predicted = json(&[&["predict"], &network[..], &[text(&image)]].concat());
    let mut labels: Vec<&str> =
        predicted[0]["top"].as_array().unwrap().iter().map(|top| top["label"].as_str().unwrap()).collect();
    labels.sort_unstable();
    assert_eq!(labels, ["cat", "dog"]);
}

#[test]
fn rows_without_a_picture_are_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("recipe.toml");
    write_recipe(&recipe, &format!("parquet:{PARQUET}/pictures"));
    let train = |name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        resnet(&[&["train", "--recipe", text(&recipe), "--out", text(&out)], more].concat())
    };
    let run = train("skip", &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("2 images could not be read"), "{run:?}");
    for part in
        ["train-0.parquet, row group 0, row 3", "train-0.parquet, row group 1, row 1", "/home/me/cat.png is no file"]
    {
        assert!(run.stderr.contains(part), "{run:?}");
    }
    assert_refused(&train("fail", &["--on-broken", "fail"]), &["train-0.parquet, row group 0, row 3"]);
}

#[test]
fn columns_are_chosen_by_flag_or_name() {
    let folder = tempfile::tempdir().unwrap();
    // Under a name that says no part, as every part.
    let plain = folder.path().join("a.parquet");
    std::fs::copy(format!("{PARQUET}/pictures/validation-0.parquet"), &plain).unwrap();
    let named = load(&format!("parquet:{}?image=image&label=colour", plain.display()));
    assert!(named.code == Some(0) && named.stdout.contains("\"images\":6"), "{named:?}");
    let dataset = format!("parquet:{PARQUET}/pictures");
    let out = folder.path().join("run");
    let recipe = folder.path().join("recipe.toml");
    write_recipe(&recipe, &dataset);
    let run = resnet(&["train", "--recipe", text(&recipe), "--out", text(&out), "--label-column", "colour"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let config = fs::read_to_string(out.join("config.toml")).unwrap();
    assert!(config.contains("pictures?label=colour"), "an evaluation later reads the same column: {config}");
    let train = |more: &[&str]| {
        resnet(&[&["train", "--recipe", text(&recipe), "--out", text(&folder.path().join("x"))], more].concat())
    };
    assert_refused(&train(&["--label-column", "size"]), &["no column size", "image.bytes, image.path, colour"]);
    assert_refused(&train(&["--dataset", "shapes", "--image-column", "x"]), &["--image-column", "shapes"]);
}

#[test]
fn damaged_and_foreign_shards_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["loops", "panics"] {
        let run = load(&format!("parquet:{PARQUET}/damaged/{name}.parquet"));
        assert_eq!(run.code, Some(2), "{run:?}");
        let lines: Vec<&str> = run.stderr.lines().filter(|line| !line.starts_with("data: ")).collect();
        assert!(lines.len() == 1 && lines[0].contains(name) && !lines[0].contains("download"), "{run:?}");
    }
    for (name, bytes, part) in [
        ("a.parquet", &b"version https://git-lfs.github.com/spec/v1\n"[..], "git lfs pull"),
        ("b.parquet", b"<!DOCTYPE html><title>401</title>", "HTML"),
        ("c.tar", b"\x1f\x8b\x08\x00", "gzip"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let kind = if name.ends_with("tar") { "shards" } else { "parquet" };
        assert_refused(&load(&format!("{kind}:{}", path.display())), &[name, part]);
    }
    assert_refused(&load("shards:https://example.org/train-{0..9}.tar"), &["fetch them into a folder"]);
}
