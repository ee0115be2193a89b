//! Training residual networks on candle: optimizers, schedules, recipes, checkpoints, reports

mod error;
pub mod optimizer;

pub use error::{Error, Result};
