//! Outputs that cannot be written: the old file stays, nothing is left beside it, and one line names file and cause.

#![cfg(unix)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Run, command, resnet, text, weights_file, write_folder, write_png, write_recipe};

/// Weights, sixty pictures, and outputs with the old content.
struct Place {
    folder: tempfile::TempDir,
    weights: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let weights = weights_file(folder.path(), "resnet20", Some(3));
        for i in 0..60 {
            write_png(&folder.path().join(format!("pics/{i:02}.png")), i);
        }
        fs::create_dir(folder.path().join("out")).unwrap();
        Self { folder, weights }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// The commands that write a file, each for this one.
    fn writing(&self, output: &str) -> Vec<String> {
        let (weights, pictures) = (text(&self.weights).to_owned(), text(&self.folder.path().join("pics")).to_owned());
        let of = |parts: &[&str]| parts.iter().map(|part| part.to_string()).collect();
        match output.rsplit('.').next() {
            Some("npy" | "parquet") => of(&[
                "embed",
                "--arch",
                "resnet20",
                "--weights",
                &weights,
                "--image-size",
                "32",
                "--output",
                output,
                &pictures,
            ]),
            Some("onnx") => of(&["export", "--arch", "resnet20", "--weights", &weights, "--onnx", output]),
            _ => of(&["convert", &weights, output]),
        }
    }
}

/// Runs the program through a shell that says something before; `$0` is the program, `$@` its arguments.
fn through_sh(script: &str, arguments: &[&str], more: impl FnOnce(&mut Command)) -> Run {
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_resnet")]).args(arguments).env("HF_HUB_OFFLINE", "1");
    more(&mut command);
    command.output().unwrap().into()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn as_strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// A limit of a file's size does what a full disk does, without a mount.
#[test]
fn a_full_disk_leaves_the_old_files_and_nothing_else() {
    let place = Place::new();
    for (name, blocks) in
        [("e.npy", 8), ("e.parquet", 2), ("net.onnx", 100), ("net.pth", 100), ("net.safetensors", 100)]
    {
        for trap in ["trap '' XFSZ;", ""] {
            let output = place.out().join(name);
            fs::write(&output, "old\n").unwrap();
            let script = format!("{trap} ulimit -f {blocks}; exec \"$0\" \"$@\"");
            let run = through_sh(&script, &as_strs(&place.writing(text(&output))), |_| {});
            assert!(matches!(run.code, Some(1 | 2)), "{name}: {run:?}");
            assert_eq!(run.stderr.trim_end().lines().count(), 1, "{name}: {run:?}");
            assert!(run.stderr.starts_with("error: ") && run.stderr.contains(text(&output)), "{name}: {run:?}");
            assert!(run.stderr.contains("File too large"), "{name}: {run:?}");
            assert_eq!(fs::read_to_string(&output).unwrap(), "old\n", "{name}");
            assert_eq!(names(&place.out()), [name]);
            fs::remove_file(output).unwrap();
        }
    }
}

#[test]
fn what_can_be_no_output_is_refused_by_name() {
    let place = Place::new();
    for ending in ["npy", "parquet", "onnx", "pth", "safetensors"] {
        let refused = |output: &Path, cause: &str| {
            let run = resnet(&as_strs(&place.writing(text(output))));
            assert!(matches!(run.code, Some(1 | 2)), "{run:?}");
            assert_eq!(run.stderr.trim_end().lines().count(), 1, "{run:?}");
            assert!(run.stderr.contains(text(output)) && run.stderr.contains(cause), "{cause}: {run:?}");
        };
        let folder = place.out().join(format!("folder.{ending}"));
        fs::create_dir(&folder).unwrap();
        refused(&folder, "it is a folder");
        refused(&place.out().join(format!("missing/net.{ending}")), "no folder");
        for device in ["full", "null"] {
            let link = place.out().join(format!("{device}.{ending}"));
            std::os::unix::fs::symlink(format!("/dev/{device}"), &link).unwrap();
            refused(&link, "device");
            assert!(link.is_symlink(), "the link is still one");
            fs::remove_file(link).unwrap();
        }
        fs::remove_dir(&folder).unwrap();
    }
    for device in ["/dev/full", "/dev/stdout", "/dev/null"] {
        let run = resnet(&[
            "forward",
            "--arch",
            "resnet20",
            "--weights",
            text(&place.weights),
            "--input",
            "x",
            "--output",
            device,
        ]);
        assert!(matches!(run.code, Some(1 | 2)), "{run:?}");
        let run = resnet(&["export", "--arch", "resnet20", "--weights", text(&place.weights), "--onnx", device]);
        assert!(matches!(run.code, Some(1 | 2)) && run.stderr.contains(device), "{run:?}");
    }
    assert!(names(&place.out()).is_empty());
}

#[test]
fn an_output_of_vectors_takes_its_paths_with_it_or_neither() {
    let place = Place::new();
    let output = place.out().join("e.npy");
    fs::create_dir(place.out().join("e.paths.txt")).unwrap();
    let run = resnet(&as_strs(&place.writing(text(&output))));
    assert!(run.code != Some(0) && run.stderr.contains("e.paths.txt"), "{run:?}");
    assert_eq!(names(&place.out()), ["e.paths.txt"]);
}

fn recipe_in(folder: &Path) -> PathBuf {
    let (data, recipe) = (folder.join("data"), folder.join("recipe.toml"));
    write_folder(&data);
    write_recipe(&recipe, &data);
    recipe
}

#[test]
fn a_full_disk_at_the_beginning_leaves_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe_in(folder.path()), folder.path().join("run"));
    let train = ["train", "--recipe", text(&recipe), "--epochs", "1", "--out", text(&out)];
    let run = through_sh("ulimit -f 100; exec \"$0\" \"$@\"", &train, |_| {});
    assert!(matches!(run.code, Some(1 | 2)) && run.stderr.contains("state.safetensors"), "{run:?}");
    assert!(!out.exists());
}

#[test]
fn a_disk_that_fills_up_ends_a_run_that_goes_on_later() {
    let folder = tempfile::tempdir().unwrap();
    let (recipe, whole, out) = (recipe_in(folder.path()), folder.path().join("whole"), folder.path().join("run"));
    let train = |out: &Path, more: &[&str]| {
        resnet(&[&["train", "--recipe", text(&recipe), "--quiet", "--out", text(out)], more].concat())
    };
    assert_eq!(train(&whole, &[]).code, Some(0));
    assert_eq!(train(&out, &["--max-steps", "7"]).code, Some(0));
    // The log cannot grow: its next record is cut in two, or is not written at all.
    let log = fs::read(out.join("log.jsonl")).unwrap();
    fs::write(out.join("log.jsonl"), [&log[..], br#"{"kind":"epoch","epoch":2,"st"#].concat()).unwrap();
    let resume = ["train", "--quiet", "--out", text(&out), "--resume"];
    let run = through_sh("ulimit -f 100; exec \"$0\" \"$@\"", &resume, |_| {});
    assert!(matches!(run.code, Some(1 | 2)), "{run:?}");
    assert_eq!(run.stderr.trim_end().lines().count(), 1, "{run:?}");
    assert!(!names(&out).iter().any(|name| name.ends_with(".tmp") || name == ".lock"), "{:?}", names(&out));
    let run = resnet(&resume);
    assert_eq!(run.code, Some(0), "{run:?}");
    for file in ["last.safetensors", "best.safetensors"] {
        assert!(fs::read(whole.join(file)).unwrap() == fs::read(out.join(file)).unwrap(), "{file}");
    }
    let text = fs::read_to_string(out.join("log.jsonl")).unwrap();
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
}

#[test]
fn a_standard_error_that_cannot_be_written_ends_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe_in(folder.path());
    for (number, redirection) in ["2>/dev/full", "2>&-", "2>&1 >/dev/null | true"].into_iter().enumerate() {
        let out = folder.path().join(format!("run{number}"));
        let train = ["train", "--recipe", text(&recipe), "--epochs", "1", "--out", text(&out)];
        let run = through_sh(&format!("\"$0\" \"$@\" {redirection}"), &train, |_| {});
        assert_eq!(run.code, Some(0), "{redirection}: {run:?}");
        let begun = Instant::now();
        // The pipe's end is not the run's.
        while !out.join("report.html").exists() {
            assert!(begun.elapsed() < Duration::from_secs(300), "{redirection}: the run is not complete");
            std::thread::sleep(Duration::from_millis(20));
        }
        let run = through_sh(&format!("\"$0\" \"$@\" {redirection}"), &["train", "--epochs", "0"], |_| {});
        assert!(redirection.ends_with("true") || run.code == Some(2), "{redirection}: {run:?}");
    }
}

#[test]
fn a_standard_output_that_is_full_is_said_and_one_that_is_closed_is_not() {
    let run = through_sh("\"$0\" \"$@\" >/dev/full", &["list"], |_| {});
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    assert!(run.stderr.contains("standard output") && run.stderr.contains("No space left"), "{run:?}");
    let run = through_sh("(\"$0\" \"$@\"; echo code $? >&2) | true", &["list"], |_| {});
    assert!(run.stderr.contains("code 0") && run.stderr.lines().count() == 1, "{run:?}");
}

/// Home, time zone and the working folder decide nothing but where relative names lead.
#[test]
fn no_home_and_no_working_folder_are_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe_in(folder.path());
    let out = folder.path().join("run");
    let train = ["train", "--recipe", text(&recipe), "--epochs", "1", "--quiet", "--out", text(&out)];
    let gone = folder.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let script = format!("cd '{0}' && rmdir '{0}' && exec \"$0\" \"$@\"", gone.display());
    let run = through_sh(&script, &train, |command| {
        command.env_remove("HOME").env_remove("XDG_CACHE_HOME").env("TZ", "No/Where");
    });
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    fs::create_dir(&gone).unwrap();
    let run = through_sh(&script, &["train", "--epochs", "1", "--quiet"], |_| {});
    assert_eq!((run.code, run.stderr.lines().count()), (Some(2), 1), "{run:?}");
    assert!(run.stderr.contains("runs"), "{run:?}");
}

#[test]
fn a_signal_ends_a_command_that_saves_nothing_at_once_and_without_half_a_file() {
    let place = Place::new();
    for i in 60..3000 {
        write_png(&place.folder.path().join(format!("pics/{i:04}.png")), i);
    }
    for (signal, ending) in [("TERM", "npy"), ("HUP", "parquet"), ("INT", "npy")] {
        let output = place.out().join(format!("e.{ending}"));
        let arguments = place.writing(text(&output));
        let child = command(&as_strs(&arguments)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while names(&place.out()).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(300), "nothing was begun");
            std::thread::sleep(Duration::from_millis(2));
        }
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let run: Run = child.wait_with_output().unwrap().into();
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(130), "", ""), "{signal}: {run:?}");
        assert!(names(&place.out()).is_empty(), "{signal}: {:?}", names(&place.out()));
    }
}
