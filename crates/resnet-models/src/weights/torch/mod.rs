//! PyTorch's own files: the zip form (since 1.6) and the legacy form before it.

mod archive;
mod legacy;
mod materialize;
mod write;

use std::collections::BTreeMap;

use super::entry;
use super::fault::{Fault, show};
use super::pickle::{Unpickled, Value};
use super::read::Contents;
pub(super) use legacy::is_legacy;
use materialize::Materializer;
pub use write::save_torch;

/// The raw bytes of storages, by key.
trait Storages<'a> {
    /// # Errors
    /// What is wrong, when the file has no such storage or its bytes are damaged.
    fn bytes(&mut self, key: &str) -> Result<&'a [u8], Fault>;
}

/// Reads the zip form; `wanted` names the entry to use, see [`entry::find`].
pub(super) fn read_zip(bytes: &[u8], wanted: Option<&str>) -> Result<Contents, Fault> {
    let mut archive = archive::Archive::open(bytes)?;
    let unpickled = archive.unpickle()?;
    contents(bytes.len(), &unpickled, &mut archive, wanted)
}

/// Reads the legacy form.
pub(super) fn read_legacy(bytes: &[u8], wanted: Option<&str>) -> Result<Contents, Fault> {
    let (unpickled, mut storages) = legacy::open(bytes)?;
    contents(bytes.len(), &unpickled, &mut storages, wanted)
}

fn contents<'a>(
    file_len: usize,
    unpickled: &Unpickled,
    storages: &mut impl Storages<'a>,
    wanted: Option<&str>,
) -> Result<Contents, Fault> {
    let arena = &unpickled.arena;
    let found = entry::find(arena, unpickled.root, wanted)?;
    let mut materializer = Materializer::new(file_len);
    let mut tensors = BTreeMap::new();
    for (name, id) in found.items {
        match arena.get(id) {
            Value::Tensor(tensor) => {
                let tensor = materializer.tensor(tensor, storages).map_err(|fault| fault.within(&name))?;
                tensors.insert(name.to_string(), tensor);
            }
            Value::Object { class, .. } if class.starts_with("torch._utils._rebuild") => {
                let kind = class.trim_start_matches("torch._utils._rebuild_");
                return Err(Fault::Unsupported(format!(
                    "{} is a tensor of a kind that is not read ({}): save it as a plain tensor",
                    show(&name),
                    show(kind),
                )));
            }
            _ => {}
        }
    }
    Ok(Contents { entry: found.path, tensors, metadata: entry::scalars(arena, unpickled.root) })
}
