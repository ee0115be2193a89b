//! One file a command: its flags, and `run`.

pub mod bench;
pub mod convert;
pub mod diagnose;
pub mod embed;
pub mod eval;
pub mod export;
pub mod finetune;
pub mod forward;
pub mod list;
pub mod predict;
pub mod reproduce;
pub mod summary;
pub mod train;
