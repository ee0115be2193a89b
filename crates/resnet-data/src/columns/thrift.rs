//! Thrift's compact protocol, in which parquet writes its footer and the heads of its pages, as a tree of values.

use super::Outcome;

/// Structures and lists within each other: the format needs five.
const DEEPEST: usize = 16;

/// A value. Doubles are passed over: nothing of a parquet file's structure is one.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Bool(bool),
    Integer(i64),
    Bytes(&'a [u8]),
    List(Vec<Value<'a>>),
    Struct(Vec<(i16, Value<'a>)>),
    Other,
}

impl<'a> Value<'a> {
    /// The field of a structure that has this number.
    pub(super) fn field(&self, number: i16) -> Option<&Self> {
        let Self::Struct(fields) = self else { return None };
        fields.iter().find(|(found, _)| *found == number).map(|(_, value)| value)
    }

    pub(super) fn integer(&self, number: i16) -> Option<i64> {
        match self.field(number)? {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// A whole number that counts something, or says where it is.
    pub(super) fn count(&self, number: i16) -> Option<usize> {
        self.integer(number).and_then(|value| usize::try_from(value).ok())
    }

    pub(super) fn boolean(&self, number: i16) -> Option<bool> {
        match self.field(number)? {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn bytes(&self, number: i16) -> Option<&'a [u8]> {
        match self.field(number)? {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The items of a list; none where there is no list.
    pub(super) fn list(&self, number: i16) -> &[Self] {
        match self.field(number) {
            Some(Self::List(items)) => items,
            _ => &[],
        }
    }
}

/// Reads a structure at the beginning of bytes; tells how many of them it took.
pub(super) fn read(bytes: &[u8]) -> Outcome<(Value<'_>, usize)> {
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.structure(DEEPEST)?;
    Ok((value, reader.at))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Outcome<&'a [u8]> {
        let taken =
            self.bytes.get(self.at..).and_then(|rest| rest.get(..length)).ok_or("its structure ends too early")?;
        self.at += length;
        Ok(taken)
    }

    fn byte(&mut self) -> Outcome<u8> {
        Ok(self.take(1)?[0])
    }

    fn varint(&mut self) -> Outcome<u64> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (value, length) = varint(rest).ok_or("a number in its structure has no end")?;
        self.at += length;
        Ok(value)
    }

    fn zigzag(&mut self) -> Outcome<i64> {
        Ok(zigzag(self.varint()?))
    }

    fn structure(&mut self, depth: usize) -> Outcome<Value<'a>> {
        let mut fields = Vec::new();
        let mut number = 0_i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(Value::Struct(fields));
            }
            number = match head >> 4 {
                0 => i16::try_from(self.zigzag()?).map_err(|_| "a field of its structure has no number")?,
                delta => number.checked_add(delta.into()).ok_or("a field of its structure has no number")?,
            };
            let value = match head & 0x0f {
                1 => Value::Bool(true),
                2 => Value::Bool(false),
                kind => self.value(kind, depth)?,
            };
            fields.push((number, value));
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Outcome<Value<'a>> {
        let depth = depth.checked_sub(1).ok_or("its structure is nested too deeply")?;
        Ok(match kind {
            // As an item of a list; as a field the value is in the field's head.
            1 | 2 => Value::Bool(self.byte()? == 1),
            3 => Value::Integer((self.byte()? as i8).into()),
            4..=6 => Value::Integer(self.zigzag()?),
            7 => self.take(8).map(|_| Value::Other)?,
            8 => {
                let length = usize::try_from(self.varint()?).map_err(|_| "a text in its structure has no end")?;
                Value::Bytes(self.take(length)?)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => self.varint()?,
                    count => count.into(),
                };
                // Every item takes a byte at least.
                let count = usize::try_from(count).ok().filter(|&count| count <= self.bytes.len() - self.at);
                let count = count.ok_or("a list in its structure is longer than the file")?;
                Value::List((0..count).map(|_| self.value(head & 0x0f, depth)).collect::<Outcome<_>>()?)
            }
            12 => self.structure(depth)?,
            13 => self.take(16).map(|_| Value::Other)?,
            other => return Err(format!("its structure has a value of kind {other}")),
        })
    }
}

/// A number of seven bits a byte, the lowest first, and its length in bytes.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (place, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * place as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    None
}

/// Signs in the lowest bit: 0, -1, 1, -2, …
pub(super) fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_read_and_what_lies_about_its_size_is_refused() {
        // {1: -3, 2: [{1: true}], 20: "ab"}
        let bytes = [0x15, 5, 0x19, 0x1c, 0x11, 0, 0x08, 40, 2, b'a', b'b', 0, 99];
        let (value, length) = read(&bytes).unwrap();
        assert_eq!((value.integer(1), length), (Some(-3), 12));
        assert_eq!(value.list(2)[0].boolean(1), Some(true));
        assert_eq!(value.bytes(20), Some(&b"ab"[..]));
        for length in 0..12 {
            assert!(read(&bytes[..length]).is_err(), "{length}");
        }
        assert!(read(&[0x19, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x07]).unwrap_err().contains("longer than the file"));
        assert!(read(&[0x1c; 1000]).unwrap_err().contains("nested"));
        assert!(read(&[0x19; 1000]).is_err());
    }
}
