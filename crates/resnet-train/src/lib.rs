//! Training residual networks on candle: optimizers, schedules, recipes, checkpoints, evaluation, reports.
//!
//! A [`recipe::Recipe`] decides a run, a [`trainer::Session`] carries it out in a run directory that it can be resumed
//! from, bit for bit. The parts stand alone too: [`optimizer`], [`schedule`], [`loss`], [`metrics`] and
//! [`trainer::evaluate`] work with any network that is a [`candle_nn::ModuleT`]. [`multi_crop`] holds the papers' protocols
//! of evaluation; their experiments are in the crate `resnet-lab`.
//!
//! ```
//! use std::sync::Arc;
//! use candle_core::Device;
//! use resnet_data::{Split, shapes};
//! use resnet_train::recipe::{Overrides, Recipe};
//! use resnet_train::trainer::{End, Session, Silent, TrainOptions};
//!
//! let recipe = Recipe::load("quick")?.with(&Overrides { epochs: Some(1), batch_size: Some(8), ..Overrides::default() })?;
//! let (train, test) = (Arc::new(shapes(Split::Train, 16, 0)), Arc::new(shapes(Split::Test, 10, 0)));
//! let session = Session::new(recipe, train, test, &Device::Cpu, 1)?;
//! let folder = tempfile::tempdir()?;
//! let options = TrainOptions { out: Some(folder.path().join("run")), ..TrainOptions::default() };
//! let outcome = session.train(&options, &mut Silent)?;
//! assert_eq!((outcome.end, outcome.steps), (End::Finished, 2));
//! assert!(outcome.dir.report().exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bench;
mod error;
pub mod files;
pub mod finetune;
pub mod grad_cam;
pub mod loss;
pub mod metrics;
pub mod multi_crop;
pub mod optimizer;
pub mod recipe;
pub mod report;
pub mod schedule;
pub mod self_test;
mod stack;
pub mod trainer;

pub use error::{Error, Result};
pub use stack::with_large_stack;
