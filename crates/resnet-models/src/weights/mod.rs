//! Reading and writing weights.
//!
//! [`load`] reads safetensors files and PyTorch checkpoints of both forms (`.pth`, `.pt`, `.th`)
//! without executing anything, finds the state dict in them and gives its tensors torchvision's
//! names. [`assign`] puts them into a network's variables, all of them or none. [`save`] writes
//! safetensors.

mod assign;
mod element;
mod entry;
mod error;
mod fault;
mod format;
mod mismatch;
mod names;
mod pickle;
mod read;
mod save;
mod schemes;
mod torch;
mod transformers;

pub use assign::{AssignOptions, Report, assign};
pub use error::WeightsError;
pub use format::Format;
pub use mismatch::{Mismatch, Misshapen, Unexpected};
pub use names::nearest;
pub use read::{Checkpoint, LoadOptions, load, load_bytes, load_with};
pub(crate) use save::replace;
pub use save::save;
pub use schemes::Names;
pub use torch::save_torch;
