//! Training residual networks on candle: optimizers, schedules, recipes, checkpoints, reports

mod error;
pub mod loss;
pub mod metrics;
pub mod optimizer;
pub mod recipe;
pub mod report;
pub mod schedule;

pub use error::{Error, Result};
