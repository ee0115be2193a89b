#![allow(dead_code, reason = "each test file uses a part")]
//! A training small enough for a test: a residual network on a few of the embedded shapes.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use resnet_data::{Split, shapes};
use resnet_train::recipe::Recipe;
use resnet_train::trainer::{Outcome, RunDir, Session, Silent, TrainOptions};

/// Two epochs of six batches, the last of one image less.
pub const RECIPE: &str = "
arch = 'resnet20'
dataset = 'shapes'
epochs = 2
batch_size = 4
seed = 5
[optimizer]
momentum = 0.9
nesterov = true
weight_decay = 5e-4
[schedule]
kind = 'one-cycle'
lr = 0.05
[loss]
label_smoothing = 0.1
[[augment]]
step = 'random-crop'
size = 32
padding = 4
[[augment]]
step = 'horizontal-flip'
";

pub fn recipe(extra: &str) -> Recipe {
    Recipe::parse(&format!("{extra}\n{RECIPE}"), "test").unwrap()
}

pub fn session(recipe: Recipe) -> Session {
    let train = Arc::new(shapes(Split::Train, 23, 0));
    let test = Arc::new(shapes(Split::Test, 10, 0));
    Session::new(recipe, train, test, &Device::Cpu, 1).unwrap()
}

pub fn options(out: &Path) -> TrainOptions {
    TrainOptions { out: Some(out.to_owned()), log_every: 2, ..TrainOptions::default() }
}

pub fn train(recipe: &Recipe, options: &TrainOptions) -> resnet_train::Result<Outcome> {
    session(recipe.clone()).train(options, &mut Silent)
}

/// The bytes of the weights' file.
pub fn weights(dir: &RunDir) -> Vec<u8> {
    std::fs::read(dir.last()).unwrap()
}
