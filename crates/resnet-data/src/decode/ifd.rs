//! The directories of TIFF files, which EXIF data are too.

/// A directory's entries, the values still in the file's bytes.
pub(super) struct Directory<'a> {
    bytes: &'a [u8],
    order: Order,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

struct Entry {
    tag: u16,
    kind: u16,
    count: usize,
    /// Where the values begin.
    at: usize,
}

impl<'a> Directory<'a> {
    /// The first directory of TIFF data. Entries end where the data do.
    pub(super) fn first(bytes: &'a [u8]) -> Result<Self, String> {
        let magic = bytes.first_chunk::<4>().ok_or("the TIFF ends in its header")?;
        // As Pillow: two orders, and versions written in the other one.
        let (order, large) = match magic {
            b"II*\0" | b"II\0*" => (Order::Little, false),
            b"MM\0*" | b"MM*\0" => (Order::Big, false),
            b"II+\0" => (Order::Little, true),
            b"MM\0+" => (Order::Big, true),
            _ => return Err("it has no TIFF header".to_string()),
        };
        let mut directory = Self { bytes, order, entries: Vec::new() };
        let offset = if large { directory.u64_at(8) } else { directory.u32_at(4).map(u64::from) };
        let offset = offset.and_then(|offset| usize::try_from(offset).ok()).ok_or("the TIFF ends in its header")?;
        directory.read(offset, large);
        Ok(directory)
    }

    fn read(&mut self, offset: usize, large: bool) {
        let (count, mut at) = if large {
            (self.u64_at(offset), offset.saturating_add(8))
        } else {
            (self.u16_at(offset).map(u64::from), offset.saturating_add(2))
        };
        let (width, inline) = if large { (20, 8) } else { (12, 4) };
        for _ in 0..count.unwrap_or(0) {
            let value = at.saturating_add(width - inline);
            let header =
                (self.u16_at(at), self.u16_at(at.saturating_add(2)), self.offset_at(at.saturating_add(4), large));
            let ((Some(tag), Some(kind), Some(count)), true) =
                (header, value.saturating_add(inline) <= self.bytes.len())
            else {
                break;
            };
            at = at.saturating_add(width);
            let Some(length) = width_of(kind).and_then(|width| width.checked_mul(count)) else { continue };
            let start = if length <= inline { Some(value) } else { self.offset_at(value, large) };
            let within = start.filter(|start| start.checked_add(length).is_some_and(|end| end <= self.bytes.len()));
            let Some(start) = within.filter(|_| count > 0) else { continue };
            // Of a tag that stands twice the last counts, as in Pillow.
            self.entries.retain(|entry| entry.tag != tag);
            self.entries.push(Entry { tag, kind, count, at: start });
            // No directory in use has more tags than this; a hostile one has 65,535, each looked for among the others.
            if self.entries.len() > 1000 {
                break;
            }
        }
    }

    pub(super) fn order(&self) -> Order {
        self.order
    }

    pub(super) fn has(&self, tag: u16) -> bool {
        self.entry(tag).is_some()
    }

    fn entry(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    /// The values of a tag of whole, unsigned numbers.
    pub(super) fn integers(&self, tag: u16) -> Option<Vec<u64>> {
        let entry = self.entry(tag)?;
        let width = width_of(entry.kind).filter(|_| matches!(entry.kind, 1 | 3 | 4 | 13 | 16 | 18))?;
        (0..entry.count).map(|index| self.integer_at(entry.at + index * width, width)).collect()
    }

    /// The first value of a tag of whole, unsigned numbers.
    pub(super) fn integer(&self, tag: u16) -> Option<u64> {
        let entry = self.entry(tag)?;
        let width = width_of(entry.kind).filter(|_| matches!(entry.kind, 1 | 3 | 4 | 13 | 16 | 18))?;
        self.integer_at(entry.at, width)
    }

    /// The first value of a tag that Pillow takes for a number: all kinds but bytes and text.
    pub(super) fn number(&self, tag: u16) -> Option<f64> {
        let entry = self.entry(tag)?;
        let at = entry.at;
        let ratio = |above: f64, below: f64| Some(above / below);
        match entry.kind {
            3 => self.u16_at(at).map(f64::from),
            4 | 13 => self.u32_at(at).map(f64::from),
            5 => ratio(f64::from(self.u32_at(at)?), f64::from(self.u32_at(at + 4)?)),
            6 => self.bytes.get(at).map(|&byte| f64::from(byte as i8)),
            8 => self.u16_at(at).map(|value| f64::from(value as i16)),
            9 => self.u32_at(at).map(|value| f64::from(value as i32)),
            10 => ratio(f64::from(self.u32_at(at)? as i32), f64::from(self.u32_at(at + 4)? as i32)),
            11 => self.u32_at(at).map(|bits| f64::from(f32::from_bits(bits))),
            12 => self.u64_at(at).map(f64::from_bits),
            16 => self.u64_at(at).map(|value| value as f64),
            _ => None,
        }
    }

    /// The bytes of a tag's values.
    pub(super) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        let entry = self.entry(tag)?;
        self.bytes.get(entry.at..)?.get(..entry.count.checked_mul(width_of(entry.kind)?)?)
    }

    fn integer_at(&self, at: usize, width: usize) -> Option<u64> {
        match width {
            1 => self.bytes.get(at).copied().map(u64::from),
            2 => self.u16_at(at).map(u64::from),
            4 => self.u32_at(at).map(u64::from),
            _ => self.u64_at(at),
        }
    }

    fn offset_at(&self, at: usize, large: bool) -> Option<usize> {
        usize::try_from(if large { self.u64_at(at)? } else { u64::from(self.u32_at(at)?) }).ok()
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut array: [u8; N] = self.bytes.get(at..at.checked_add(N)?)?.try_into().ok()?;
        if self.order == Order::Big {
            array.reverse();
        }
        Some(array)
    }

    fn u16_at(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64_at(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
}

/// Bytes of one value of a kind.
fn width_of(kind: u16) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16 | 17 | 18 => Some(8),
        _ => None,
    }
}
