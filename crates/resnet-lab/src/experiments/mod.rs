//! The papers' tables and figures, each run by one generic runner and shown beside what was published.
//!
//! An [`Experiment`] is data: variants, recipes at three scales, published values with their tables. [`reproduce`]
//! trains what is not trained yet, and writes one CSV and one page.
//!
//! ```
//! use resnet_lab::experiments::{Experiment, Scale};
//! let table6 = Experiment::load("cifar-table6")?;
//! let plan = table6.plan(Scale::Full)?;
//! assert_eq!((plan.variants.len(), plan.variants[0].recipe.iterations), (6, Some(64_000)));
//! # Ok::<(), resnet_train::Error>(())
//! ```

mod data;
mod options;
mod page;
mod plan;
mod result;
mod runner;
mod subset;

pub use data::{Experiment, Published, Scale, ScaleConfig, Variant};
pub use options::ReproduceOptions;
pub use plan::{Plan, PlannedVariant};
pub use result::{RunResult, VariantResult};
pub use runner::{Opened, Reproduction, reproduce};

#[cfg(test)]
mod tests;
