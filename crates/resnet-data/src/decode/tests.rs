//! Files that lie: each is an error of one line, or is read, and takes neither gigabytes nor minutes.

use flate2::Crc;

use super::*;

fn says(bytes: &[u8]) -> String {
    match decode_image(bytes) {
        Ok(image) => format!("{}x{}", image.height, image.width),
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains('\n') && !error.contains("could not go on"), "{error}");
            error
        }
    }
}

fn assert_says(bytes: &[u8], expected: &str) {
    let says = says(bytes);
    assert!(says.contains(expected), "{says:?} does not say {expected:?}");
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes()[..], kind, data, &crc.sum().to_be_bytes()].concat()
}

fn deflated(data: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn png(width: u32, height: u32, [depth, colour]: [u8; 2], before: &[u8], data: &[u8]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, colour, 0, 0, 0]].concat();
    let parts =
        [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &header), before, &chunk(b"IDAT", data), &chunk(b"IEND", b"")];
    parts.concat()
}

#[test]
fn png_of_impossible_sizes() {
    let empty = deflated(b"");
    assert_says(&png(60_000, 60_000, [8, 2], b"", &empty), "60000x60000 is more than 178956970 pixels");
    assert_says(&png(u32::MAX, u32::MAX, [16, 6], b"", &empty), "no side may be longer");
    assert_says(&png(0, 4, [8, 2], b"", &empty), "no pixels");
    assert_says(&png(13_377, 13_377, [8, 2], b"", &empty[..empty.len() - 5]), "truncated");
    assert_says(&png(4, 4, [3, 2], b"", &empty), "no PNG has");
    assert_says(&png(1, 1, [8, 2], b"", &deflated(&[77, 0, 0, 0])), "filter");
}

/// `png` 0.18.1 panics on a palette of odd length. Of Pillow 13: what a palette lacks is black.
#[test]
fn png_with_odd_palettes() {
    let row = deflated(&[0, 0b0001_1011]);
    for (palette, expected) in
        [(&b"abcdefgh"[..], b"abcdef\0\0\0\0\0\0"), (b"", &[0; 12]), (b"abcdefghijklmno", b"abcdefghijkl")]
    {
        let image = decode_image(&png(4, 1, [2, 3], &chunk(b"PLTE", palette), &row)).unwrap();
        assert_eq!(image.pixels, expected, "{palette:?}");
    }
}

/// As in Pillow 13: neither the end's marks nor the sums of the data are needed, but the data are.
#[test]
fn png_with_damaged_ends() {
    let data = deflated(&[0, 1, 2, 3, 0, 4, 5, 6]);
    let whole = png(1, 2, [8, 2], b"", &data);
    let image = decode_image(&whole).unwrap();
    assert_eq!(image.pixels, [1, 2, 3, 4, 5, 6]);
    let end = whole.len();
    for cut in [end - 1, end - 4, end - 12, end - 13, end - 16, end - 20] {
        assert_eq!(decode_image(&whole[..cut]).unwrap(), image, "{cut} of {end} bytes");
    }
    assert_says(&whole[..end - 23], "truncated");
    let mut other = whole.clone();
    other[end - 14] ^= 1;
    assert_eq!(decode_image(&other).unwrap(), image, "the sum of the data's chunk");
    other[20] ^= 1;
    assert_says(&other, "checksum of IHDR");
    assert_eq!(says(&[&whole[..], b"and more"].concat()), "2x1");
}

#[test]
fn png_with_texts_that_unpack_to_gigabytes() {
    let bomb = deflated(&vec![b'0'; 1 << 27]);
    let text = chunk(b"zTXt", &[b"Raw profile type exif\0\0", &bomb[..]].concat());
    let xmp = chunk(b"iTXt", &[b"XML:com.adobe.xmp\0\x01\0\0\0", &bomb[..]].concat());
    let profile = chunk(b"iCCP", &[b"x\0\0", &bomb[..]].concat());
    let data = deflated(&[0, 1, 2, 3]);
    assert_eq!(says(&png(1, 1, [8, 2], &[text, xmp, profile].concat(), &data)), "1x1");
}

/// A picture that looks whole to `image-webp`, on a canvas on which it composes animations for ever.
#[test]
fn webp_that_claims_a_large_canvas() {
    let still = include_bytes!("../../tests/images/formats/lossless_rgb.webp");
    let animation = |canvas: [u32; 2], place: [u32; 2]| {
        let u24 = |value: u32| value.to_le_bytes()[..3].to_vec();
        let riff = |kind: &[u8; 4], data: &[u8]| [kind, &(data.len() as u32).to_le_bytes()[..], data].concat();
        let size = [&[2, 0, 0, 0][..], &u24(canvas[0] - 1), &u24(canvas[1] - 1)].concat();
        let frame = [&u24(place[0]), &u24(place[1]), &u24(6)[..], &u24(4), &[0; 4], &still[12..]].concat();
        let parts = [&b"WEBP"[..], &riff(b"VP8X", &size), &riff(b"ANIM", &[0; 6]), &riff(b"ANMF", &frame)].concat();
        riff(b"RIFF", &parts)
    };
    assert_eq!(says(&animation([7, 5], [0, 0])), "5x7");
    assert_eq!(says(&animation([70, 50], [20, 10])), "50x70");
    assert_says(&animation([4_675_707, 12_404_807], [0, 0]), "more than 178956970 pixels");
    assert_says(&animation([7, 5], [1, 0]), "does not fit");
    assert_says(&animation([7, 5], [0xff_ffff, 0xff_ffff]), "does not fit");
}

#[test]
fn jpeg_of_many_scans_and_large_sizes() {
    let whole = include_bytes!("../../tests/images/formats/prog_junk.jpg");
    let frame = whole.windows(2).position(|pair| pair == [0xff, 0xc2]).unwrap();
    let scan = whole.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    let next = scan + 2 + whole[scan + 2..].windows(2).position(|pair| pair == [0xff, 0xc4]).unwrap();
    let sized = |height: u16, width: u16, scans: usize| {
        let size = [height.to_be_bytes(), width.to_be_bytes()].concat();
        let parts =
            [&whole[..frame + 5], &size, &whole[frame + 9..scan], &whole[scan..next].repeat(scans), b"\xff\xd9"];
        parts.concat()
    };
    assert_eq!(says(&sized(5, 7, 20)), "5x7");
    assert_says(&sized(12_000, 12_000, 3000), "3000 scans");
    assert_says(&sized(13_000, 13_000, 1), "MB to decode");
    assert_says(&sized(65_000, 65_000, 1), "more than 178956970 pixels");
    assert_says(&sized(5, 0, 1), "");
    assert_says(&whole[..scan + 20], "truncated");
}

#[test]
fn exif_that_points_astray_turns_nothing() {
    let whole = include_bytes!("../../tests/images/formats/RGB1.jpg");
    let loops = [&b"II*\0\x08\0\0\0\xff\xff"[..], &b"\x69\x87\x04\0\x01\0\0\0\x08\0\0\0".repeat(5000)].concat();
    for exif in [
        &loops[..],
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x04\0\xff\xff\xff\xff\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01",
        b"",
    ] {
        let segment = [&b"\xff\xe1"[..], &(exif.len() as u16 + 8).to_be_bytes(), b"Exif\0\0", exif].concat();
        assert_eq!(says(&[&whole[..2], &segment, &whole[2..]].concat()), says(whole));
    }
}

/// A little-endian TIFF of one directory, each tag of one LONG.
fn tiff(tags: &[(u16, u32)], behind: &[u8]) -> Vec<u8> {
    let entry =
        |&(tag, value): &(u16, u32)| [&tag.to_le_bytes()[..], &[4, 0, 1, 0, 0, 0], &value.to_le_bytes()].concat();
    let entries: Vec<u8> = tags.iter().flat_map(entry).collect();
    [&b"II*\0\x08\0\0\0"[..], &(tags.len() as u16).to_le_bytes(), &entries, &[0; 4], behind].concat()
}

#[test]
fn tiff_whose_numbers_lie() {
    let base = [(256, 4), (257, 4), (258, 8), (262, 1), (273, 8), (278, 4), (279, 16)];
    let with = |tag: u16, value: u32| {
        let mut tags: Vec<_> = base.into_iter().filter(|&(known, _)| known != tag).collect();
        tags.push((tag, value));
        tiff(&tags, &[7; 64])
    };
    assert_eq!(says(&with(1, 0)), "4x4");
    assert_eq!(says(&with(278, u32::MAX)), "4x4", "rows of a strip");
    for (tag, value, expected) in [
        (256, 0, "no pixels"),
        (256, u32::MAX, "no side may be longer"),
        (257, 1 << 20, "strips or tiles are missing"),
        (258, 65_535, "whole samples of 65535 bits"),
        (259, 34_676, "compression 34676"),
        (259, 7, "JPEG"),
        (259, 6, "old kind"),
        (262, 3, "colour map is missing"),
        (262, 32_803, "camera raw"),
        (273, u32::MAX, "truncated"),
        (277, u32::MAX, "samples a pixel"),
        (277, 3, "3 samples a pixel are not decoded where 1 and alpha are due"),
        (278, 0, "no size"),
        (339, 3, "floating-point samples of 8 bits"),
    ] {
        assert_says(&with(tag, value), expected);
    }
    let tiles = |width, height| {
        tiff(&[(256, 4), (257, 4), (258, 8), (259, 8), (262, 1), (322, width), (323, height), (324, 8), (325, 9)], &[])
    };
    assert_says(&tiles(0, 16), "no size");
    assert_says(&tiles(0x7fff_ffff, 0x7fff_ffff), "no side may be longer");
    assert_says(b"II*\0\x04\0\0\0", "no size");
    assert_says(b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", "no size");
}

#[test]
fn bitmaps_and_maps_whose_numbers_lie() {
    let bmp = |width: i32, height: i32, bits: u16, compression: u32, data: &[u8]| {
        let sizes = [width.to_le_bytes(), height.to_le_bytes()].concat();
        let rest = [&[1, 0][..], &bits.to_le_bytes(), &compression.to_le_bytes(), &[0; 20]].concat();
        [&b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0"[..], &sizes, &rest, data].concat()
    };
    assert_eq!(says(&bmp(2, -2, 24, 0, &[1; 16])), "2x2");
    assert_says(&bmp(2, i32::MIN, 24, 0, b""), "no side may be longer");
    assert_says(&bmp(-2, 2, 24, 0, b""), "no side may be longer");
    assert_says(&bmp(13_000, 13_000, 24, 0, b""), "truncated");
    assert_says(&bmp(4, 4, 8, 1, &[0; 1024]), "truncated");
    assert_says(&bmp(4, 4, 24, 4, b""), "compression 4");
    assert_says(b"P6 60000 60000 255 ", "more than 178956970 pixels");
    assert_says(b"P6 13000 13000 255 ", "truncated");
    assert_says(b"P3 99999999999 1 255 ", "stands where a number should");
    assert_says(b"P3 1 1 255 -1 2 3", "\"-1\"");
    assert_says(b"P2 1 1 9 10 ", "a value is 10");
    assert_says(b"P5 1 1 0 1", "largest value is 0");
    assert_says(b"P1 2 1 12", "byte 50");
    assert_eq!(says(b"P7\nWIDTH 1\nHEIGHT 2\nDEPTH 2\nMAXVAL 255\nENDHDR\n\x01\x02\x03\x04"), "2x1");
    assert_says(b"P7\nWIDTH 1\nHEIGHT 2\nDEPTH 9\nMAXVAL 255\nENDHDR\n", "9 values a pixel");
}

#[test]
fn gif_whose_sizes_lie() {
    let whole = include_bytes!("../../tests/images/formats/5.gif");
    let sized = |screen: [u16; 2]| {
        let size = screen.map(u16::to_le_bytes).concat();
        [&whole[..6], &size, &whole[10..]].concat()
    };
    assert_eq!(says(&sized([0, 0])), "5x7", "the screen grows with the picture");
    assert_eq!(says(&sized([70, 50])), "50x70");
    assert_says(&sized([65_535, 65_535]), "more than 178956970 pixels");
    assert_says(&whole[..whole.len() - 6], "");
    assert_says(b"GIF89a", "truncated");
}

#[test]
fn what_is_no_picture_is_called_what_it_is() {
    for (bytes, expected) in [
        (&b""[..], "empty"),
        (&[0; 100], "zeros"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "page of HTML"),
        (b"{\"error\": 404}", "JSON"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC is not decoded: save it as JPEG"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "AVIF is not decoded"),
        (b"%PDF-1.4", "PDF is not decoded"),
        (b"hello", "beginning is that of no picture"),
    ] {
        assert_says(bytes, expected);
    }
}
