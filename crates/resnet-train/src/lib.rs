//! Training residual networks on candle: optimizers, schedules, recipes, checkpoints, reports

pub mod bench;
mod error;
pub mod loss;
pub mod metrics;
pub mod optimizer;
pub mod recipe;
pub mod report;
pub mod schedule;
mod stack;
pub mod trainer;

pub use error::{Error, Result};
pub use stack::with_large_stack;
