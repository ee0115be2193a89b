//! The program run as a user runs it, and small files for it.

#![allow(dead_code)] // Each test file uses a part.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use candle_core::{DType, Device, Tensor};
use resnet_models::{Parameters, weights};

/// The program with these arguments, not yet started, away from the real caches and the network.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resnet"));
    command.args(arguments).env("HF_HUB_OFFLINE", "1").env_remove("RUST_BACKTRACE");
    command
}

/// What a run of the program gave.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs the program to its end.
pub fn resnet(arguments: &[&str]) -> Run {
    command(arguments).output().unwrap().into()
}

/// Runs the program, which must succeed and, not being at a terminal, write nothing to standard error but how it
/// understood its data: trainings when they are told to be quiet.
pub fn succeed(arguments: &[&str]) -> String {
    let trains = matches!(arguments.first(), Some(&("train" | "finetune" | "reproduce")));
    let quiet: &[&str] = if trains && !arguments.contains(&"--help") { &["--quiet"] } else { &[] };
    let run = resnet(&[arguments, quiet].concat());
    assert_eq!((run.code, unexplained(&run)), (Some(0), vec![]), "{arguments:?}");
    run.stdout
}

/// The lines of standard error that do not say how data were understood.
pub fn unexplained(run: &Run) -> Vec<&str> {
    run.stderr.lines().filter(|line| !line.starts_with("data: ") && !line.starts_with("classes: ")).collect()
}

/// Runs the program with `--json` and gives the objects of its lines.
pub fn json(arguments: &[&str]) -> Vec<serde_json::Value> {
    let out = succeed(&[arguments, &["--json"]].concat());
    out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// The names of an object's fields, sorted.
pub fn fields(object: &serde_json::Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// A run that the user's input ended: one line of error on standard error that holds all of `parts`, nothing on
/// standard output, exit code 2.
pub fn assert_refused(run: &Run, parts: &[&str]) {
    assert_eq!(run.code, Some(2), "{run:?}");
    assert_eq!(run.stdout, "", "{run:?}");
    let [error] = unexplained(run)[..] else { panic!("one line of error: {run:?}") };
    assert!(error.starts_with("error: "), "{run:?}");
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Fresh weights of a network, as a file.
pub fn weights_file(folder: &Path, arch: &str, classes: Option<usize>) -> PathBuf {
    weights_file_with(folder, arch, classes, |_, tensor| tensor)
}

/// As [`weights_file`], with each tensor changed.
pub fn weights_file_with(
    folder: &Path,
    arch: &str,
    classes: Option<usize>,
    change: impl Fn(&str, Tensor) -> Tensor,
) -> PathBuf {
    let parameters = Parameters::new(7, DType::F32, &Device::Cpu);
    resnet_models::create(arch, parameters.builder(), classes).unwrap();
    let tensors: Vec<(String, Tensor)> = parameters
        .named()
        .into_iter()
        .map(|(name, var)| (name.clone(), change(&name, var.as_tensor().clone())))
        .collect();
    let path = folder.join(format!("{arch}.safetensors"));
    weights::save(&path, &tensors, &Default::default()).unwrap();
    path
}

/// A 32x32 picture whose colours follow from `seed`.
pub fn write_png(path: &Path, seed: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pixels: Vec<u8> = (0..32 * 32 * 3).map(|i| ((i * (seed * 2 + 1) * 37 + seed * 91) % 256) as u8).collect();
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), 32, 32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
}

/// A folder data set of three classes, with parts `train` (8 images a class) and `val` (4).
pub fn write_folder(root: &Path) {
    for (part, count) in [("train", 8), ("val", 4)] {
        for (class, name) in ["ant", "bee", "cat"].into_iter().enumerate() {
            for i in 0..count {
                write_png(&root.join(part).join(name).join(format!("{i}.png")), class * 100 + i);
            }
        }
    }
}

/// A recipe for [`write_folder`]'s data set: 3 epochs of 6 steps.
pub fn write_recipe(path: &Path, root: &Path) {
    let recipe = format!(
        "arch = 'resnet20'\ndataset = 'folder:{}'\nepochs = 3\nbatch_size = 4\n\
         [schedule]\nkind = 'one-cycle'\nlr = 0.05\n\
         [[augment]]\nstep = 'random-crop'\nsize = 32\npadding = 4\n\
         [[augment]]\nstep = 'horizontal-flip'\n",
        root.display()
    );
    std::fs::write(path, recipe).unwrap();
}
