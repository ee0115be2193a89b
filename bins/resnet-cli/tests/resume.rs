//! A run that was killed, resumed, ends with the bits of one that was not.

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{command, resnet, text, write_folder, write_recipe};

/// The files whose bits must be equal.
const WEIGHTS: [&str; 2] = ["last.safetensors", "best.safetensors"];

fn assert_equal_weights(a: &Path, b: &Path) {
    for file in WEIGHTS {
        assert!(fs::read(a.join(file)).unwrap() == fs::read(b.join(file)).unwrap(), "{file} differs");
    }
}

#[test]
fn killed_and_resumed_is_bit_for_bit_uninterrupted() {
    let folder = tempfile::tempdir().unwrap();
    let (data, recipe) = (folder.path().join("data"), folder.path().join("recipe.toml"));
    write_folder(&data);
    write_recipe(&recipe, &data);
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let train = |out: &Path| -> Vec<String> {
        // Long enough to be killed on the fastest machine.
        let arguments = ["train", "--recipe", text(&recipe), "--epochs", "15", "--out", text(out)];
        arguments.map(str::to_owned).into()
    };
    let arguments: Vec<String> = train(&whole);
    let run = resnet(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(run.code, Some(0), "{run:?}");

    // Killed without warning (SIGKILL) once its first epoch stands in the log.
    let arguments: Vec<String> = train(&killed);
    let mut child = command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = killed.join("log.jsonl");
    let begun = Instant::now();
    while !fs::read_to_string(&log).is_ok_and(|text| text.contains("\"epoch\"") && text.contains('\n')) {
        assert!(begun.elapsed() < Duration::from_secs(300), "no epoch in five minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "the run was over before it was killed");

    // Without --recipe: the run knows its own.
    let run = resnet(&["train", "--out", text(&killed), "--resume"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_equal_weights(&whole, &killed);
}

#[test]
fn stopped_within_an_epoch_and_resumed_is_bit_for_bit_uninterrupted() {
    let folder = tempfile::tempdir().unwrap();
    let (data, recipe) = (folder.path().join("data"), folder.path().join("recipe.toml"));
    write_folder(&data);
    write_recipe(&recipe, &data);
    let (whole, pieces) = (folder.path().join("whole"), folder.path().join("pieces"));
    let run = resnet(&["train", "--recipe", text(&recipe), "--out", text(&whole)]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let run = resnet(&["train", "--recipe", text(&recipe), "--out", text(&pieces), "--max-steps", "4"]);
    assert!(run.stdout.contains("stopped after step 4") && run.stdout.contains("--resume"), "{run:?}");
    for steps in ["5", "100"] {
        // Another number of reading threads changes nothing either.
        let run = resnet(&["train", "--out", text(&pieces), "--resume", "--max-steps", steps, "--workers", "3"]);
        assert_eq!(run.code, Some(0), "{run:?}");
    }
    assert_equal_weights(&whole, &pieces);
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_leaves_cleanly() {
    assert_eq!(interrupted(&["--quiet"]), "");
    // Who reads a log wants to read there why it ends.
    let log = interrupted(&[]);
    assert!(log.contains("stopping after this step"), "{log}");
}

/// Standard error of a run that Ctrl-C ends.
#[cfg(unix)]
fn interrupted(more: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (data, recipe, out) =
        (folder.path().join("data"), folder.path().join("recipe.toml"), folder.path().join("run"));
    write_folder(&data);
    write_recipe(&recipe, &data);
    let arguments = ["train", "--recipe", text(&recipe), "--epochs", "100000", "--out", text(&out)];
    let child =
        command(&[&arguments[..], more].concat()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !out.join("log.jsonl").metadata().is_ok_and(|log| log.len() > 0) {
        assert!(begun.elapsed() < Duration::from_secs(300), "no epoch in five minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let output: common::Run = child.wait_with_output().unwrap().into();
    assert_eq!(output.code, Some(130), "{output:?}");
    assert!(output.stdout.contains("stopped after step") && output.stdout.contains("--resume"), "{output:?}");
    assert!(out.join("last.safetensors").is_file());
    output.stderr
}
