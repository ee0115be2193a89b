//! One file a command: its flags, and `run`.

pub mod bench;
pub mod convert;
pub mod embed;
pub mod eval;
pub mod forward;
pub mod list;
pub mod predict;
pub mod summary;
pub mod train;
