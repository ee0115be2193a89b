//! Windows' and OS/2's bitmaps, as Pillow reads them.

use super::check_size;
use super::colour::{palette, unpack};
use crate::Image;

const RAW: u32 = 0;
const RLE8: u32 = 1;
const RLE4: u32 = 2;
const BITFIELDS: u32 = 3;
const ALPHABITFIELDS: u32 = 6;

struct Header {
    width: usize,
    height: usize,
    from_top: bool,
    bits: usize,
    compression: u32,
    /// Red, green and blue of pixels of 16, 24 or 32 bits.
    masks: [u32; 3],
    /// Where the palette begins, its bytes an entry, and its entries.
    palette: (usize, usize, usize),
    /// Where the pixels begin.
    offset: usize,
}

/// The picture, or what is wrong with it. Alpha is dropped.
pub(super) fn decode(bytes: &[u8]) -> Result<Image, String> {
    let header = Header::read(bytes)?;
    let data = bytes.get(header.offset..).unwrap_or_default();
    let (width, height) = (header.width, header.height);
    let (start, entry, count) = header.palette;
    let entries = bytes.get(start..).unwrap_or_default().chunks_exact(entry).take(count);
    let colours = palette(entries.map(|entry| [entry[2], entry[1], entry[0]]));
    let indices = matches!(header.compression, RLE8 | RLE4).then(|| header.indices(bytes, data)).transpose()?;
    let (data, stride, bits) = match &indices {
        Some(indices) => (&indices[..], width, 8),
        None => (data, (width * header.bits).div_ceil(32) * 4, header.bits),
    };
    // The last row need not be filled up.
    if data.len() < (height - 1) * stride + (width * bits).div_ceil(8) {
        return Err("the bitmap ends before its picture does: it is truncated".to_string());
    }
    let mut pixels = vec![0; width * height * 3];
    let [red, green, blue] = header.masks.map(channel);
    let mut values = Vec::new();
    for (row, line) in pixels.chunks_exact_mut(width * 3).enumerate() {
        let row = if header.from_top { row } else { height - 1 - row };
        let from = &data[row * stride..];
        let (line, _) = line.as_chunks_mut::<3>();
        let whole = |value: u32| [red(value), green(value), blue(value)];
        match bits {
            1 | 2 | 4 | 8 => {
                values.clear();
                unpack(&from[..(width * bits).div_ceil(8)], bits, &mut values);
                line.iter_mut().zip(&values).for_each(|(to, &index)| *to = colours[usize::from(index)]);
            }
            16 => {
                let values = from.as_chunks().0.iter().map(|&pair| u32::from(u16::from_le_bytes(pair)));
                line.iter_mut().zip(values).for_each(|(to, value)| *to = whole(value));
            }
            24 => line.iter_mut().zip(from.as_chunks::<3>().0).for_each(|(to, &[b, g, r])| *to = [r, g, b]),
            _ => {
                let values = from.as_chunks().0.iter().map(|&four| u32::from_le_bytes(four));
                line.iter_mut().zip(values).for_each(|(to, value)| *to = whole(value));
            }
        }
    }
    Ok(Image { height, width, pixels })
}

/// The value of a mask's bits, stretched to 8 bits.
fn channel(mask: u32) -> impl Fn(u32) -> u8 {
    let shift = mask.trailing_zeros().min(31);
    let most = u64::from(mask >> shift).max(1);
    move |value| (u64::from((value & mask) >> shift) * 255 / most) as u8
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let u16_at = |at: usize| {
            let pair = bytes.get(at..at + 2).and_then(|pair| pair.try_into().ok());
            pair.map(u16::from_le_bytes).ok_or("the bitmap ends in its header")
        };
        let u32_at = |at: usize| {
            let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
            four.map(u32::from_le_bytes).ok_or("the bitmap ends in its header")
        };
        let (offset, size) = (u32_at(10)? as usize, u32_at(14)? as usize);
        let old = size == 12;
        if !old && !matches!(size, 40 | 52 | 56 | 64 | 108 | 124) {
            return Err(format!("no bitmap's header has {size} bytes"));
        }
        let (width, height, bits, compression, colours) = if old {
            (u32::from(u16_at(18)?), i32::from(u16_at(20)?), u16_at(24)?, RAW, 0)
        } else {
            (u32_at(18)?, u32_at(22)? as i32, u16_at(28)?, u32_at(30)?, u32_at(46)?)
        };
        let (width, from_top, height) = (width as usize, height < 0, height.unsigned_abs() as usize);
        check_size(width, height)?;
        let bits = usize::from(bits);
        let fits = match compression {
            RAW => matches!(bits, 1 | 2 | 4 | 8 | 16 | 24 | 32),
            RLE8 => bits == 8,
            RLE4 => bits == 4,
            BITFIELDS | ALPHABITFIELDS => matches!(bits, 16 | 24 | 32),
            _ => false,
        };
        if !fits {
            return Err(format!("bitmaps of {bits} bits with compression {compression} are not decoded"));
        }
        let masks = match (compression, bits) {
            (BITFIELDS | ALPHABITFIELDS, 16 | 32) => [u32_at(54)?, u32_at(58)?, u32_at(62)?],
            (_, 16) => [0x7c00, 0x3e0, 0x1f],
            _ => [0xff_0000, 0xff00, 0xff],
        };
        // Masks of nothing are meant as the usual ones.
        let masks = if masks == [0; 3] { [0xff_0000, 0xff00, 0xff] } else { masks };
        let entry = if old { 3 } else { 4 };
        let count = match colours as usize {
            0 if bits <= 8 => 1 << bits,
            count => count,
        };
        let start = 14 + size;
        let indexed = bits <= 8;
        if indexed && count > 65_536 {
            return Err(format!("no palette has {count} entries"));
        }
        let behind = start + if indexed { entry * count } else { 0 };
        // Some files say that the pixels begin where the palette does.
        let offset = if offset == 0 || (offset == start && indexed) { behind } else { offset };
        Ok(Self { width, height, from_top, bits, compression, masks, palette: (start, entry, count), offset })
    }

    /// Run-length codes to an index a pixel, as Pillow reads them: what is skipped has index 0, and rows that are missing
    /// make the file unreadable.
    fn indices(&self, bytes: &[u8], data: &[u8]) -> Result<Vec<u8>, String> {
        let (width, total) = (self.width, self.width * self.height);
        let four = self.compression == RLE4;
        let mut indices = Vec::new();
        let (mut at, mut column) = (0, 0);
        while let (true, Some(&[count, value])) = (indices.len() < total, data.get(at..).and_then(<[u8]>::first_chunk))
        {
            at += 2;
            let count = usize::from(count);
            match (count, value) {
                (0, 0) => {
                    indices.resize(indices.len().next_multiple_of(width), 0);
                    column = 0;
                }
                (0, 1) => break,
                (0, 2) => {
                    let Some(&[right, up]) = data.get(at..).and_then(<[u8]>::first_chunk) else { break };
                    at += 2;
                    let skipped = usize::from(right) + usize::from(up) * width;
                    indices.resize((indices.len() + skipped).min(total), 0);
                    column = indices.len() % width;
                }
                (0, literal) => {
                    let literal = usize::from(literal);
                    let taken = literal.min(total - indices.len());
                    let length = if four { taken.div_ceil(2) } else { taken };
                    let Some(run) = data.get(at..at + length) else { break };
                    at += length;
                    if four {
                        let end = indices.len() + taken;
                        unpack(run, 4, &mut indices);
                        indices.truncate(end);
                    } else {
                        indices.extend_from_slice(run);
                    }
                    column += literal;
                    // Runs begin at even places of the file.
                    at += (bytes.len() - data.len() + at) % 2;
                }
                (count, value) => {
                    let count = count.min(width.saturating_sub(column));
                    if four {
                        indices.extend((0..count).map(|index| if index % 2 == 0 { value >> 4 } else { value & 0xf }));
                    } else {
                        indices.resize(indices.len() + count, value);
                    }
                    column += count;
                }
            }
        }
        indices.truncate(total);
        if indices.len() < total {
            return Err("the bitmap ends before its picture does: it is truncated".to_string());
        }
        Ok(indices)
    }
}
