//! How a picture is to be turned: what Pillow's `getexif` finds and `ImageOps.exif_transpose` does.

use super::ifd::Directory;
use crate::Image;

/// EXIF's and TIFF's tag, in a picture's first directory.
pub(super) const ORIENTATION: u16 = 0x112;

const SQUARE: usize = 32;

/// First rows and columns of the squares that a picture is made of.
fn squares(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).step_by(SQUARE).flat_map(move |top| (0..columns).step_by(SQUARE).map(move |left| (top, left)))
}

/// One of EXIF's eight orientations; 1 is upright.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation(u8);

impl Orientation {
    pub(super) const UPRIGHT: Self = Self(1);

    /// The orientation of a number; what is none of them turns nothing.
    pub(super) fn of(number: f64) -> Self {
        (2..=8).find(|&known| f64::from(known) == number).map_or(Self::UPRIGHT, Self)
    }

    /// What the EXIF data say or, where they lack the tag, the XMP data.
    ///
    /// Pillow gives up where EXIF data have no header, and so turns nothing; the tag may be of any kind but byte and text.
    pub(super) fn find(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Self {
        let from_exif = |mut data: &[u8]| {
            for _ in 0..2 {
                data = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
            }
            match Directory::first(data) {
                Ok(directory) if directory.has(ORIENTATION) => {
                    Some(directory.number(ORIENTATION).map_or(Self::UPRIGHT, Self::of))
                }
                Ok(_) => None,
                Err(_) => (!data.is_empty()).then_some(Self::UPRIGHT),
            }
        };
        exif.and_then(from_exif).or_else(|| xmp.and_then(Self::of_xmp)).unwrap_or(Self::UPRIGHT)
    }

    /// `tiff:Orientation` as an attribute or an element, by Pillow's pattern.
    fn of_xmp(xmp: &[u8]) -> Option<Self> {
        const NAME: &[u8] = b"tiff:Orientation";
        let places = xmp.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME);
        let digit = |at: usize| {
            let rest = &xmp[at + NAME.len()..];
            let rest = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
            rest.first().filter(|byte| byte.is_ascii_digit()).map(|byte| Self::of(f64::from(byte - b'0')))
        };
        places.map(|(at, _)| at).find_map(digit)
    }

    /// The picture turned upright.
    pub(super) fn apply(self, mut image: Image) -> Image {
        let (height, width) = (image.height, image.width);
        let (pixels, _) = image.pixels.as_chunks_mut::<3>();
        match self.0 {
            2 => pixels.chunks_exact_mut(width).for_each(<[_]>::reverse),
            3 => pixels.reverse(),
            4 => {
                let (above, below) = pixels.split_at_mut(height / 2 * width);
                let below = below.chunks_exact_mut(width).rev();
                above.chunks_exact_mut(width).zip(below).for_each(|(a, b)| a.swap_with_slice(b));
            }
            5..=8 => {
                let mut turned = vec![0; pixels.len() * 3];
                let (to, _) = turned.as_chunks_mut::<3>();
                // Row and column of the source follow from those of the result. By squares, whose lines stay in the cache.
                let (backwards, upwards) = (matches!(self.0, 7 | 8), matches!(self.0, 6 | 7));
                for (top, left) in squares(width, height) {
                    for down in top..width.min(top + SQUARE) {
                        let column = if backwards { width - 1 - down } else { down };
                        for across in left..height.min(left + SQUARE) {
                            let row = if upwards { height - 1 - across } else { across };
                            to[down * height + across] = pixels[row * width + column];
                        }
                    }
                }
                return Image { height: width, width: height, pixels: turned };
            }
            _ => {}
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EXIF data of one tag.
    fn exif(kind: u16, value: &[u8]) -> Vec<u8> {
        let (inline, behind) = if value.len() <= 4 { (value, &b""[..]) } else { (&[26, 0, 0, 0][..], value) };
        let mut field = inline.to_vec();
        field.resize(4, 0);
        let head = [b"II*\0\x08\0\0\0\x01\0\x12\x01", &kind.to_le_bytes()[..], &[1, 0, 0, 0]].concat();
        [&head[..], &field, &[0; 4], behind].concat()
    }

    #[test]
    fn every_kind_of_number_turns_as_in_pillow() {
        let find = |data: &[u8]| Orientation::find(Some(data), None).0;
        // Of Pillow 13: `ImageOps.exif_transpose` turns by all of these but bytes, text and undefined ones.
        for (kind, value, expected) in [
            (1, &[6][..], 1),
            (2, b"6\0", 1),
            (3, &[6, 0], 6),
            (4, &[6, 0, 0, 0], 6),
            (5, &[12, 0, 0, 0, 2, 0, 0, 0], 6),
            (6, &[6], 6),
            (7, &[6], 1),
            (8, &[6, 0], 6),
            (9, &[6, 0, 0, 0], 6),
            (10, &[6, 0, 0, 0, 1, 0, 0, 0], 6),
            (11, &6_f32.to_le_bytes(), 6),
            (12, &6_f64.to_le_bytes(), 6),
            (13, &[6, 0, 0, 0], 6),
            (16, &[6, 0, 0, 0, 0, 0, 0, 0], 6),
            (17, &[6, 0, 0, 0, 0, 0, 0, 0], 1),
            (3, &[0, 0], 1),
            (3, &[9, 0], 1),
            (5, &[6, 0, 0, 0, 0, 0, 0, 0], 1),
        ] {
            assert_eq!(find(&exif(kind, value)), expected, "{kind} {value:?}");
        }
        assert_eq!(find(&[&b"Exif\0\0Exif\0\0"[..], &exif(3, &[6, 0])].concat()), 6);
        assert_eq!(find(b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0"), 8);
        for broken in [&b""[..], b"garbage", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff\x12\x01"] {
            assert_eq!(find(broken), 1);
        }
    }

    #[test]
    fn xmp_counts_where_exif_has_no_tag() {
        let find = |exif: Option<&[u8]>, xmp: &str| Orientation::find(exif, Some(xmp.as_bytes())).0;
        assert_eq!(find(None, "<x tiff:Orientation=\"6\"/>"), 6);
        assert_eq!(find(None, "<tiff:Orientation>8</tiff:Orientation>"), 8);
        assert_eq!(find(None, "<x tiff:Orientation='6'/>"), 1, "Pillow does not read it");
        assert_eq!(find(Some(b"II*\0\x08\0\0\0\0\0"), "<x tiff:Orientation=\"6\"/>"), 6);
        assert_eq!(find(Some(&exif(3, &[1, 0])), "<x tiff:Orientation=\"6\"/>"), 1);
        assert_eq!(find(Some(b"garbage!"), "<x tiff:Orientation=\"6\"/>"), 1);
    }

    /// Of Pillow 13: `ImageOps.exif_transpose` of a picture of 2 rows and 3 columns, 0 to 5.
    #[test]
    fn pictures_are_turned_as_in_pillow() {
        let image = Image { height: 2, width: 3, pixels: (0..6).flat_map(|value| [value; 3]).collect() };
        for (number, height, expected) in [
            (1, 2, [0, 1, 2, 3, 4, 5]),
            (2, 2, [2, 1, 0, 5, 4, 3]),
            (3, 2, [5, 4, 3, 2, 1, 0]),
            (4, 2, [3, 4, 5, 0, 1, 2]),
            (5, 3, [0, 3, 1, 4, 2, 5]),
            (6, 3, [3, 0, 4, 1, 5, 2]),
            (7, 3, [5, 2, 4, 1, 3, 0]),
            (8, 3, [2, 5, 1, 4, 0, 3]),
        ] {
            let turned = Orientation(number).apply(image.clone());
            assert_eq!((turned.height, turned.width), (height, 5 - height), "{number}");
            assert_eq!(turned.pixels.iter().copied().step_by(3).collect::<Vec<_>>(), expected, "{number}");
        }
    }
}
