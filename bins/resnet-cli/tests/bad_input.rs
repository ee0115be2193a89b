//! Everything that can be wrong with what the user gives: one line that names it, exit code 2, nothing overwritten.

mod common;

use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use common::{
    assert_refused, command, resnet, text, weights_file, weights_file_with, write_folder, write_png, write_recipe,
};
use resnet_models::weights;

/// A folder with CIFAR-10's binary files, all of a size, filled with zeros (class 0, black).
fn write_cifar(folder: &Path, bytes: usize) {
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
        fs::write(folder.join(format!("{name}.bin")), vec![0; bytes]).unwrap();
    }
}

const CIFAR_FILE: usize = 10_000 * 3073;

#[test]
fn a_truncated_batch_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", None);
    write_cifar(folder.path(), CIFAR_FILE - 1000);
    let data = text(folder.path());
    let eval = ["eval", "--arch", "resnet20", "--weights", text(&file), "--dataset", "cifar10", "--data-dir", data];
    assert_refused(&resnet(&eval), &["test_batch.bin", "30730000", "30729000", "truncated"]);
    let out = folder.path().join("run");
    let train = ["train", "--dataset", "cifar10", "--data-dir", data, "--out", text(&out)];
    assert_refused(&resnet(&train), &["data_batch_1.bin"]);
    assert!(!out.exists(), "a run without data leaves no directory");
}

#[test]
fn a_batch_of_wrong_length() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", None);
    write_cifar(folder.path(), CIFAR_FILE + 3073);
    let data = text(folder.path());
    let eval = ["eval", "--arch", "resnet20", "--weights", text(&file), "--dataset", "cifar10", "--data-dir", data];
    assert_refused(&resnet(&eval), &["test_batch.bin", "30730000", "30733073"]);
}

#[test]
fn an_image_that_is_no_image() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", None);
    let wrong = folder.path().join("letter.jpg");
    fs::write(&wrong, "Dear reader,").unwrap();
    let predict = |image: &Path| resnet(&["predict", "--arch", "resnet20", "--weights", text(&file), text(image)]);
    assert_refused(&predict(&wrong), &["letter.jpg", "image"]);
    fs::write(&wrong, "").unwrap();
    assert_refused(&predict(&wrong), &["letter.jpg", "empty"]);
    assert_refused(&predict(&folder.path().join("nowhere.png")), &["nowhere.png"]);

    let whole = folder.path().join("whole.png");
    write_png(&whole, 1);
    let bytes = fs::read(&whole).unwrap();
    let half = folder.path().join("half.png");
    fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    assert_refused(&predict(&half), &["half.png"]);

    let data = folder.path().join("data");
    write_folder(&data);
    fs::write(data.join("train/bee/9.png"), "no image").unwrap();
    let (recipe, out) = (folder.path().join("r.toml"), folder.path().join("run"));
    write_recipe(&recipe, &data);
    let train = ["train", "--recipe", text(&recipe), "--epochs", "1", "--out", text(&out)];
    assert_refused(&resnet(&[&train[..], &["--on-broken", "fail"]].concat()), &["bee", "9.png"]);
    fs::write(data.join("train/cat/9.png"), "nor this").unwrap();
    let run = resnet(&train);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("2 images could not be read and were left out, the first: "), "{run:?}");
    let lines: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("left out: ")).collect();
    assert!(lines.len() == 2 && lines[0].contains("bee/9.png") && lines[1].contains("cat/9.png"), "{run:?}");
}

#[test]
fn an_empty_class_folder() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    fs::create_dir(folder.path().join("train/dog")).unwrap();
    fs::create_dir(folder.path().join("val/dog")).unwrap();
    let dataset = format!("folder:{}", folder.path().display());
    let out = folder.path().join("run");
    let train = resnet(&["train", "--dataset", &dataset, "--out", text(&out)]);
    assert_refused(&train, &["dog", "no readable image"]);
    assert!(!out.exists());
}

#[test]
fn weights_of_another_network() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    write_png(&picture, 1);
    let deeper = weights_file(folder.path(), "resnet32", None);
    let predict =
        |arch: &str, file: &Path| resnet(&["predict", "--arch", arch, "--weights", text(file), text(&picture)]);
    assert_refused(&predict("resnet20", &deeper), &["resnet32.safetensors", "layer1.3", "--arch resnet32"]);
    let shallower = weights_file(folder.path(), "resnet20", None);
    assert_refused(&predict("resnet32", &shallower), &["resnet20.safetensors", "layer1.3", "--arch resnet20"]);
    assert_refused(&predict("resnet18", &shallower), &["resnet20.safetensors"]);
    let no_weights = folder.path().join("notes.txt");
    fs::write(&no_weights, "no weights at all").unwrap();
    assert_refused(&predict("resnet20", &no_weights), &["notes.txt"]);
    assert_refused(&predict("resnet20", &folder.path().join("nowhere.pth")), &["nowhere.pth"]);
    let nameless = resnet(&["predict", "--weights", text(&shallower), text(&picture)]);
    assert_refused(&nameless, &["resnet20.safetensors", "--arch resnet20"]);
}

#[test]
fn weights_of_another_number_of_classes() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", Some(3));
    let arguments = ["--arch", "resnet20", "--weights", text(&file), "--dataset", "shapes"];
    assert_refused(&resnet(&[&["eval"][..], &arguments].concat()), &["shapes", "10 classes", "3"]);
}

#[test]
fn nan_in_weights() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    write_png(&picture, 1);
    let file = weights_file_with(folder.path(), "resnet20", None, |name, tensor| match name {
        "layer2.1.conv2.weight" => (tensor * f64::NAN).unwrap(),
        _ => tensor,
    });
    let run = resnet(&["predict", "--arch", "resnet20", "--weights", text(&file), text(&picture)]);
    assert_refused(&run, &["resnet20.safetensors", "layer2.1.conv2.weight", "NaN"]);
}

#[test]
fn unknown_names_come_with_the_nearest() {
    assert_refused(&resnet(&["summary", "resnt50"]), &["resnt50", "resnet50"]);
    assert_refused(&resnet(&["bench", "train", "--arch", "resnet21"]), &["resnet21", "resnet20"]);
    assert_refused(&resnet(&["train", "--arch", "resent20"]), &["resent20", "resnet20"]);
    assert_refused(&resnet(&["train", "--dataset", "cifr10"]), &["cifr10", "cifar10"]);
    assert_refused(&resnet(&["train", "--recipe", "quik"]), &["quik", "quick"]);
    assert_refused(&resnet(&["predcit", "x.png"]), &["predcit", "predict"]);
    assert_refused(&resnet(&["train", "--epoch", "3"]), &["--epoch", "--epochs"]);
    assert_refused(&resnet(&["bench", "trian"]), &["trian", "train"]);
}

#[test]
fn values_out_of_their_range() {
    for (arguments, parts) in [
        (&["train", "--epochs", "0"][..], &["--epochs"][..]),
        (&["train", "--batch-size", "0"], &["--batch-size"]),
        (&["train", "--lr", "fast"], &["--lr"]),
        (&["train", "--lr", "-1"], &["lr"]),
        (&["train", "--resume"], &["--out"]),
        (&["train", "--device", "gpu"], &["--device", "cpu"]),
        (&["train", "--dtype", "f16"], &["--dtype", "bf16"]),
        (&["summary", "resnet20", "--classes", "0"], &["--classes"]),
        (&["bench", "infer", "--steps", "0"], &["--steps"]),
        (&["eval", "--weights", "w.pth", "--mean", "1,2", "--std", "1,1,1"], &["--mean", "three numbers"]),
        (&["eval", "--weights", "w.pth", "--mean", "0,0,0"], &["--std"]),
        (&["predict", "photo.jpg"], &["--hub", "--weights"]),
        (&["predict", "--weights", "w.pth", "--revision", "v1", "photo.jpg"], &["--revision", "--weights"]),
    ] {
        assert_refused(&resnet(arguments), parts);
    }
}

#[cfg(not(any(feature = "cuda", feature = "metal")))]
#[test]
fn a_device_that_the_build_does_not_have() {
    assert_refused(&resnet(&["bench", "infer", "--device", "cuda:1"]), &["--device cuda:1", "--features cuda"]);
    assert_refused(&resnet(&["bench", "infer", "--device", "metal"]), &["--device metal", "--features metal"]);
}

#[test]
fn output_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", None);
    let input = folder.path().join("x.safetensors");
    let images = Tensor::zeros((1, 3, 32, 32), candle_core::DType::F32, &Device::Cpu).unwrap();
    weights::save(&input, &[("input".to_owned(), images)], &Default::default()).unwrap();
    let forward = |input: &Path, output: &Path| {
        let arguments = ["forward", "--arch", "resnet20", "--weights", text(&file)];
        resnet(&[&arguments[..], &["--input", text(input), "--output", text(output)]].concat())
    };
    // A file where a folder should be: no permission gets round that, not even root's.
    let note = folder.path().join("note.txt");
    fs::write(&note, "keep me").unwrap();
    assert_refused(&forward(&input, &note.join("y.safetensors")), &["note.txt", "write"]);
    assert_refused(&forward(&input, &folder.path().join("nowhere/y.safetensors")), &["nowhere"]);
    let train = resnet(&["train", "--out", text(&note.join("run"))]);
    assert_refused(&train, &["note.txt"]);
    assert_eq!(fs::read_to_string(&note).unwrap(), "keep me");

    // A wrong input leaves an older output as it is.
    let output = folder.path().join("y.safetensors");
    fs::write(&output, "older").unwrap();
    assert_refused(&forward(&file, &output), &["resnet20.safetensors", "`input`"]);
    let flat = folder.path().join("flat.safetensors");
    let images = Tensor::zeros((3, 32, 32), candle_core::DType::F32, &Device::Cpu).unwrap();
    weights::save(&flat, &[("input".to_owned(), images)], &Default::default()).unwrap();
    assert_refused(&forward(&flat, &output), &["flat.safetensors", "(N, 3, H, W)"]);
    assert_eq!(fs::read_to_string(&output).unwrap(), "older");
}

#[test]
fn a_run_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (data, recipe, out) = (folder.path().join("data"), folder.path().join("r.toml"), folder.path().join("run"));
    write_folder(&data);
    write_recipe(&recipe, &data);
    let train = ["train", "--recipe", text(&recipe), "--out", text(&out)];
    let first = resnet(&[&train[..], &["--max-steps", "1"]].concat());
    assert_eq!(first.code, Some(0), "{first:?}");
    let before = fs::read(out.join("state.safetensors")).unwrap();
    assert_refused(&resnet(&train), &["run", "--resume"]);
    assert_refused(&resnet(&[&train[..], &["--resume", "--seed", "5"]].concat()), &["config.toml", "seed"]);
    let nothing = folder.path().join("nothing");
    let begun = resnet(&["train", "--recipe", text(&recipe), "--out", text(&nothing), "--resume", "--max-steps", "1"]);
    assert!(begun.code == Some(0) && begun.stderr.contains("nothing: no checkpoint"), "{begun:?}");
    assert_eq!(fs::read(out.join("state.safetensors")).unwrap(), before);

    // A damaged checkpoint is said to be one, and kept.
    fs::write(out.join("state.safetensors"), &before[..before.len() / 2]).unwrap();
    assert_refused(&resnet(&[&train[..], &["--resume"]].concat()), &["state.safetensors"]);
    assert_eq!(fs::read(out.join("state.safetensors")).unwrap().len(), before.len() / 2);
}

#[test]
fn recipes_with_wrong_keys() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("mine.toml");
    fs::write(&recipe, "arch = 'resnet20'\ndataset = 'shapes'\nepochz = 3\nbatch_size = 4\n").unwrap();
    assert_refused(&resnet(&["train", "--recipe", text(&recipe)]), &["mine.toml", "epochz"]);
    assert_refused(&resnet(&["train", "--recipe", "nowhere.toml"]), &["nowhere.toml"]);
}

#[test]
fn a_download_without_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let download = |offline: bool| {
        let mut command = command(&["train", "--dataset", "cifar10", "--out", text(&folder.path().join("run"))]);
        // Nobody listens on port 1.
        command
            .env("XDG_CACHE_HOME", folder.path())
            .env("HF_HOME", folder.path())
            .env("HF_ENDPOINT", "http://127.0.0.1:1");
        if !offline {
            command.env_remove("HF_HUB_OFFLINE");
        }
        command.output().unwrap().into()
    };
    assert_refused(&download(false), &["cifar10", "127.0.0.1:1", "--data-dir"]);
    assert_refused(&download(true), &["cifar10", "HF_HUB_OFFLINE"]);
    assert!(!folder.path().join("run").exists());
}

#[test]
fn data_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let train = |arguments: &[&str]| resnet(&[&["train", "--out", text(&out)], arguments].concat());
    assert_refused(&train(&["--dataset", "folder:/nowhere/at/all"]), &["--dataset folder:/nowhere/at/all", "give"]);
    assert_refused(&train(&["--dataset", "cifar10", "--data-dir", "/nowhere"]), &["--data-dir /nowhere", "give"]);
    assert_refused(
        &train(&["--dataset", "cifar10", "--data-dir", text(folder.path())]),
        &["cifar10", "cifar-10-batches-bin"],
    );
    assert!(!out.exists());
}

#[test]
fn files_that_are_not_there_are_named_by_their_flag() {
    let folder = tempfile::tempdir().unwrap();
    let file = weights_file(folder.path(), "resnet20", None);
    let weights = ["--arch", "resnet20", "--weights", text(&file)];
    let refused = |arguments: &[&str], parts: &[&str]| assert_refused(&resnet(arguments), parts);
    for command in ["predict", "embed"] {
        let arguments = |flag: &'static str, value: &'static str| [command, flag, value, "x.png"];
        let output: &[&str] = if command == "embed" { &["--output", "x.npy"] } else { &[] };
        let refused = |arguments: [&str; 4], parts: &[&str]| refused(&[&arguments[..], output].concat(), parts);
        refused(arguments("--weights", "nope.safetensors"), &["--weights nope.safetensors: no such file", "--hub"]);
        refused(arguments("--hub", "/nonexist"), &["--hub /nonexist: no such file or folder", "model.safetensors"]);
        refused(arguments("--hub", "./nonexist"), &["--hub ./nonexist: no such file or folder", "OWNER/NAME"]);
    }
    refused(&["export", "--weights", "nope.pth", "--onnx", "x.onnx"], &["--weights nope.pth"]);
    refused(&["convert", "nope.pth", "x.pth"], &["nope.pth: no such file", "give"]);
    let forward = ["forward", "--input", "nope.safetensors", "--output", "x.safetensors"];
    refused(&[&forward[..], &weights].concat(), &["--input nope.safetensors", "`input`"]);
    refused(&["bench", "load", "--data", "nope"], &["--data nope: no such file or folder", "shards:DIR"]);
    refused(&["train", "--recipe", "nope.toml"], &["--recipe nope.toml", "resnet list"]);
    // No folder, and a file in its place.
    for data in ["nope", text(&file)] {
        let wanted = format!("--data {data}: no such folder; give the one that holds a folder for each class");
        refused(&[&["finetune", "--data", data], &weights[..]].concat(), &[&wanted]);
    }
    refused(&["finetune", "--data", ".", "--weights", "nope.pth"], &["--weights nope.pth"]);
}
