//! The portable maps: PBM, PGM, PPM and PAM, as text and as bytes.

use super::check_size;
use super::colour::{greys, spread, unpack};
use crate::Image;

/// The picture, or what is wrong with it.
pub(super) fn decode(bytes: &[u8]) -> Result<Image, String> {
    let mut tokens = Tokens { rest: &bytes[2..] };
    let kind = bytes[1];
    if kind == b'7' {
        return pam(tokens);
    }
    let (width, height) = (tokens.number()?, tokens.number()?);
    check_size(width, height)?;
    let most = if matches!(kind, b'1' | b'4') { 1 } else { tokens.number()? };
    if !(1..65_536).contains(&most) {
        return Err(format!("the largest value is {most}, but must lie between 1 and 65535"));
    }
    let channels = if matches!(kind, b'3' | b'6') { 3 } else { 1 };
    let count = width * height * channels;
    // Every value takes a byte at least (an eighth of one in a bitmap): what a header promises cannot be more.
    let short = if kind == b'4' { width.div_ceil(8) * height } else { count } > tokens.rest.len();
    if short {
        return Err(CUT.to_string());
    }
    let values: Vec<u8> = match kind {
        b'1' => tokens.bits(count)?,
        b'4' => {
            let mut values = Vec::with_capacity(count + 8);
            for (row, line) in tokens.rest.chunks_exact(width.div_ceil(8)).take(height).enumerate() {
                unpack(line, 1, &mut values);
                values.truncate((row + 1) * width);
            }
            values.iter_mut().for_each(|bit| *bit = if *bit == 0 { 255 } else { 0 });
            values
        }
        b'2' | b'3' => {
            let scale = scale(most, channels);
            let mut values = Vec::with_capacity(count);
            for _ in 0..count {
                let value = tokens.number()?;
                if value > most {
                    return Err(format!("a value is {value}, but the largest should be {most}"));
                }
                values.push(scale[value]);
            }
            values
        }
        _ => binary(tokens.rest, count, most, channels)?,
    };
    Ok(image(values, width, height, channels))
}

const CUT: &str = "the map ends before its picture does: it is truncated";

/// Values of one byte, or of two where they can be larger than 255.
fn binary(bytes: &[u8], count: usize, most: usize, channels: usize) -> Result<Vec<u8>, String> {
    let width = if most > 255 { 2 } else { 1 };
    let bytes = bytes.get(..count * width).ok_or(CUT)?;
    let scale = scale(most, channels);
    // Values above the largest are cut, as in Pillow.
    Ok(match width {
        1 => bytes.iter().map(|&byte| scale[usize::from(byte).min(most)]).collect(),
        _ => bytes.as_chunks().0.iter().map(|&pair| scale[usize::from(u16::from_be_bytes(pair)).min(most)]).collect(),
    })
}

/// Each value's eight bits. Rounded to even where it lies between two, as Pillow's Python does; grey of more than 8 bits is
/// scaled too (Pillow cuts it at 255).
fn scale(most: usize, channels: usize) -> Vec<u8> {
    let of = |value: usize| {
        if most > 255 && channels == 1 {
            ((value * 255 + most / 2) / most) as u8
        } else {
            (value as f64 / most as f64 * 255.0).round_ties_even() as u8
        }
    };
    (0..=most).map(of).collect()
}

fn image(values: Vec<u8>, width: usize, height: usize, channels: usize) -> Image {
    let pixels = match channels {
        1 => spread(&values, &greys()),
        _ => values,
    };
    Image { height, width, pixels }
}

/// Numbers between white space and comments.
struct Tokens<'a> {
    rest: &'a [u8],
}

impl Tokens<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    /// The rest of the line, behind a `#`.
    fn comment(&mut self) {
        while !matches!(self.byte(), None | Some(b'\n' | b'\r')) {}
    }

    /// A word, and the one white space behind it.
    fn word(&mut self) -> Result<String, String> {
        let mut word = String::new();
        loop {
            match self.byte() {
                Some(b'#') => self.comment(),
                Some(byte) if byte.is_ascii_whitespace() || byte == 0x0b => {
                    if !word.is_empty() {
                        return Ok(word);
                    }
                }
                Some(byte) if byte.is_ascii_graphic() && word.len() < 16 => word.push(char::from(byte)),
                None if !word.is_empty() => return Ok(word),
                None => return Err(CUT.to_string()),
                Some(byte) => return Err(format!("byte {byte} stands where a number should")),
            }
        }
    }

    fn number(&mut self) -> Result<usize, String> {
        let word = self.word()?;
        let short = word.len() <= 10 && word.bytes().all(|byte| byte.is_ascii_digit());
        word.parse().ok().filter(|_| short).ok_or_else(|| format!("{word:?} stands where a number should"))
    }

    /// Digits 0 and 1, with or without white space between them; 1 is black.
    fn bits(&mut self, count: usize) -> Result<Vec<u8>, String> {
        let mut values = Vec::with_capacity(count);
        while values.len() < count {
            match self.byte() {
                Some(b'0') => values.push(255),
                Some(b'1') => values.push(0),
                Some(b'#') => self.comment(),
                Some(byte) if byte.is_ascii_whitespace() || byte == 0x0b => {}
                Some(byte) => return Err(format!("byte {byte} stands where 0 or 1 should")),
                None => return Err(CUT.to_string()),
            }
        }
        Ok(values)
    }
}

/// A PAM: keywords and numbers up to `ENDHDR`, then bytes. (Pillow does not read them.)
fn pam(mut tokens: Tokens) -> Result<Image, String> {
    let (mut width, mut height, mut depth, mut most) = (0, 0, 0, 0);
    for _ in 0..100 {
        match tokens.word()?.as_str() {
            "WIDTH" => width = tokens.number()?,
            "HEIGHT" => height = tokens.number()?,
            "DEPTH" => depth = tokens.number()?,
            "MAXVAL" => most = tokens.number()?,
            "ENDHDR" => break,
            // The kind of tuple follows from the depth.
            _ => {}
        }
    }
    check_size(width, height)?;
    if !(1..=4).contains(&depth) || !(1..65_536).contains(&most) {
        return Err(format!("a map of {depth} values a pixel and {most} at most is not decoded"));
    }
    let colours = if depth > 2 { 3 } else { 1 };
    let all = binary(tokens.rest, width * height * depth, most, colours)?;
    let values = all.chunks_exact(depth).flat_map(|pixel| &pixel[..colours]).copied().collect();
    Ok(image(values, width, height, colours))
}
