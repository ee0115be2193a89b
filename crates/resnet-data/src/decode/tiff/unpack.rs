//! From a strip's or tile's bytes to values of 8 bits.

use std::borrow::Cow;

use fax::decoder::{decode_g3, decode_g4};
use flate2::{Decompress, FlushDecompress, Status};
use weezl::{BitOrder, LzwStatus};

use super::super::colour::{rounded, unpack};
use super::super::ifd::Order;
use super::layout::{Chunk, Compression, Layout, Photometric};

const CUT: &str = "the TIFF ends before its picture does: it is truncated";

/// Unpacks one strip or tile after the other.
pub(super) struct Unpacker<'a> {
    layout: &'a Layout<'a>,
    inflate: Decompress,
    lzw: weezl::decode::Decoder,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(layout: &'a Layout<'a>) -> Self {
        let lzw = weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8);
        Self { layout, inflate: Decompress::new(true), lzw }
    }

    /// Writes what is kept of a strip or tile into the picture.
    pub(super) fn put(&mut self, chunk: &Chunk, bytes: &[u8], canvas: &mut [u8]) -> Result<(), String> {
        let layout = self.layout;
        let samples = if layout.planar { 1 } else { layout.samples };
        let row = (chunk.width * samples * layout.bits).div_ceil(8);
        let data = chunk.data(bytes)?;
        let data = if layout.reversed {
            Cow::Owned(data.iter().take(row * chunk.rows * 2 + 1024).map(|byte| byte.reverse_bits()).collect())
        } else {
            Cow::Borrowed(data)
        };
        let mut unpacked = self.decompress(data, row * chunk.rows, chunk)?;
        if unpacked.len() < row * chunk.rows {
            return Err(CUT.to_string());
        }
        if layout.differences {
            unpacked.to_mut().chunks_exact_mut(row).for_each(|row| add_up(row, samples, layout));
        }
        let kept = layout.kept();
        let mut values = Vec::with_capacity(chunk.width * samples);
        for (index, line) in unpacked.chunks_exact(row).take(chunk.rows).enumerate() {
            values.clear();
            self.values(line, &mut values);
            let start = ((chunk.top + index) * layout.width + chunk.left) * kept;
            let to = canvas[start..start + chunk.columns * kept].chunks_exact_mut(kept);
            if layout.planar {
                to.zip(&values).for_each(|(to, &value)| to[chunk.plane] = value);
            } else if kept == samples {
                canvas[start..start + chunk.columns * kept].copy_from_slice(&values[..chunk.columns * kept]);
            } else {
                to.zip(values.chunks_exact(samples)).for_each(|(to, from)| to.copy_from_slice(&from[..kept]));
            }
        }
        Ok(())
    }

    fn decompress<'b>(&mut self, data: Cow<'b, [u8]>, length: usize, chunk: &Chunk) -> Result<Cow<'b, [u8]>, String> {
        let packed = match self.layout.compression {
            Compression::None | Compression::Jpeg => return Ok(data),
            Compression::PackBits => unpack_bits(&data, length),
            Compression::Deflate => self.inflate(&data, length)?,
            Compression::Lzw => self.lzw(&data, length)?,
            Compression::Group3 | Compression::Group4 => fax(self.layout.compression, &data, chunk)?,
        };
        Ok(packed.into())
    }

    fn inflate(&mut self, data: &[u8], length: usize) -> Result<Vec<u8>, String> {
        self.inflate.reset(true);
        let mut out = vec![0; length];
        while (self.inflate.total_out() as usize) < length {
            let (read, written) = (self.inflate.total_in() as usize, self.inflate.total_out() as usize);
            let status = self.inflate.decompress(&data[read..], &mut out[written..], FlushDecompress::None);
            let stuck = (read, written) == (self.inflate.total_in() as usize, self.inflate.total_out() as usize);
            match status.map_err(|_| "its compressed data are damaged")? {
                Status::Ok if !stuck => {}
                _ => break,
            }
        }
        out.truncate(self.inflate.total_out() as usize);
        Ok(out)
    }

    fn lzw(&mut self, data: &[u8], length: usize) -> Result<Vec<u8>, String> {
        self.lzw.reset();
        let mut out = vec![0; length];
        let (mut read, mut written) = (0, 0);
        while written < length {
            let result = self.lzw.decode_bytes(&data[read..], &mut out[written..]);
            read += result.consumed_in;
            written += result.consumed_out;
            match result.status.map_err(|_| "its LZW codes are damaged".to_string())? {
                LzwStatus::Ok if result.consumed_in + result.consumed_out > 0 => {}
                _ => break,
            }
        }
        out.truncate(written);
        Ok(out)
    }

    /// The samples of a row, as 8 bits or as indices.
    fn values(&self, row: &[u8], values: &mut Vec<u8>) {
        let indexed = matches!(self.layout.photometric, Photometric::Palette(_));
        let grey = matches!(self.layout.photometric, Photometric::WhiteIsZero | Photometric::BlackIsZero);
        let big = self.layout.order == Order::Big;
        match self.layout.bits {
            8 => values.extend_from_slice(row),
            12 => {
                let sample = |value: u32| ((value * 255 + 2047) / 4095) as u8;
                for three in row.chunks(3) {
                    let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
                    values.extend([sample(at(0) << 4 | at(1) >> 4), sample((at(1) & 15) << 8 | at(2))]);
                }
            }
            16 => {
                let of = |&pair: &[u8; 2]| if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
                let samples = row.as_chunks().0.iter().map(of);
                // Colours lose their lower bits, as in Pillow; grey, which it cuts at 255, is scaled.
                if grey { values.extend(samples.map(rounded)) } else { values.extend(samples.map(|v| (v >> 8) as u8)) }
            }
            bits => {
                let scale = if indexed { 1 } else { (255 / ((1_u16 << bits) - 1)) as u8 };
                unpack(row, bits, values);
                values.iter_mut().for_each(|value| *value *= scale);
            }
        }
    }
}

/// Adds to every sample that of the pixel before.
fn add_up(row: &mut [u8], samples: usize, layout: &Layout) {
    if layout.bits == 8 {
        for at in samples..row.len() {
            row[at] = row[at].wrapping_add(row[at - samples]);
        }
    } else if layout.bits == 16 {
        let big = layout.order == Order::Big;
        let of = |pair: [u8; 2]| if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
        let (pairs, _) = row.as_chunks_mut::<2>();
        for at in samples..pairs.len() {
            let sum = of(pairs[at]).wrapping_add(of(pairs[at - samples]));
            pairs[at] = if big { sum.to_be_bytes() } else { sum.to_le_bytes() };
        }
    }
}

/// Apple's run lengths.
fn unpack_bits(mut data: &[u8], length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length + 128);
    while let (true, Some((&head, rest))) = (out.len() < length, data.split_first()) {
        let count = usize::from(head) + 1;
        match head {
            0..128 => {
                let (run, rest) = rest.split_at(count.min(rest.len()));
                out.extend(run);
                data = rest;
            }
            128 => data = rest,
            _ => {
                let Some((&byte, rest)) = rest.split_first() else { break };
                out.resize(out.len() + 258 - count, byte);
                data = rest;
            }
        }
    }
    out.truncate(length);
    out
}

/// A fax's rows, black as 1.
fn fax(compression: Compression, data: &[u8], chunk: &Chunk) -> Result<Vec<u8>, String> {
    let width = u32::try_from(chunk.width).map_err(|_| "a fax so wide is not decoded")?;
    // The longest run of one dimension's codes is 2,560 pixels in 12 bits.
    let least = (chunk.width / 2560).saturating_mul(chunk.rows).saturating_mul(12);
    if compression == Compression::Group3 && data.len().saturating_mul(8) < least {
        return Err(CUT.to_string());
    }
    let length = chunk.width.div_ceil(8);
    let mut out = Vec::new();
    let mut put = |line: &[u32]| {
        if out.len() < length * chunk.rows {
            let start = out.len();
            out.resize(start + length, 0);
            // The places where the colour changes, from white to black first.
            for run in line.chunks(2) {
                let place = |index: usize| run.get(index).map_or(chunk.width, |&place| place as usize).min(chunk.width);
                blacken(&mut out[start..], place(0), place(1));
            }
        }
    };
    // Many writers leave out the marks behind the last row, without which it would be lost.
    let ends = [0, 1].repeat(8);
    let input = data.iter().copied().chain(ends);
    // What was read before the codes break is a picture only if it is whole, which the caller sees.
    _ = match compression {
        Compression::Group3 => decode_g3(input, put),
        // With a number of rows it would make up those that are missing.
        _ => decode_g4(input, width, None, &mut put),
    };
    Ok(out)
}

/// Sets the bits from one place up to another.
fn blacken(row: &mut [u8], from: usize, to: usize) {
    let mut at = from;
    while at < to {
        if at.is_multiple_of(8) && to - at >= 8 {
            row[at / 8..to / 8].fill(0xff);
            at = to / 8 * 8;
        } else {
            row[at / 8] |= 0x80 >> (at % 8);
            at += 1;
        }
    }
}
