//! Trainings and fine-tunings that are killed or stopped at random moments and resumed, sometimes by two at once, until
//! they are done: their weights have the bits of a run that nobody disturbed, and no temporary file is left.
//!
//! `RESNET_INTERRUPTIONS=50 cargo test --release -p resnet-cli --test interruptions -- --nocapture` makes the long
//! campaign, of 50 runs of each command for each signal.

#![cfg(unix)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use common::{command, text, weights_file, write_png};

/// Runs of each kind, unless the environment wants another number.
const RUNS: u64 = 2;

/// What a campaign came to.
#[derive(Debug, Default)]
struct Counts {
    runs: u64,
    calls: u64,
    interrupted: u64,
    /// Calls that found another process in the folder.
    refused: u64,
    /// Leftovers that a killed call left for the next to remove.
    leftovers: u64,
}

/// Numbers that look random, the same in every campaign: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// A command, but for `--out` and `--resume`, and the run that nobody disturbed.
struct Work {
    folder: PathBuf,
    arguments: Vec<String>,
    weights: &'static [&'static str],
    /// How long that took.
    duration: Duration,
}

impl Work {
    fn new(folder: &Path, arguments: &[&str], weights: &'static [&'static str]) -> Self {
        let arguments = arguments.iter().map(|argument| argument.to_string()).collect();
        let mut work = Self { folder: folder.to_owned(), arguments, weights, duration: Duration::ZERO };
        let begun = Instant::now();
        assert!(work.start("whole").wait().unwrap().success());
        work.duration = begun.elapsed();
        work
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn start(&self, out: &str) -> Child {
        let out = self.out(out);
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let more = ["--out", text(&out), "--resume", "--quiet"];
        let mut command = command(&[&arguments[..], &more].concat());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// One run that gets the signal at random moments until it is done.
    fn disturbed(&self, name: &str, signal: &str, random: &mut Random, counts: &mut Counts) {
        counts.runs += 1;
        for call in 0.. {
            assert!(call < 200, "{name}: no end");
            let mut children = vec![self.start(name)];
            if random.below(3) == 0 {
                children.push(self.start(name));
            }
            counts.calls += children.len() as u64;
            // A run that is disturbed for ever has no end: from time to time it is left in peace.
            if random.below(6) > 0 {
                let most = self.duration.as_micros() as u64;
                std::thread::sleep(Duration::from_micros(random.below(most.max(1))));
                for child in &children {
                    // One that has ended in the meantime does not mind.
                    let _ = Command::new("kill").args([signal, &child.id().to_string()]).stderr(Stdio::null()).status();
                }
            }
            let ends: Vec<ExitStatus> = children.into_iter().map(|mut child| child.wait().unwrap()).collect();
            for end in &ends {
                match end.code() {
                    Some(0) => {}
                    Some(130) | None => counts.interrupted += 1,
                    Some(2) if ends.len() == 2 => counts.refused += 1,
                    Some(code) => panic!("{name}, {signal}: exit code {code}"),
                }
            }
            counts.leftovers += u64::from(!leftovers(&self.out(name)).is_empty());
            if ends.iter().any(ExitStatus::success) {
                break;
            }
        }
        for file in self.weights {
            let [whole, run] = ["whole", name].map(|out| fs::read(self.out(out).join(file)).unwrap());
            assert!(whole == run, "{name}, {signal}: {file} differs");
        }
        // One more call cleans up after two that ran at once.
        assert!(self.start(name).wait().unwrap().success());
        assert_eq!(leftovers(&self.out(name)), Vec::<String>::new(), "{name}, {signal}");
        fs::remove_dir_all(self.out(name)).unwrap();
    }

    fn campaign(&self, what: &str) {
        let runs = std::env::var("RESNET_INTERRUPTIONS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
        for signal in ["-KILL", "-TERM"] {
            let (mut random, mut counts, begun) = (Random(7), Counts::default(), Instant::now());
            (0..runs).for_each(|run| self.disturbed(&format!("run{run}"), signal, &mut random, &mut counts));
            println!("{what}, kill {signal}: {counts:?}, {:.0} s", begun.elapsed().as_secs_f64());
        }
    }
}

fn leftovers(folder: &Path) -> Vec<String> {
    let names = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

/// Two classes of eight small pictures each, and two more of each for validation.
fn write_data(root: &Path) {
    for (class, name) in ["ant", "bee"].into_iter().enumerate() {
        for i in 0..10 {
            let part = if i < 8 { "train" } else { "val" };
            write_png(&root.join(part).join(name).join(format!("{i}.png")), class * 100 + i);
        }
    }
}

#[test]
fn trainings_that_are_disturbed_end_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (data, recipe) = (folder.path().join("data"), folder.path().join("recipe.toml"));
    write_data(&data);
    let text_of = format!(
        "arch = 'resnet20'\ndataset = 'folder:{}'\nepochs = 6\nbatch_size = 4\nema = {{ decay = 0.9 }}\n\
         [schedule]\nkind = 'one-cycle'\nlr = 0.05\n\
         [[augment]]\nstep = 'random-crop'\nsize = 16\n[[augment]]\nstep = 'horizontal-flip'\n",
        data.display()
    );
    fs::write(&recipe, text_of).unwrap();
    let arguments = ["train", "--recipe", text(&recipe)];
    Work::new(folder.path(), &arguments, &["last.safetensors", "best.safetensors"]).campaign("train");
}

#[test]
fn fine_tunings_that_are_disturbed_end_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (data, weights) = (folder.path().join("data"), weights_file(folder.path(), "resnet20", Some(3)));
    write_data(&data);
    let arguments = [
        "finetune",
        "--arch",
        "resnet20",
        "--weights",
        text(&weights),
        "--image-size",
        "16",
        "--data",
        text(&data),
        "--head-epochs",
        "2",
        "--epochs",
        "4",
        "--patience",
        "10",
        "--batch-size",
        "4",
    ];
    Work::new(folder.path(), &arguments, &["best.safetensors"]).campaign("finetune");
}
