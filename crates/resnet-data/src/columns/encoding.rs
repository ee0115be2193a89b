//! How parquet writes numbers small: runs of equal ones, bits side by side, differences.

use super::Outcome;
use super::thrift::{varint, zigzag};

const SHORT: &str = "a page ends before its values do";

/// Reads `count` numbers of so many bits from runs and packed bits, as `(number, times)`.
pub(super) fn runs(
    bytes: &[u8],
    width: u32,
    count: usize,
    mut each: impl FnMut(u32, usize) -> Outcome<()>,
) -> Outcome<()> {
    if width > 32 {
        return Err(format!("a page has numbers of {width} bits"));
    }
    let (mut at, mut left) = (0, count);
    while left > 0 {
        let (head, length) = varint(&bytes[at..]).ok_or(SHORT)?;
        at += length;
        let times = usize::try_from(head >> 1).unwrap_or(usize::MAX);
        if head & 1 == 0 {
            let length = width.div_ceil(8) as usize;
            let value = bytes.get(at..).and_then(|rest| rest.get(..length)).ok_or(SHORT)?;
            at += length;
            let value = value.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
            let times = times.min(left);
            each(value, times)?;
            left -= times;
        } else {
            let packed = &bytes[at..];
            // Eight numbers a group; the last group of a page may be cut where its numbers end.
            let numbers = times.saturating_mul(8).min(left);
            for number in 0..numbers {
                each(bits(packed, number, width).ok_or(SHORT)? as u32, 1)?;
            }
            left -= numbers;
            at += times.saturating_mul(width as usize).min(packed.len());
        }
    }
    Ok(())
}

/// The `number`-th value of `width` bits side by side, the lowest bit first.
pub(super) fn bits(bytes: &[u8], number: usize, width: u32) -> Option<u64> {
    let start = number.checked_mul(width as usize)?;
    let end = start.checked_add(width as usize)?;
    let taken = bytes.get(start / 8..end.div_ceil(8))?;
    let wide = taken.iter().rev().fold(0_u128, |wide, &byte| wide << 8 | u128::from(byte));
    Some((wide >> (start % 8)) as u64 & u64::MAX.checked_shr(64 - width).unwrap_or(0))
}

/// The same of levels in the old form: the highest bit first.
pub(super) fn old_bits(bytes: &[u8], number: usize, width: u32) -> Option<u32> {
    let start = number.checked_mul(width as usize)?;
    (start..start.checked_add(width as usize)?).try_fold(0, |value, bit| {
        let byte = bytes.get(bit / 8)?;
        Some(value << 1 | u32::from(byte >> (7 - bit % 8) & 1))
    })
}

/// Reads numbers written as differences, at most `most` of them; tells how many bytes they take.
pub(super) fn differences(bytes: &[u8], most: usize) -> Outcome<(Vec<i64>, usize)> {
    let mut at = 0;
    let mut next = || -> Outcome<u64> {
        let (value, length) = bytes.get(at..).and_then(varint).ok_or(SHORT)?;
        at += length;
        Ok(value)
    };
    let (block, parts, count, first) = (next()?, next()?, next()?, zigzag(next()?));
    let count = usize::try_from(count).ok().filter(|&count| count <= most);
    let count = count.ok_or("a page has more differences than values")?;
    let sound = parts > 0 && block > 0 && block <= 1 << 20 && block % parts == 0 && (block / parts) % 8 == 0;
    if !sound {
        return Err(format!("a page has blocks of {block} differences in {parts} parts"));
    }
    let (parts, each) = (parts as usize, (block / parts) as usize);
    let mut values = Vec::with_capacity(count);
    if count > 0 {
        values.push(first);
    }
    let mut last = first;
    while values.len() < count {
        let (least, length) = bytes.get(at..).and_then(varint).ok_or(SHORT)?;
        at += length;
        let least = zigzag(least);
        let widths = bytes.get(at..).and_then(|rest| rest.get(..parts)).ok_or(SHORT)?;
        at += parts;
        for &width in widths {
            let wanted = each.min(count - values.len());
            if wanted == 0 {
                // Parts without values have no bytes.
                break;
            }
            if width > 64 {
                return Err(format!("a page has differences of {width} bits"));
            }
            let packed = bytes.get(at..).unwrap_or_default();
            for number in 0..wanted {
                let difference = bits(packed, number, width.into()).ok_or(SHORT)? as i64;
                last = last.wrapping_add(least).wrapping_add(difference);
                values.push(last);
            }
            at += (each / 8 * usize::from(width)).min(packed.len());
        }
    }
    Ok((values, at))
}

/// Values whose bytes are written apart, all first bytes before all second ones: side by side again.
pub(super) fn joined(bytes: &[u8], width: usize) -> Vec<u8> {
    let count = bytes.len() / width;
    let mut joined = vec![0; count * width];
    for (place, byte) in joined.iter_mut().enumerate() {
        *byte = bytes[place % width * count + place / width];
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], width: u32, count: usize) -> Outcome<Vec<u32>> {
        let mut values = Vec::new();
        runs(bytes, width, count, |value, times| {
            values.extend(std::iter::repeat_n(value, times));
            Ok(())
        })?;
        Ok(values)
    }

    /// The examples of the format's own description (apache/parquet-format, Encodings.md).
    #[test]
    fn the_formats_examples_are_read() {
        let packed = [0b10_001_000, 0b11_000_110, 0b1111_1010];
        assert_eq!((0..8).map(|n| bits(&packed, n, 3).unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(all(&[3, 0b10_001_000, 0b11_000_110, 0b1111_1010, 8, 5], 3, 12).unwrap()[6..], [6, 7, 5, 5, 5, 5]);
        let old = [0b0000_0101, 0b0011_1001, 0b0111_0111];
        assert_eq!((0..8).map(|n| old_bits(&old, n, 3).unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7]);
        // 7, 5, 3, 1, 2, 3, 4, 5: differences -2 -2 -2 1 1 1 1, the least -2; the rest 0 0 0 3 3 3 3 in two bits.
        let bytes = [128, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(differences(&bytes, 8).unwrap(), (vec![7, 5, 3, 1, 2, 3, 4, 5], 18));
        assert!(differences(&bytes, 7).is_err());
        assert_eq!(joined(&[1, 2, 3, 4, 5, 6, 9], 2), [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn what_is_cut_or_makes_no_sense_is_refused() {
        for bytes in [&[][..], &[3], &[3, 0x88], &[0xff], &[9, 9]] {
            assert!(all(bytes, 9, 100).is_err(), "{bytes:?}");
        }
        // A run of none is passed over, and one of too many taken as far as it is wanted.
        assert_eq!(all(&[0, 7, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1], 3, 4).unwrap(), [1; 4]);
        assert!(all(&[2, 1], 33, 1).is_err());
        for bytes in
            [&[][..], &[128, 1, 0, 8, 14], &[0, 1, 8, 14], &[128, 1, 4, 8, 14, 3], &[128, 1, 4, 8, 14, 3, 65, 0, 0, 0]]
        {
            assert!(differences(bytes, 8).is_err(), "{bytes:?}");
        }
    }
}
