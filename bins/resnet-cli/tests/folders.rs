//! How folders of images are understood, told before work begins.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Run, assert_refused, resnet, text, weights_file, write_png};

/// Puts a number of pictures into a folder.
fn put(folder: &Path, count: usize) {
    (0..count).for_each(|i| write_png(&folder.join(format!("{i}.png")), i));
}

/// Trains the head alone for an epoch on a folder; gives the run and the classes that it wrote.
fn finetune(place: &Path, data: &Path, more: &[&str]) -> (Run, String) {
    let out = place.join("run");
    let _ = fs::remove_dir_all(&out);
    let file = weights_file(place, "resnet20", None);
    let start = ["finetune", "--arch", "resnet20", "--weights", text(&file), "--data", text(data)];
    let run = resnet(&[&start[..], &["--head-epochs", "1", "--epochs", "0", "--out", text(&out)], more].concat());
    let config = fs::read_to_string(out.join("config.toml")).unwrap_or_default();
    let classes: Vec<&str> = config.lines().skip_while(|line| !line.starts_with("classes")).take(6).collect();
    (run, classes.concat())
}

fn new() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    (folder, data)
}

#[test]
fn a_class_may_be_called_train() {
    let (folder, data) = new();
    ["bus", "car", "train"].iter().for_each(|class| put(&data.join(class), 5));
    let (run, classes) = finetune(folder.path(), &data, &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(["bus", "car", "train"].iter().all(|class| classes.contains(class)), "{classes}");
    for part in ["train is taken for a class", "train has 12 images, val 3 images held out", "bus 4 + 1, car 4 + 1"] {
        assert!(run.stderr.contains(part), "{part:?} is not in {run:?}");
    }
    assert!(run.stderr.lines().filter(|line| line.starts_with("data: ")).count() <= 3, "{run:?}");
}

#[test]
fn training_and_testing_are_parts() {
    let (folder, data) = new();
    for (part, count) in [("Training", 4), ("Testing", 2)] {
        ["glioma", "notumor", "pituitary"].iter().for_each(|class| put(&data.join(part).join(class), count));
    }
    let (run, classes) = finetune(folder.path(), &data, &[]);
    assert!(run.code == Some(0) && classes.contains("glioma") && !classes.contains("Training"), "{run:?} {classes}");
    for part in ["train is Training/ (12 images), test is Testing/ (6 images)", "3 classes: glioma 4 + 2"] {
        assert!(run.stderr.contains(part), "{part:?} is not in {run:?}");
    }
    // What may be either is refused with both readings.
    fs::rename(data.join("Testing/glioma"), data.join("Testing/g")).unwrap();
    fs::rename(data.join("Testing/notumor"), data.join("Testing/n")).unwrap();
    fs::rename(data.join("Testing/pituitary"), data.join("Testing/p")).unwrap();
    assert_refused(
        &finetune(folder.path(), &data, &[]).0,
        &["Testing", "Training", "--layout parts", "--layout classes"],
    );
    let (run, classes) = finetune(folder.path(), &data, &["--layout", "classes"]);
    assert!(run.code == Some(0) && classes.contains("Training"), "{run:?}");
}

#[test]
fn of_three_parts_test_is_left_alone_until_it_is_asked_for() {
    let (folder, data) = new();
    for (part, count) in [("train", 4), ("valid", 2), ("test", 3)] {
        ["ant", "bee"].iter().for_each(|class| put(&data.join(part).join(class), count));
    }
    let (run, _) = finetune(folder.path(), &data, &[]);
    assert!(run.stderr.contains("val is valid/ (4 images), test is test/ (left alone"), "{run:?}");
    let best = folder.path().join("run/best.safetensors");
    let images = |more: &[&str]| {
        common::json(&[&["eval", "--weights", text(&best)], more].concat())[0]["images"].as_u64().unwrap()
    };
    assert_eq!((images(&[]), images(&["--split", "val"]), images(&["--split", "train"])), (6, 4, 8));
    // With train/ alone a share of it is held out.
    fs::remove_dir_all(data.join("valid")).unwrap();
    fs::remove_dir_all(data.join("test")).unwrap();
    let (run, _) = finetune(folder.path(), &data, &[]);
    assert!(run.stderr.contains("no val or test beside train: train has 6 images, val 2 images"), "{run:?}");
    assert_eq!((images(&[]), images(&["--split", "train"])), (2, 6));
}

#[test]
fn what_is_left_out_is_counted_by_kind() {
    let (folder, data) = new();
    for class in ["cat", "dog"] {
        put(&data.join(class), 5);
        let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
        fs::write(data.join(class).join("IMG_0001.HEIC"), heic).unwrap();
        for name in ["notes.txt", "Thumbs.db", "._0.png"] {
            fs::write(data.join(class).join(name), "x").unwrap();
        }
    }
    fs::create_dir_all(data.join("__MACOSX/cat")).unwrap();
    fs::write(data.join("__MACOSX/cat/._0.png"), "x").unwrap();
    fs::write(data.join("README"), "x").unwrap();
    let (run, classes) = finetune(folder.path(), &data, &[]);
    assert!(run.code == Some(0) && !classes.contains("MACOSX"), "{run:?} {classes}");
    for part in ["left out: 2 HEIC (", "2 text files, 1 file beside the classes", "2 classes: cat 4 + 1, dog 4 + 1"] {
        assert!(run.stderr.contains(part), "{part:?} is not in {run:?}");
    }
    let file = weights_file(folder.path(), "resnet20", None);
    let predict = |images: &Path| resnet(&["predict", "--arch", "resnet20", "--weights", text(&file), text(images)]);
    let run = predict(&data);
    assert_eq!((run.code, run.stdout.matches(".png").count()), (Some(0), 10), "{run:?}");
    assert!(run.stderr.contains("10 images; left out: 2 HEIC"), "{run:?}");
    assert_refused(&predict(&data.join("cat/IMG_0001.HEIC")), &["IMG_0001.HEIC"]);
    assert_refused(&predict(&data.join("*.webp")), &["*.webp", "no image"]);
    // An empty class ends the command where it would have been learned.
    fs::create_dir(data.join("owl")).unwrap();
    assert_refused(&finetune(folder.path(), &data, &[]).0, &["owl", "it is empty", "--allow-empty"]);
    let (run, classes) = finetune(folder.path(), &data, &["--allow-empty"]);
    assert!(run.code == Some(0) && classes.contains("owl"), "{run:?} {classes}");
}

#[cfg(target_os = "linux")]
#[test]
fn names_of_any_kind_stay_distinct() {
    use std::os::unix::ffi::OsStrExt;
    let (folder, data) = new();
    for (seed, name) in
        [&b"[1].png"[..], b"two\nlines.png", b"-dash.png", b" blank .png", b"caf\xe9.png", b"caf\xe8.png"]
            .iter()
            .enumerate()
    {
        write_png(&data.join("x.png"), seed);
        fs::rename(data.join("x.png"), data.join(std::ffi::OsStr::from_bytes(name))).unwrap();
    }
    let file = weights_file(folder.path(), "resnet20", None);
    let predict = ["predict", "--arch", "resnet20", "--weights", text(&file), "--top-k", "1", text(&data)];
    let told = common::succeed(&predict);
    assert_eq!(told.lines().count(), 12, "{told}");
    let objects = common::json(&predict);
    let names: std::collections::BTreeSet<&str> =
        objects.iter().map(|object| object["image"].as_str().unwrap().rsplit('/').next().unwrap()).collect();
    let wanted = [" blank .png", "-dash.png", "[1].png", "caf\\xE8.png", "caf\\xE9.png", "two\nlines.png"];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), wanted);
    assert_eq!(objects.iter().filter(|object| object["escaped"] == true).count(), 2);
    // A file of that name before a pattern.
    let one = common::json(&[&predict[..7], &[text(&data.join("[1].png"))]].concat());
    assert_eq!(one.len(), 1);
    // Fine-tuned on, they stand in split.csv, quoted where they must be.
    let photos = folder.path().join("photos");
    for class in ["a", "b"] {
        put(&photos.join(class), 1);
        fs::read_dir(&data).unwrap().flatten().for_each(|entry| {
            fs::copy(entry.path(), photos.join(class).join(entry.file_name())).unwrap();
        });
    }
    let (run, _) = finetune(folder.path(), &photos, &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let table = fs::read_to_string(folder.path().join("run/split.csv")).unwrap();
    assert!(table.contains("\"a/two\nlines.png\",a,") && table.contains("a/caf\\xE9.png,a,"), "{table}");
    let evaluated = common::json(&["eval", "--weights", text(&folder.path().join("run/best.safetensors"))]);
    assert_eq!(evaluated[0]["images"].as_u64(), Some(2));
}

#[test]
fn a_tilde_that_no_shell_has_seen_is_the_home_folder() {
    let (home, data) = new();
    ["ant", "bee"].iter().for_each(|class| put(&data.join(class), 3));
    let file = weights_file(home.path(), "resnet20", Some(2));
    let eval = |dataset: &str| -> Run {
        let arguments = ["eval", "--arch", "resnet20", "--weights=~/resnet20.safetensors", "--dataset", dataset];
        common::command(&arguments).env("HOME", home.path()).output().unwrap().into()
    };
    assert!(file.exists());
    let run = eval("folder:~/data");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_refused(&eval("folder:~nobody/data"), &["~nobody/data", "whole path"]);
}
