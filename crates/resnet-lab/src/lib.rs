//! The papers on residual networks, measured.
//!
//! [`experiments`] holds their tables and figures, each shown beside what was published; [`diagnose`] looks at signals and
//! gradients inside a network.

pub mod diagnose;
pub mod experiments;

use resnet_train::{Error, Result, files};
