//! The pages of a column in a row group, and the values in them.

use super::footer::{Chunk, Leaf, Physical};
use super::thrift::Value;
use super::{Outcome, codec, encoding, thrift};

/// The values of a column, one a row; `None` where the row has none.
#[derive(Debug)]
pub(crate) enum Values {
    Bytes(Texts),
    /// Whole numbers, and truth values as 0 and 1.
    Numbers(Vec<Option<i64>>),
}

/// Strings of bytes that lie in a few buffers.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    buffers: Vec<Vec<u8>>,
    places: Vec<Option<ByteRange>>,
}

#[derive(Clone, Copy, Debug)]
struct ByteRange {
    buffer: usize,
    start: usize,
    length: usize,
}

impl Texts {
    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The bytes of a row.
    pub(crate) fn get(&self, row: usize) -> Option<&[u8]> {
        let ByteRange { buffer, start, length } = (*self.places.get(row)?)?;
        self.buffers.get(buffer)?.get(start..start + length)
    }
}

/// What a page's values are before it is known which rows have them.
enum Dense {
    Places(Vec<ByteRange>),
    Numbers(Vec<Option<i64>>),
}

/// Bytes of a page, and where they will be found later: in which buffer, from where on.
#[derive(Clone, Copy)]
struct Body<'a> {
    bytes: &'a [u8],
    buffer: usize,
    start: usize,
}

/// Reads a column's bytes in a row group of so many rows.
pub(super) fn values(bytes: Vec<u8>, chunk: &Chunk, leaf: &Leaf, rows: usize) -> Outcome<Values> {
    if leaf.repeated {
        return Err("a row may have several values".to_string());
    }
    if leaf.physical == Physical::Other {
        return Err("its values are of a kind that neither pictures nor labels have".to_string());
    }
    let (numbers, places) = Default::default();
    // The column's own bytes come first: values that are not compressed lie there.
    let buffers = vec![Vec::new()];
    let budget = codec::most(bytes.len());
    let mut reader = Reader { leaf, rows, codec: chunk.codec, dictionary: None, buffers, numbers, places, budget };
    reader.pages(&bytes)?;
    let found = reader.numbers.len() + reader.places.len();
    if found != rows || chunk.values != rows {
        return Err(format!("{rows} rows, but {found} values ({} in the footer)", chunk.values));
    }
    if leaf.physical != Physical::Bytes {
        return Ok(Values::Numbers(reader.numbers));
    }
    let mut buffers = reader.buffers;
    if chunk.codec == 0 {
        buffers[0] = bytes;
    }
    Ok(Values::Bytes(Texts { buffers, places: reader.places }))
}

struct Reader<'a> {
    leaf: &'a Leaf,
    rows: usize,
    codec: i64,
    dictionary: Option<Dense>,
    buffers: Vec<Vec<u8>>,
    numbers: Vec<Option<i64>>,
    places: Vec<Option<ByteRange>>,
    /// Bytes that may still be unpacked: a small file that promises much more than a page of pictures can is refused.
    budget: usize,
}

impl Reader<'_> {
    fn pages(&mut self, bytes: &[u8]) -> Outcome<()> {
        let mut at = 0;
        while at < bytes.len() && self.numbers.len() + self.places.len() < self.rows {
            let (head, length) = thrift::read(&bytes[at..])?;
            at += length;
            let size = |number| head.count(number).ok_or("a page does not say its size");
            let (unpacked, packed) = (size(2)?, size(3)?);
            let end = at.checked_add(packed).filter(|&end| end <= bytes.len()).ok_or("a page ends after its column")?;
            let body = Body { bytes: &bytes[at..end], buffer: 0, start: at };
            at = end;
            match head.integer(1) {
                Some(0) => self.data(head.field(5).ok_or("a page says nothing of its values")?, body, unpacked)?,
                // An index says nothing that is not found without it.
                Some(1) => {}
                Some(2) => {
                    self.dictionary(head.field(7).ok_or("a dictionary says nothing of itself")?, body, unpacked)?
                }
                Some(3) => self.data_v2(head.field(8).ok_or("a page says nothing of its values")?, body, unpacked)?,
                other => return Err(format!("it has a page of kind {}", other.unwrap_or(-1))),
            }
        }
        Ok(())
    }

    fn unpack(&mut self, packed: &[u8], size: usize) -> Outcome<Vec<u8>> {
        let unpacked = codec::unpack(self.codec, packed, size)?;
        self.spend(size)?;
        Ok(unpacked)
    }

    fn spend(&mut self, bytes: usize) -> Outcome<()> {
        self.budget = self.budget.checked_sub(bytes).ok_or("its pages unpack to far more than pictures do")?;
        Ok(())
    }

    fn dictionary(&mut self, head: &Value, body: Body, size: usize) -> Outcome<()> {
        let count =
            head.count(1).filter(|&count| count <= self.rows).ok_or("its dictionary has more values than rows")?;
        if self.dictionary.is_some() || !matches!(head.integer(2), Some(0 | 2)) {
            return Err("it has a second dictionary, or one of a form that is not known".to_string());
        }
        self.dictionary = Some(self.with_unpacked(body, size, |reader, body| reader.plain(body, count))?);
        Ok(())
    }

    /// Does something with a page's unpacked bytes, and keeps them where values will be found in them.
    fn with_unpacked<T>(
        &mut self,
        body: Body,
        size: usize,
        read: impl FnOnce(&mut Self, Body) -> Outcome<T>,
    ) -> Outcome<T> {
        if self.codec == 0 {
            return read(self, body);
        }
        let bytes = self.unpack(body.bytes, size)?;
        let buffer = self.buffers.len();
        // Its place is taken now: values made within may need a buffer of their own.
        self.buffers.push(Vec::new());
        let done = read(self, Body { bytes: &bytes, buffer, start: 0 })?;
        if self.leaf.physical == Physical::Bytes {
            self.buffers[buffer] = bytes;
        }
        Ok(done)
    }

    fn count(&self, head: &Value) -> Outcome<usize> {
        let left = self.rows - self.numbers.len() - self.places.len();
        head.count(1).filter(|&count| count <= left).ok_or_else(|| "its pages have more values than rows".to_string())
    }

    fn data(&mut self, head: &Value, body: Body, size: usize) -> Outcome<()> {
        let (count, form) = (self.count(head)?, head.integer(2).unwrap_or(-1));
        let levels = head.integer(3).unwrap_or(3);
        self.with_unpacked(body, size, |reader, body| {
            let (present, used) = match (reader.leaf.levels, levels) {
                (0, _) => (vec![true; count], 0),
                (most, 4) => old_levels(body.bytes, most, count)?,
                (most, _) => {
                    let inner = prefixed(body.bytes)?;
                    (levels_of(inner, most, count)?, inner.len() + 4)
                }
            };
            reader.place(&present, form, body.from(used))
        })
    }

    fn data_v2(&mut self, head: &Value, body: Body, size: usize) -> Outcome<()> {
        let (count, form) = (self.count(head)?, head.integer(4).unwrap_or(-1));
        let level_bytes = |number| head.count(number).ok_or("a page does not say how long its levels are");
        let (before, own) = (level_bytes(6)?, level_bytes(5)?);
        let all = before.checked_add(own).filter(|&all| all <= size).ok_or("a page ends within its levels")?;
        let levels = body.bytes.get(before..all).ok_or("a page ends within its levels")?;
        let present = match self.leaf.levels {
            0 => vec![true; count],
            most => levels_of(levels, most, count)?,
        };
        let rest = body.from(all);
        let packed = head.boolean(7).unwrap_or(true) && self.codec != 0;
        if packed && size > all {
            return self.with_unpacked(rest, size - all, |reader, rest| reader.place(&present, form, rest));
        }
        if self.codec == 0 {
            return self.place(&present, form, rest);
        }
        let buffer = self.buffers.len();
        self.spend(rest.bytes.len())?;
        self.buffers.push(rest.bytes.to_vec());
        self.place(&present, form, Body { bytes: rest.bytes, buffer, start: 0 })
    }

    /// Gives a page's values to the rows that have one.
    fn place(&mut self, present: &[bool], form: i64, body: Body) -> Outcome<()> {
        let count = present.iter().filter(|&&present| present).count();
        match self.dense(form, body, count)? {
            Dense::Places(places) => {
                let mut places = places.into_iter();
                self.places.extend(present.iter().map(|&present| if present { places.next() } else { None }));
            }
            Dense::Numbers(numbers) => {
                let mut numbers = numbers.into_iter();
                self.numbers
                    .extend(present.iter().map(|&present| if present { numbers.next().flatten() } else { None }));
            }
        }
        Ok(())
    }

    /// Exactly so many values of a page.
    fn dense(&mut self, form: i64, body: Body, count: usize) -> Outcome<Dense> {
        let bytes = self.leaf.physical == Physical::Bytes;
        match form {
            _ if count == 0 => Ok(if bytes { Dense::Places(Vec::new()) } else { Dense::Numbers(Vec::new()) }),
            0 => self.plain(body, count),
            2 | 8 => self.looked_up(body, count),
            3 if self.leaf.physical == Physical::Boolean => {
                let mut numbers = Vec::with_capacity(count);
                encoding::runs(prefixed(body.bytes)?, 1, count, |value, times| {
                    numbers.extend(std::iter::repeat_n(Some(value.into()), times));
                    Ok(())
                })?;
                Ok(Dense::Numbers(numbers))
            }
            5 if matches!(self.leaf.physical, Physical::Int32 | Physical::Int64) => {
                let (numbers, _) = encoding::differences(body.bytes, count)?;
                let narrow = self.leaf.physical == Physical::Int32;
                let number = |number: i64| Some(if narrow { (number as i32).into() } else { number });
                enough(Dense::Numbers(numbers.into_iter().map(number).collect()), count)
            }
            6 if bytes => enough(Dense::Places(lengths(body, count)?), count),
            7 if bytes => enough(Dense::Places(self.prefixes(body, count)?), count),
            9 if !bytes => {
                let width = width(self.leaf.physical);
                let joined = encoding::joined(body.bytes, width);
                self.plain(Body { bytes: &joined, ..body }, count)
            }
            other => Err(format!("a page is written in form {other}, which such values do not have")),
        }
    }

    fn plain(&self, body: Body, count: usize) -> Outcome<Dense> {
        let short = || "a page ends before its values do".to_string();
        let physical = self.leaf.physical;
        if physical == Physical::Bytes {
            let (mut places, mut at) = (Vec::new(), 0);
            for _ in 0..count {
                let inner = prefixed(body.bytes.get(at..).ok_or_else(short)?)?;
                places.push(ByteRange { buffer: body.buffer, start: body.start + at + 4, length: inner.len() });
                at += 4 + inner.len();
            }
            return Ok(Dense::Places(places));
        }
        if physical == Physical::Boolean {
            let number = |place| encoding::bits(body.bytes, place, 1).map(|bit| Some(bit as i64)).ok_or_else(short);
            return Ok(Dense::Numbers((0..count).map(number).collect::<Outcome<_>>()?));
        }
        let width = width(physical);
        let bytes = body.bytes.get(..count.saturating_mul(width)).ok_or_else(short)?;
        let numbers = bytes.chunks_exact(width).map(|bytes| number(physical, bytes)).collect::<Outcome<_>>()?;
        Ok(Dense::Numbers(numbers))
    }

    /// Values by their numbers in the dictionary.
    fn looked_up(&self, body: Body, count: usize) -> Outcome<Dense> {
        fn all<T: Copy>(known: &[T], body: Body, count: usize) -> Outcome<Vec<T>> {
            let (&width, indices) = body.bytes.split_first().ok_or("a page ends before its values do")?;
            let mut values = Vec::with_capacity(count);
            encoding::runs(indices, width.into(), count, |index, times| {
                let value = known.get(index as usize).ok_or("a value is not in its dictionary")?;
                values.extend(std::iter::repeat_n(*value, times));
                Ok(())
            })?;
            Ok(values)
        }
        match &self.dictionary {
            Some(Dense::Places(places)) => Ok(Dense::Places(all(places, body, count)?)),
            Some(Dense::Numbers(numbers)) => Ok(Dense::Numbers(all(numbers, body, count)?)),
            None => Err("a page needs a dictionary that is not there".to_string()),
        }
    }

    /// Values that begin as the one before does: how long the common part is, then what follows it.
    fn prefixes(&mut self, body: Body, count: usize) -> Outcome<Vec<ByteRange>> {
        let (common, used) = encoding::differences(body.bytes, count)?;
        let rest = body.from(used);
        let ends = lengths(rest, count)?;
        if ends.len() != common.len() {
            return Err("a page has beginnings and ends of different number".to_string());
        }
        let (mut values, mut places, mut last) = (Vec::<u8>::new(), Vec::with_capacity(count), 0..0);
        let buffer = self.buffers.len();
        for (common, end) in common.into_iter().zip(ends) {
            let common = usize::try_from(common).ok().filter(|&common| common <= last.len());
            let common = common.ok_or("a value begins with more than the one before has")?;
            self.spend(common + end.length)?;
            let start = values.len();
            values.extend_from_within(last.start..last.start + common);
            let from = end.start - rest.start;
            values.extend_from_slice(&rest.bytes[from..from + end.length]);
            last = start..values.len();
            places.push(ByteRange { buffer, start, length: last.len() });
        }
        self.buffers.push(values);
        Ok(places)
    }
}

impl Body<'_> {
    /// What comes after so many bytes.
    fn from(self, used: usize) -> Self {
        Self { bytes: self.bytes.get(used..).unwrap_or_default(), start: self.start + used, ..self }
    }
}

/// Values whose lengths come first, as differences.
fn lengths(body: Body, count: usize) -> Outcome<Vec<ByteRange>> {
    let (lengths, used) = encoding::differences(body.bytes, count)?;
    let (mut places, mut at) = (Vec::with_capacity(lengths.len()), used);
    for length in lengths {
        let end = usize::try_from(length).ok().and_then(|length| at.checked_add(length));
        let end = end.filter(|&end| end <= body.bytes.len()).ok_or("a page ends before its values do")?;
        places.push(ByteRange { buffer: body.buffer, start: body.start + at, length: end - at });
        at = end;
    }
    Ok(places)
}

fn enough(dense: Dense, count: usize) -> Outcome<Dense> {
    let found = match &dense {
        Dense::Places(places) => places.len(),
        Dense::Numbers(numbers) => numbers.len(),
    };
    if found == count { Ok(dense) } else { Err(format!("a page has {found} values and not {count}")) }
}

/// Bytes behind their length in four bytes.
fn prefixed(bytes: &[u8]) -> Outcome<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or("a page ends before its values do")?;
    let inner = usize::try_from(u32::from_le_bytes(*length)).ok().and_then(|length| rest.get(..length));
    inner.ok_or_else(|| "a page ends before its values do".to_string())
}

/// Which rows have a value: those whose levels are all there.
fn levels_of(bytes: &[u8], most: u32, count: usize) -> Outcome<Vec<bool>> {
    let mut present = Vec::with_capacity(count);
    encoding::runs(bytes, u32::BITS - most.leading_zeros(), count, |level, times| {
        present.extend(std::iter::repeat_n(level == most, times));
        Ok(())
    })?;
    Ok(present)
}

fn old_levels(bytes: &[u8], most: u32, count: usize) -> Outcome<(Vec<bool>, usize)> {
    let width = u32::BITS - most.leading_zeros();
    let level =
        |row| encoding::old_bits(bytes, row, width).map(|level| level == most).ok_or("a page ends within its levels");
    let present = (0..count).map(level).collect::<Result<Vec<_>, _>>()?;
    Ok((present, (count * width as usize).div_ceil(8)))
}

fn width(physical: Physical) -> usize {
    if matches!(physical, Physical::Int32 | Physical::Float) { 4 } else { 8 }
}

/// A label; of numbers with a fraction those without one, for tables in which a missing label made them so.
fn number(physical: Physical, bytes: &[u8]) -> Outcome<Option<i64>> {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let narrow = [wide[0], wide[1], wide[2], wide[3]];
    let value = match physical {
        Physical::Int32 => return Ok(Some(i32::from_le_bytes(narrow).into())),
        Physical::Float => f32::from_le_bytes(narrow).into(),
        Physical::Double => f64::from_le_bytes(wide),
        _ => return Ok(Some(i64::from_le_bytes(wide))),
    };
    if value.is_nan() {
        return Ok(None);
    }
    let whole = value.fract() == 0.0 && value.abs() < 1e15;
    if whole { Ok(Some(value as i64)) } else { Err(format!("it holds {value}, which is no number of a class")) }
}
