//! The legacy form: five pickles one after the other (magic number, protocol version, facts about
//! the machine, the object, the storages' keys), then for each key a count and the raw elements.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use super::Storages;
use crate::escape::show;
use crate::weights::fault::Fault;
use crate::weights::pickle::{Unpickled, Value, unpickle};

/// `0x1950a86a20f9469cfc6c`, little-endian as `LONG1` has it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// Whether a file begins with a pickle of the magic number (a frame's header may stand before it).
pub(in crate::weights) fn is_legacy(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(32)];
    head.first() == Some(&0x80) && head.windows(MAGIC.len()).any(|window| window == MAGIC)
}

/// Where in a legacy file each storage lies.
pub(in crate::weights) type Ranges = HashMap<Rc<str>, Range<usize>>;

/// The storages of a legacy file, each a part of it.
pub(in crate::weights) struct Parts<'a> {
    pub bytes: &'a [u8],
    pub ranges: &'a Ranges,
}

impl<'a> Storages<'a> for Parts<'a> {
    fn bytes(&mut self, key: &str) -> Result<&'a [u8], Fault> {
        let part = self.ranges.get(key).and_then(|range| self.bytes.get(range.clone()));
        part.ok_or_else(|| Fault::Damaged(format!("storage {} is not in the file", show(key))))
    }
}

/// The object and the storages of a legacy file, and where the object's pickle begins.
///
/// # Errors
/// When the file is cut off, of another protocol, or big-endian.
pub(in crate::weights) fn open(bytes: &[u8]) -> Result<(Unpickled, Ranges, usize), Fault> {
    let mut rest = bytes;
    let mut next = || -> Result<Unpickled, Fault> {
        let unpickled = unpickle(rest).map_err(|mut error| {
            error.at += bytes.len() - rest.len();
            Fault::from(error)
        })?;
        rest = &rest[unpickled.length..];
        Ok(unpickled)
    };
    let magic = next()?;
    let protocol = next()?;
    if protocol.arena.int(protocol.root) != Some(PROTOCOL) {
        return Err(Fault::Unsupported(format!("its legacy protocol is not version {PROTOCOL}")));
    }
    let machine = next()?;
    let entries = machine.arena.entries(machine.root).unwrap_or_default();
    let big_endian = entries.iter().any(|&(key, value)| {
        machine.arena.string(key).is_some_and(|key| &**key == "little_endian")
            && matches!(machine.arena.get(value), Value::Bool(false))
    });
    if big_endian {
        return Err(Fault::Unsupported("its numbers are big-endian: save it again on a little-endian machine".into()));
    }
    let object = next()?;
    let keys = next()?;
    let begin = [&protocol, &machine].iter().fold(magic.length, |at, pickle| at + pickle.length);
    let ranges = storages(&object, &keys, rest, bytes.len() - rest.len())?;
    Ok((object, ranges, begin))
}

/// The storages in `rest`, which begins at byte `at` of the file.
fn storages(object: &Unpickled, keys: &Unpickled, mut rest: &[u8], mut at: usize) -> Result<Ranges, Fault> {
    let mut sizes: HashMap<&str, usize> = HashMap::new();
    for value in object.arena.iter() {
        if let Value::Storage(storage) = value {
            sizes.insert(&storage.key, storage.element.size);
        }
    }
    let keys_of = keys.arena.sequence(keys.root);
    let list = keys_of.ok_or_else(|| Fault::Damaged("it has no list of storages".into()))?;
    let mut parts = HashMap::new();
    for &key in list {
        let key = keys.arena.string(key).ok_or_else(|| Fault::Damaged("a storage's key is no string".into()))?;
        let size = *sizes
            .get(&**key)
            .ok_or_else(|| Fault::Damaged(format!("nothing says of what type storage {} is", show(key))))?;
        let short = || Fault::Damaged(format!("it ends in the middle of storage {}", show(key)));
        let (count, after) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let count = i64::from_le_bytes(*count);
        let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(size)).ok_or_else(short)?;
        let (part, after) = after.split_at_checked(length).ok_or_else(short)?;
        at += 8;
        parts.insert(key.clone(), at..at + part.len());
        at += part.len();
        rest = after;
    }
    Ok(parts)
}
