//! The bytes of a pickle: instructions' arguments and plain values.

use std::borrow::Cow;
use std::rc::Rc;

use super::Step;
use super::value::Value;

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub fn position(&self) -> usize {
        self.position
    }

    /// The next `n` bytes; borrowed, so a length that lies costs nothing.
    pub fn take(&mut self, n: usize) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.position..];
        let taken = rest.get(..n).ok_or("the file ends in the middle of it")?;
        self.position += n;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Step<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "the file ends in the middle of it".into())
    }

    /// Up to a line feed, which is left out (protocol 0).
    pub fn line(&mut self) -> Step<Cow<'a, str>> {
        let rest = &self.bytes[self.position..];
        let end = rest.iter().position(|&b| b == b'\n').ok_or("the file ends in the middle of it")?;
        self.position += end + 1;
        if end > 1 << 16 {
            return Err("a line of it is too long".into());
        }
        Ok(String::from_utf8_lossy(&rest[..end]))
    }

    /// The number a `PUT` or `GET` of any size carries.
    pub fn index(&mut self, op: u8) -> Step<u32> {
        match op {
            b'q' | b'h' => self.byte().map(u32::from),
            b'r' | b'j' => self.array().map(u32::from_le_bytes),
            _ => {
                let line = self.line()?;
                line.trim().parse().map_err(|_| "it numbers a value by something that is no number".into())
            }
        }
    }

    /// A length of 1, 4 or 8 bytes, and as many bytes as it says.
    fn counted(&mut self, width: usize) -> Step<&'a [u8]> {
        let mut length = 0u64;
        for (i, &byte) in self.take(width)?.iter().enumerate() {
            length |= u64::from(byte) << (8 * i);
        }
        let length = usize::try_from(length).map_err(|_| "a length in it is too large")?;
        self.take(length)
    }

    /// Bytes are the values of numpy's arrays: not copied, as they may be large.
    fn bytes(&mut self, width: usize) -> Step<Value> {
        let length = self.counted(width)?.len();
        Ok(Value::Bytes(self.position - length..self.position))
    }

    /// The value an instruction without operands pushes.
    pub fn scalar(&mut self, op: u8) -> Step<Value> {
        Ok(match op {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            0x8a => long(self.counted(1)?),
            0x8b => long(self.counted(4)?),
            b'I' | b'L' => match self.line()?.trim().trim_end_matches('L') {
                // How protocol 0 spells False and True.
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                digits => digits.parse().map_or_else(|_| opaque(), Value::Int),
            },
            b'F' => self.line()?.trim().parse().map_or_else(|_| opaque(), Value::Float),
            b'S' => text(self.line()?.trim().trim_matches(['\'', '"']).as_bytes()),
            b'V' => text(self.line()?.as_bytes()),
            b'X' | b'T' => text(self.counted(4)?),
            0x8c | b'U' => text(self.counted(1)?),
            0x8d => text(self.counted(8)?),
            b'B' => self.bytes(4)?,
            b'C' => self.bytes(1)?,
            0x8e | 0x96 => self.bytes(8)?,
            other => return Err(format!("instruction 0x{other:02x} is none that checkpoints use")),
        })
    }
}

/// A whole number of any length; those beyond 64 bits are of no use here.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return opaque();
    }
    // Sign-extended to eight bytes.
    let negative = bytes.last().is_some_and(|&b| b >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}

fn text(bytes: &[u8]) -> Value {
    Value::Str(Rc::from(String::from_utf8_lossy(bytes)))
}

fn opaque() -> Value {
    Value::object("")
}
