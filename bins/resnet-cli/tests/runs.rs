//! Runs as people start them: again and again, from another folder, with a last batch of one, two at a time, and ended by
//! whoever schedules them.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{
    Run, assert_refused, command, resnet, text, unexplained, weights_file, write_folder, write_png, write_recipe,
};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A folder data set and a recipe for it.
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        write_folder(&place.path("data"));
        write_recipe(&place.path("recipe.toml"), &place.path("data"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The arguments of a training in the folder `out`.
    fn train(&self, out: &str, more: &[&str]) -> Vec<String> {
        let (recipe, out) = (self.path("recipe.toml"), self.path(out));
        let arguments = ["train", "--recipe", text(&recipe), "--out", text(&out)];
        arguments.iter().chain(more).map(|part| part.to_string()).collect()
    }

    /// The arguments of a fine-tuning in the folder `out`.
    fn finetune(&self, out: &str, more: &[&str]) -> Vec<String> {
        let weights = self.path("resnet20.safetensors");
        if !weights.exists() {
            weights_file(self.folder.path(), "resnet20", Some(3));
        }
        let (data, out) = (self.path("data"), self.path(out));
        let arguments = ["finetune", "--arch", "resnet20", "--weights", text(&weights), "--image-size", "32"];
        let rest = ["--data", text(&data), "--head-epochs", "1", "--out", text(&out)];
        arguments.iter().chain(&rest).chain(more).map(|part| part.to_string()).collect()
    }
}

fn as_strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn run(arguments: &[String]) -> Run {
    resnet(&as_strs(arguments))
}

fn done(arguments: &[String]) -> Run {
    let run = run(arguments);
    assert_eq!(run.code, Some(0), "{run:?}");
    run
}

fn spawn(arguments: &[String]) -> Child {
    command(&as_strs(arguments)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !ready() {
        assert!(begun.elapsed() < Duration::from_secs(300), "{what}: not in five minutes");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn has_log(out: &Path) -> bool {
    out.join("log.jsonl").metadata().is_ok_and(|log| log.len() > 0)
}

fn assert_same_weights(a: &Path, b: &Path) {
    for file in ["last.safetensors", "best.safetensors"] {
        if a.join(file).exists() || b.join(file).exists() {
            assert!(fs::read(a.join(file)).unwrap() == fs::read(b.join(file)).unwrap(), "{file} differs");
        }
    }
}

/// As [`assert_same_weights`], but for what the files say beside the values: where the data lay.
fn assert_same_values(a: &Path, b: &Path) {
    let values = |folder: &Path| {
        let bytes = fs::read(folder.join("last.safetensors")).unwrap();
        let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
        rest[u64::from_le_bytes(*length) as usize..].to_vec()
    };
    assert!(values(a) == values(b), "the weights differ");
}

/// The one line of an error, which may come after others.
fn assert_error(run: &Run, parts: &[&str]) {
    assert_eq!(run.code, Some(2), "{run:?}");
    assert_eq!(run.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{run:?}");
    let line = run.stderr.lines().last().unwrap();
    for part in parts {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
}

/// A ResNet-18 shrinks 32 pixels to one: a norm has one value a channel in a batch of one image.
fn write_one_too_many(place: &Place, recipe: &str) {
    for (class, (name, count)) in [("ant", 9), ("bee", 8)].into_iter().enumerate() {
        for i in 0..count {
            write_png(&place.path("data/train").join(name).join(format!("{i}.png")), class * 100 + i);
        }
        write_png(&place.path("data/val").join(name).join("0.png"), 500 + class);
    }
    let data = place.path("data");
    let text = format!(
        "arch = 'resnet18'\ndataset = 'folder:{}'\nepochs = 1\n{recipe}\n[schedule]\nkind = 'constant'\nlr = 0.01\n",
        data.display()
    );
    fs::write(place.path("recipe.toml"), text).unwrap();
}

fn empty() -> Place {
    Place { folder: tempfile::tempdir().unwrap() }
}

#[test]
fn a_last_batch_of_one_image_is_passed_over_and_said() {
    let place = empty();
    write_one_too_many(&place, "batch_size = 8");
    let run = done(&place.train("run", &[]));
    let said: Vec<&str> = run.stderr.lines().filter(|line| line.contains("passed over")).collect();
    assert_eq!(said.len(), 1, "{run:?}");
    assert!(said[0].contains("17 images in batches of 8") && said[0].contains("1 image"), "{run:?}");
    assert!(run.stderr.contains("1 epochs of 2 steps") || run.stderr.contains("of 2 steps"), "{run:?}");
    // Other remainders are nobody's concern.
    let run = done(&place.train("other", &["--batch-size", "7"]));
    assert!(!run.stderr.contains("passed over"), "{run:?}");
}

#[test]
fn batches_of_one_image_are_refused_before_the_first_step() {
    let place = empty();
    write_one_too_many(&place, "batch_size = 1");
    let run = run(&place.train("run", &[]));
    assert_error(&run, &["batch_size = 1", "2 images or more"]);
    assert!(!place.path("run").exists());
    write_one_too_many(&place, "batch_size = 32\ndrop_last = true");
    let run = self::run(&place.train("run", &[]));
    assert_error(&run, &["batch_size", "17 images", "32"]);
    assert!(!place.path("run").exists());
}

#[test]
fn one_readable_image_of_a_batch_is_passed_over() {
    let place = empty();
    write_one_too_many(&place, "batch_size = 2");
    for i in 0..8 {
        fs::write(place.path("data/train/ant").join(format!("{i}.png")), "no picture").unwrap();
    }
    let run = done(&place.train("run", &[]));
    assert!(run.stderr.lines().filter(|line| line.contains("passed over")).count() <= 2, "{run:?}");
}

#[test]
fn a_network_with_larger_maps_learns_from_a_last_batch_of_one() {
    let place = Place::new();
    // 24 images: the last batch holds one.
    let run = done(&place.train("run", &["--epochs", "1", "--batch-size", "23"]));
    assert!(!run.stderr.contains("passed over") && run.stderr.contains("1 epochs of 2 steps"), "{run:?}");
    done(&place.finetune("finetuned", &["--epochs", "1", "--batch-size", "23"]));
}

#[test]
fn without_a_terminal_there_is_a_line_an_epoch() {
    let place = Place::new();
    let run = done(&place.train("run", &[]));
    let epochs: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("epoch ")).collect();
    assert_eq!(epochs.len(), 3, "{run:?}");
    assert!(unexplained(&run)[0].contains(text(&place.path("run"))), "{run:?}");
    assert!(!run.stderr.contains('\r') && !run.stderr.contains('\u{1b}'), "{run:?}");
    let log = done(&place.train("log", &["--log"]));
    assert_eq!(log.stderr.lines().count(), run.stderr.lines().count());
    assert!(unexplained(&done(&place.train("quiet", &["--quiet"]))).is_empty());
    let run = done(&place.finetune("finetuned", &["--epochs", "2"]));
    assert_eq!(run.stderr.lines().filter(|line| line.starts_with("epoch ")).count(), 3, "{run:?}");
    assert!(unexplained(&run)[0].contains(text(&place.path("finetuned"))), "{run:?}");
    assert!(unexplained(&done(&place.finetune("silent", &["--epochs", "1", "--quiet"]))).is_empty());
}

#[test]
fn a_command_that_is_repeated_with_resume_begins_goes_on_and_ends() {
    let place = Place::new();
    done(&place.train("whole", &["--quiet"]));
    let again = ["--resume", "--max-steps", "7"];
    // Nothing is there; a folder is; a run is that was killed before its first checkpoint.
    let first = done(&place.train("run", &again));
    assert!(first.stderr.contains("begins at its start"), "{first:?}");
    fs::create_dir(place.path("empty")).unwrap();
    assert!(done(&place.train("empty", &again)).stderr.contains("begins at its start"));
    let early = place.path("early");
    fs::create_dir(&early).unwrap();
    fs::copy(place.path("run/config.toml"), early.join("config.toml")).unwrap();
    for file in ["log.jsonl", ".state.safetensors.4242-0.tmp", ".lock"] {
        fs::write(early.join(file), "").unwrap();
    }
    assert_refused(&run(&place.train("early", &[])), &["early", "--resume"]);
    assert!(done(&place.train("early", &again)).stderr.contains("begins at its start"));
    let second = done(&place.train("run", &again));
    assert!(second.stderr.contains("going on at epoch 2, after step 7"), "{second:?}");
    let last = done(&place.train("run", &again));
    assert!(last.stdout.contains("test accuracy"), "{last:?}");
    assert_same_weights(&place.path("whole"), &place.path("run"));
    let after = done(&place.train("run", &again));
    assert!(after.stderr.contains("complete") && after.stderr.contains("more epochs"), "{after:?}");
    assert_same_weights(&place.path("whole"), &place.path("run"));
    let mut files: Vec<_> = early.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(
        files,
        [
            "best.safetensors",
            "config.toml",
            "images.csv",
            "last.safetensors",
            "log.jsonl",
            "report.html",
            "state.safetensors"
        ]
    );
}

#[test]
fn a_fine_tuning_goes_on_from_the_step_it_was_stopped_at() {
    let place = Place::new();
    let more = ["--epochs", "3", "--batch-size", "4", "--quiet"];
    done(&place.finetune("whole", &more));
    let again = [&more[..], &["--resume"]].concat();
    assert!(
        done(&place.finetune("run", &[&again[..4], &["--resume"]].concat())).stderr.contains("begins at its start")
    );
    assert_same_weights(&place.path("whole"), &place.path("run"));
    let complete = done(&place.finetune("run", &[&again[..4], &["--resume"]].concat()));
    assert!(complete.stderr.contains("complete"), "{complete:?}");
    assert_same_weights(&place.path("whole"), &place.path("run"));
}

#[test]
fn data_under_another_spelling_or_in_another_place_go_on() {
    let place = Place::new();
    done(&place.train("whole", &["--quiet"]));
    let begin = |out: &str| done(&place.train(out, &["--quiet", "--max-steps", "7"]));
    let data = place.path("data");
    let inside = |spelling: &str, out: &str| {
        begin(out);
        let dataset = format!("folder:{spelling}");
        let out = place.path(out);
        let resume = ["train", "--dataset", &dataset, "--out", text(&out), "--resume", "--quiet"];
        let run: Run = command(&resume).current_dir(place.folder.path()).output().unwrap().into();
        assert_eq!((run.code, unexplained(&run)), (Some(0), vec![]), "{spelling}: {run:?}");
        assert_same_values(&place.path("whole"), &out);
    };
    inside("data", "relative");
    inside("./data/", "slash");
    inside(&format!("{}/../data", data.display()), "roundabout");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&data, place.path("link")).unwrap();
        inside("link", "link");
    }
    begin("moved");
    fs::rename(&data, place.path("elsewhere")).unwrap();
    let missing = run(&["train", "--out", text(&place.path("moved")), "--resume"].map(String::from));
    assert_error(&missing, &["--dataset", "does not exist"]);
    let dataset = format!("folder:{}", place.path("elsewhere").display());
    let moved = place.path("moved");
    done(&["train", "--dataset", &dataset, "--out", text(&moved), "--resume"].map(String::from));
    assert_same_values(&place.path("whole"), &moved);
}

#[test]
fn exchanged_pictures_and_labels_are_refused() {
    let place = Place::new();
    done(&place.train("run", &["--quiet", "--max-steps", "7"]));
    done(&place.finetune("finetuned", &["--quiet", "--epochs", "1"]));
    let refused = |parts: &[&str]| {
        assert_error(&run(&place.train("run", &["--resume", "--quiet"])), parts);
        assert_error(&run(&place.finetune("finetuned", &["--epochs", "1", "--resume", "--quiet"])), parts);
    };
    let picture = |name: &str| place.path("data/train").join(name);
    let kept = fs::read(picture("ant/3.png")).unwrap();
    fs::remove_file(picture("ant/3.png")).unwrap();
    refused(&["1 image gone", "ant/3.png", "train part"]);
    fs::write(picture("ant/3.png"), [&kept[..], b"more"].concat()).unwrap();
    refused(&["1 image of another size", "ant/3.png"]);
    fs::write(picture("ant/3.png"), &kept).unwrap();
    fs::write(picture("bee/9.png"), &kept).unwrap();
    fs::write(place.path("data/val/bee/9.png"), &kept).unwrap();
    refused(&["1 image new", "bee/9.png", "train part", "test part"]);
    fs::remove_file(picture("bee/9.png")).unwrap();
    fs::remove_file(place.path("data/val/bee/9.png")).unwrap();
    fs::rename(place.path("data/train/cat"), place.path("data/train/cow")).unwrap();
    fs::rename(place.path("data/val/cat"), place.path("data/val/cow")).unwrap();
    refused(&["8 images gone", "cat/0.png", "8 images new", "cow/0.png"]);
    fs::rename(place.path("data/train/cow"), place.path("data/train/cat")).unwrap();
    fs::rename(place.path("data/val/cow"), place.path("data/val/cat")).unwrap();
    // Without the list the numbers are still known.
    fs::remove_file(picture("ant/3.png")).unwrap();
    fs::remove_file(place.path("run/images.csv")).unwrap();
    assert_error(&run(&place.train("run", &["--resume", "--quiet"])), &["24 images then, 23 now"]);
    fs::write(picture("ant/3.png"), &kept).unwrap();
    done(&place.train("run", &["--resume", "--quiet"]));
    done(&place.finetune("finetuned", &["--epochs", "1", "--resume", "--quiet"]));
}

#[test]
fn what_decides_the_weights_stays_and_the_length_may_change() {
    let place = Place::new();
    done(&place.train("run", &["--quiet", "--max-steps", "7"]));
    for (flags, parts) in [
        (["--seed", "9"], ["--seed: ", "recipe.seed = 0", "9"]),
        (["--lr", "0.3"], ["recipe.schedule.lr", "0.05", "0.3"]),
        (["--batch-size", "6"], ["recipe.batch_size", "= 4", "6"]),
        (["--arch", "resnet32"], ["recipe.arch", "resnet20", "resnet32"]),
        (["--epochs", "1"], ["--epochs", "1 epochs (7 steps)", "1 epoch"]),
    ] {
        assert_error(&run(&place.train("run", &[&flags[..], &["--resume", "--quiet"]].concat())), &parts);
    }
    let longer = done(&place.train("run", &["--resume", "--epochs", "4"]));
    assert!(longer.stderr.contains("4 epochs in place of 3 epochs"), "{longer:?}");
    assert!(longer.stdout.contains("after 4 epochs"), "{longer:?}");
    assert_error(&run(&place.train("run", &["--resume", "--quiet"])), &["4 epochs", "3 epochs"]);

    done(&place.finetune("finetuned", &["--quiet", "--epochs", "1"]));
    for (flags, parts) in [
        (["--seed", "9"], ["--seed: ", "recipe.seed = 0", "9"]),
        (["--lr", "0.3"], ["recipe.schedule.lr", "0.005", "0.3"]),
        (["--batch-size", "6"], ["recipe.batch_size", "16", "6"]),
    ] {
        assert_error(
            &run(&place.finetune("finetuned", &[&flags[..], &["--epochs", "1", "--resume", "--quiet"]].concat())),
            &parts,
        );
    }
    let longer = done(&place.finetune("finetuned", &["--resume", "--epochs", "2"]));
    assert!(longer.stderr.contains("3 epochs in place of 2 epochs"), "{longer:?}");
    assert_error(
        &run(&place.finetune("finetuned", &["--resume", "--epochs", "1"])),
        &["recipe.phases[1].epochs", "3", "2"],
    );
}

#[test]
fn damaged_and_missing_files_of_a_run_are_named() {
    let place = Place::new();
    done(&place.train("run", &["--quiet", "--max-steps", "7"]));
    done(&place.finetune("finetuned", &["--quiet", "--epochs", "1"]));
    let out = |name: &str| [place.path("run").join(name), place.path("finetuned").join(name)];
    let refused = |name: &str, kept: [&[u8]; 2], content: &[u8]| {
        for path in out(name) {
            fs::write(path, content).unwrap();
        }
        assert_error(&run(&place.train("run", &["--resume", "--quiet"])), &[name]);
        assert_error(&run(&place.finetune("finetuned", &["--epochs", "1", "--resume", "--quiet"])), &[name]);
        for (path, kept) in out(name).into_iter().zip(kept) {
            fs::write(path, kept).unwrap();
        }
    };
    for name in ["state.safetensors", "config.toml"] {
        let kept = out(name).map(|path| fs::read(path).unwrap());
        let both = [&kept[0][..], &kept[1][..]];
        for content in [&b""[..], &kept[0][..kept[0].len() / 2 + 3], b"\xff\xfe\x00nonsense", &[0; 4096]] {
            refused(name, both, content);
        }
    }
    // Counters that lead nowhere.
    for (counters, wrong) in
        [("\"step\":7", "\"step\":9"), ("\"batch\":1", "\"batch\":6"), ("\"epoch\":1,", "\"epoch\":7,")]
    {
        let path = place.path("run/state.safetensors");
        let kept = fs::read(&path).unwrap();
        let (at, counters) = (find(&kept, counters.replace('"', "\\\"").as_bytes()), wrong.replace('"', "\\\""));
        let mut damaged = kept.clone();
        damaged[at..at + counters.len()].copy_from_slice(counters.as_bytes());
        fs::write(&path, damaged).unwrap();
        assert_error(&run(&place.train("run", &["--resume", "--quiet"])), &["state.safetensors", "damaged"]);
        fs::write(&path, kept).unwrap();
    }
    let states = out("state.safetensors");
    let kept = states.each_ref().map(|path| fs::read(path).unwrap());
    states.iter().for_each(|path| fs::remove_file(path).unwrap());
    let parts = ["last.safetensors", "state.safetensors"];
    assert_error(&run(&place.train("run", &["--resume", "--quiet"])), &parts);
    assert_error(&run(&place.finetune("finetuned", &["--epochs", "1", "--resume", "--quiet"])), &parts);
    states.iter().zip(kept).for_each(|(path, kept)| fs::write(path, kept).unwrap());
    // What is cut off or overwritten in the log is lost, and the run is not.
    for path in out("log.jsonl") {
        let kept = fs::read(&path).unwrap();
        fs::write(path, [&kept[..], b"\xff\x00\n", &kept[..20]].concat()).unwrap();
    }
    for path in out("last.safetensors").into_iter().chain(out("report.html")) {
        let _ = fs::remove_file(path);
    }
    done(&place.train("run", &["--resume", "--quiet"]));
    done(&place.finetune("finetuned", &["--epochs", "1", "--resume", "--quiet"]));
    for path in out("log.jsonl") {
        let log = fs::read_to_string(path).unwrap();
        assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
    }
    done(&place.train("whole", &["--quiet"]));
    assert_same_weights(&place.path("whole"), &place.path("run"));
}

fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).unwrap_or_else(|| panic!("{}", part.escape_ascii()))
}

#[test]
fn of_two_in_one_folder_the_second_is_refused() {
    let place = Place::new();
    let mut first = spawn(&place.train("run", &["--epochs", "100000", "--quiet"]));
    wait_until("a log", || has_log(&place.path("run")));
    for more in [&[][..], &["--resume"]] {
        let second = run(&place.train("run", &[more, &["--quiet"]].concat()));
        assert_refused(&second, &[text(&place.path("run")), "another process"]);
        assert_refused(&run(&place.finetune("run", &[more, &["--quiet"]].concat())), &["another process"]);
    }
    first.kill().unwrap();
    first.wait().unwrap();
    // The lock ended with the process.
    done(&place.train("run", &["--resume", "--epochs", "100000", "--max-steps", "1"]));
    assert!(!place.path("run/.lock").exists());
}

#[cfg(unix)]
mod signals {
    use super::*;

    fn send(signal: &str, child: &Child) {
        let sent = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    #[test]
    fn a_training_saves_and_leaves_with_130() {
        let place = Place::new();
        done(&place.train("whole", &["--epochs", "30", "--quiet"]));
        for signal in ["-INT", "-TERM", "-HUP"] {
            let child = spawn(&place.train(signal, &["--epochs", "30"]));
            wait_until("a log", || has_log(&place.path(signal)));
            send(signal, &child);
            let run: Run = child.wait_with_output().unwrap().into();
            assert_eq!(run.code, Some(130), "{run:?}");
            assert!(run.stdout.contains("stopped after step") && run.stdout.contains("--resume"), "{run:?}");
            assert!(run.stderr.contains("stopping after this step"), "{run:?}");
            assert!(!place.path(signal).join(".lock").exists());
            done(&place.train(signal, &["--epochs", "30", "--quiet", "--resume"]));
            assert_same_weights(&place.path("whole"), &place.path(signal));
        }
    }

    #[test]
    fn a_fine_tuning_saves_and_leaves_with_130() {
        let place = Place::new();
        let more = ["--epochs", "30", "--patience", "100", "--batch-size", "4", "--quiet"];
        done(&place.finetune("whole", &more));
        for (signal, after) in [("-INT", "config.toml"), ("-TERM", "log.jsonl"), ("-HUP", "best.safetensors")] {
            let child = spawn(&place.finetune(signal, &more));
            wait_until(after, || {
                place.path(signal).join(after).exists() && place.path(signal).join("state.safetensors").exists()
            });
            send(signal, &child);
            let run: Run = child.wait_with_output().unwrap().into();
            assert_eq!(run.code, Some(130), "{run:?}");
            assert!(run.stdout.contains("stopped after") && run.stdout.contains("--resume"), "{run:?}");
            done(&place.finetune(signal, &[&more[..], &["--resume"]].concat()));
            assert_same_weights(&place.path("whole"), &place.path(signal));
        }
    }

    #[test]
    fn a_second_signal_leaves_at_once() {
        let place = Place::new();
        let child = spawn(&place.train("run", &["--epochs", "100000"]));
        wait_until("a log", || has_log(&place.path("run")));
        // Both before the step under way is over, or the second is not needed.
        send("-TERM", &child);
        send("-TERM", &child);
        let run: Run = child.wait_with_output().unwrap().into();
        assert_eq!(run.code, Some(130), "{run:?}");
        let leftovers = |entry: &str| entry.ends_with(".tmp") || entry == ".lock";
        let names =
            place.path("run").read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| leftovers(name)).count(), 0);
        done(&place.train("run", &["--resume", "--epochs", "100000", "--max-steps", "2"]));
    }

    #[test]
    fn what_was_ignored_at_the_start_stays_ignored() {
        let place = Place::new();
        let train = place.train("run", &["--epochs", "100000", "--quiet"]);
        let child = std::process::Command::new("sh")
            .args(["-c", "trap '' HUP INT; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_resnet")])
            .args(&train)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until("a log", || has_log(&place.path("run")));
        send("-HUP", &child);
        send("-INT", &child);
        let length = || place.path("run/log.jsonl").metadata().map_or(0, |log| log.len());
        let before = length();
        wait_until("two more epochs", || length() > before + 300);
        send("-TERM", &child);
        let run: Run = child.wait_with_output().unwrap().into();
        assert_eq!(run.code, Some(130), "{run:?}");
    }
}
