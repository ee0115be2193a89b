//! From the values of files to 8 bits and RGB, as Pillow does it.

/// (cyan, magenta, yellow, black) to RGB, in place: Pillow's `convert("RGB")`.
pub(super) fn cmyk_to_rgb(pixels: &mut Vec<u8>) {
    let light = |ink: u8, black: u8| {
        let white = 255 - black;
        let product = u32::from(ink) * u32::from(white) + 128;
        white - (((product >> 8) + product) >> 8) as u8
    };
    narrow(pixels, |[c, m, y, k]: [u8; 4]| [light(c, k), light(m, k), light(y, k)]);
}

/// Colours that were multiplied by their alpha, to RGB, in place: Pillow's raw mode `RGBa`.
pub(super) fn divide_by_alpha(pixels: &mut Vec<u8>) {
    let plain = |value: u8, alpha: u8| match alpha {
        0 => 0,
        255 => value,
        _ => (u32::from(value) * 255 / u32::from(alpha)).min(255) as u8,
    };
    narrow(pixels, |[r, g, b, a]: [u8; 4]| [plain(r, a), plain(g, a), plain(b, a)]);
}

/// Four values of a pixel to three, in place.
pub(super) fn narrow(pixels: &mut Vec<u8>, of: impl Fn([u8; 4]) -> [u8; 3]) {
    let count = pixels.len() / 4;
    for index in 0..count {
        if let Some(&from) = pixels[index * 4..].first_chunk()
            && let Some(to) = pixels[index * 3..].first_chunk_mut()
        {
            *to = of(from);
        }
    }
    pixels.truncate(count * 3);
}

/// 16 bits to 8, rounded. (Pillow cuts 16-bit grey at 255, which leaves white.)
pub(super) fn rounded(value: u16) -> u8 {
    ((u32::from(value) + 128) / 257) as u8
}

/// A palette: index to colour, black where it has none.
pub(super) fn palette(colours: impl Iterator<Item = [u8; 3]>) -> [[u8; 3]; 256] {
    let mut palette = [[0; 3]; 256];
    palette.iter_mut().zip(colours).for_each(|(entry, colour)| *entry = colour);
    palette
}

/// Adds the samples of a row of 1, 2, 4 or 8 bits each, the first in a byte's highest bits.
pub(super) fn unpack(row: &[u8], bits: usize, values: &mut Vec<u8>) {
    match bits {
        1 => row
            .iter()
            .for_each(|byte| values.extend_from_slice(&[7, 6, 5, 4, 3, 2, 1, 0].map(|shift| byte >> shift & 1))),
        2 => row.iter().for_each(|byte| values.extend_from_slice(&[6, 4, 2, 0].map(|shift| byte >> shift & 3))),
        4 => row.iter().for_each(|byte| values.extend_from_slice(&[byte >> 4, byte & 15])),
        _ => values.extend_from_slice(row),
    }
}

/// One value a pixel to three.
pub(super) fn spread(values: &[u8], of: &[[u8; 3]; 256]) -> Vec<u8> {
    let mut pixels = vec![0; values.len() * 3];
    let (to, _) = pixels.as_chunks_mut::<3>();
    to.iter_mut().zip(values).for_each(|(to, &value)| *to = of[usize::from(value)]);
    pixels
}

/// The palette of greys: each value to three equal ones.
pub(super) fn greys() -> [[u8; 3]; 256] {
    std::array::from_fn(|value| [value as u8; 3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ink_becomes_light_as_in_pillow() {
        // Of Pillow 13: Image.new("CMYK", ...).convert("RGB").
        let mut pixels = vec![0, 0, 0, 0, 255, 127, 0, 55, 245, 235, 225, 255];
        cmyk_to_rgb(&mut pixels);
        assert_eq!(pixels, [255, 255, 255, 0, 100, 200, 0, 0, 0]);
    }

    #[test]
    fn alpha_is_divided_out_as_in_pillow() {
        let mut pixels = vec![10, 20, 30, 0, 10, 20, 30, 255, 10, 20, 30, 15];
        divide_by_alpha(&mut pixels);
        assert_eq!(pixels, [0, 0, 0, 10, 20, 30, 170, 255, 255]);
    }

    #[test]
    fn samples_come_from_the_highest_bits_down() {
        let unpacked = |bits| {
            let mut values = Vec::new();
            unpack(&[0b1010_0001], bits, &mut values);
            values
        };
        assert_eq!(unpacked(1), [1, 0, 1, 0, 0, 0, 0, 1]);
        assert_eq!(unpacked(2), [2, 2, 0, 1]);
        assert_eq!(unpacked(4), [10, 1]);
        assert_eq!(unpacked(8), [0xa1]);
        assert_eq!(spread(&[1, 255], &greys()), [1, 1, 1, 255, 255, 255]);
        assert_eq!([0, 128, 129, 0xffff].map(rounded), [0, 0, 1, 255]);
    }
}
