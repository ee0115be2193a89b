//! What a run leaves in its folder, and recipes.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use resnet_data::InMemory;
use resnet_train::recipe::Recipe;
use resnet_train::trainer::{RunConfig, Session, Silent, TrainOptions, read_log};

use crate::{one_line, scratch};

/// A recipe in TOML.
pub fn recipe(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Recipe::parse(text, "fuzzed.toml") {
        Ok(recipe) => {
            recipe.to_toml().expect("what was read can be written");
            match resnet_models::config(&recipe.arch).and_then(|known| known.with_changes(&recipe.network)) {
                Ok(_) => {}
                Err(error) => one_line(&error),
            }
        }
        Err(error) => one_line(&error),
    }
}

/// A run's `config.toml`.
pub fn config(bytes: &[u8]) {
    if let Err(error) = RunConfig::read(&scratch::file("run/config.toml", bytes)) {
        one_line(&error);
    }
}

/// A run's `log.jsonl`.
pub fn log(bytes: &[u8]) {
    if let Err(error) = read_log(&scratch::file("run/log.jsonl", bytes)) {
        one_line(&error);
    }
}

thread_local! {
    static RUN: RefCell<Option<(Session, PathBuf)>> = const { RefCell::new(None) };
}

/// A run's `state.safetensors`, gone on from.
pub fn state(bytes: &[u8]) {
    RUN.with_borrow_mut(|run| {
        let (session, out) = run.get_or_insert_with(begin);
        std::fs::write(out.join("state.safetensors"), bytes).expect("a file");
        if let Err(error) = session.train(&options(out, true), &mut Silent) {
            one_line(&error);
        }
    });
}

fn options(out: &Path, resume: bool) -> TrainOptions {
    let stop = Arc::new(AtomicBool::new(true));
    TrainOptions { out: Some(out.to_owned()), resume, stop, ..TrainOptions::default() }
}

/// A run of the smallest network that was stopped before its first step.
fn begin() -> (Session, PathBuf) {
    let recipe = Recipe::parse(include_str!("../corpus/recipe/tiny.toml"), "tiny.toml").expect("a recipe");
    let images = || {
        let classes = vec!["a".into(), "b".into()];
        Arc::new(InMemory::new("few", (8, 8), vec![7; 4 * 192], vec![0, 1, 0, 1], classes).expect("images"))
    };
    let session = Session::new(recipe, images(), images(), &Device::Cpu, 0).expect("a session");
    let out = scratch::folder("state").join("run");
    session.train(&options(&out, false), &mut Silent).expect("a run");
    (session, out)
}
