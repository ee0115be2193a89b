//! Reading and writing weights.
//!
//! [`load`] reads safetensors files and PyTorch checkpoints of both forms (`.pth`, `.pt`, `.th`)
//! without executing anything, finds the state dict in them and gives its tensors torchvision's
//! names. [`assign`] puts them into a network's variables, all of them or none. [`save`] writes
//! safetensors.

mod assign;
mod element;
mod error;
mod fault;
mod file;
mod find;
mod fold;
mod foreign;
mod format;
mod head;
mod left;
mod mismatch;
mod names;
mod parametrize;
mod part;
mod pickle;
mod read;
mod save;
mod schemes;
mod settings;
mod shards;
mod spelling;
mod torch;
mod transformers;
mod tree;

pub(crate) use assign::compare;
pub use assign::{AssignOptions, Report, assign};
pub use error::WeightsError;
pub(crate) use file::{Found, WeightsFile};
pub use format::Format;
pub(crate) use head::Head;
pub use left::Left;
pub use mismatch::{Mismatch, Misshapen, Unexpected};
pub use names::nearest;
pub use read::{Checkpoint, LoadOptions, load, load_bytes, load_with};
pub(crate) use save::replace;
pub use save::save;
pub use schemes::Names;
pub(crate) use settings::compare as compare_settings;
pub(crate) use shards::{belongs_together, parts_of_index};
pub use torch::save_torch;
