//! The compressions of parquet's pages. None gives more bytes than it was told to.

use std::io::Read;

use super::Outcome;

/// Bytes that a page may unpack to whatever it was packed to, and times its packed size. A page of photographs shrinks
/// hardly at all; one that promises more would take memory and time for nothing.
const UNPACKED: (usize, usize) = (256 << 10, 256);

/// The most bytes that so many packed ones may stand for.
pub(super) fn most(packed: usize) -> usize {
    packed.saturating_mul(UNPACKED.1).saturating_add(UNPACKED.0)
}

/// Unpacks a page that must become `size` bytes.
pub(super) fn unpack(codec: i64, packed: &[u8], size: usize) -> Outcome<Vec<u8>> {
    if size > most(packed.len()) {
        return Err(format!("a page of {} bytes promises to unpack to {size}", packed.len()));
    }
    if size == 0 {
        // A page of missing values alone, whatever stands for nothing in its compression.
        return Ok(Vec::new());
    }
    let broken = |error: &dyn std::fmt::Display| format!("a page cannot be unpacked as {} ({error})", name(codec));
    let bytes = match codec {
        0 => packed.to_vec(),
        1 => snappy(packed, size).map_err(|error| broken(&error))?,
        2 => limited(flate2::read::MultiGzDecoder::new(packed), size).map_err(|error| broken(&error))?,
        4 => limited(brotli_decompressor::Decompressor::new(packed, 4096), size).map_err(|error| broken(&error))?,
        5 => old_lz4(packed, size).map_err(|error| broken(&error))?,
        6 => zstd::bulk::decompress(packed, size).map_err(|error| broken(&error))?,
        7 => block(packed, size).map_err(|error| broken(&error))?,
        3 => return Err("it is compressed as LZO, which nobody writes any more; write it again as zstd".to_string()),
        other => return Err(format!("it has a compression of number {other}, which the format does not know")),
    };
    if bytes.len() != size {
        return Err(format!("a page unpacks to {} bytes and not to the {size} that it says", bytes.len()));
    }
    Ok(bytes)
}

fn name(codec: i64) -> &'static str {
    match codec {
        1 => "snappy",
        2 => "gzip",
        4 => "brotli",
        5 | 7 => "LZ4",
        6 => "zstd",
        _ => "what it is",
    }
}

fn limited(reader: impl Read, size: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size);
    // One byte more tells what is too long.
    reader.take(size as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn snappy(packed: &[u8], size: usize) -> Outcome<Vec<u8>> {
    let says = snap::raw::decompress_len(packed).map_err(|error| error.to_string())?;
    if says != size {
        return Err(format!("{says} bytes and not {size}"));
    }
    snap::raw::Decoder::new().decompress_vec(packed).map_err(|error| error.to_string())
}

fn block(packed: &[u8], size: usize) -> Outcome<Vec<u8>> {
    lz4_flex::block::decompress(packed, size).map_err(|error| error.to_string())
}

/// LZ4 before the format said which: blocks behind two lengths (Hadoop), a bare block, or a frame, as writers had it.
fn old_lz4(packed: &[u8], size: usize) -> Outcome<Vec<u8>> {
    if let Some(bytes) = hadoop(packed, size) {
        return Ok(bytes);
    }
    let frame = || limited(lz4_flex::frame::FrameDecoder::new(packed), size).map_err(|error| error.to_string());
    if packed.starts_with(&[0x04, 0x22, 0x4d, 0x18]) { frame() } else { block(packed, size) }
}

fn hadoop(mut packed: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size);
    while let Some((head, rest)) = packed.split_first_chunk::<8>() {
        let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let (unpacked, length) = (number(0), number(4));
        let inner = rest.get(..length)?;
        if unpacked > size - bytes.len() {
            return None;
        }
        bytes.extend(block(inner, unpacked).ok()?);
        packed = &rest[length..];
    }
    (packed.is_empty() && bytes.len() == size).then_some(bytes)
}
