//! Pictures of every format and mode against the pixels that Pillow 13 gives (`tests/pillow/formats.py --golden`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use resnet_data::{Format, Kind, decode_image, kind_of, read_image};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images/formats")
}

/// Height, width and sum of the pixels.
fn expected() -> BTreeMap<String, (usize, usize, u32)> {
    serde_json::from_slice(&std::fs::read(folder().join("pillow.json")).unwrap()).unwrap()
}

#[test]
fn every_format_gives_pillows_pixels() {
    let expected = expected();
    assert!(expected.len() > 100);
    for (name, (height, width, sum)) in &expected {
        let image = read_image(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut crc = flate2::Crc::new();
        crc.update(&image.pixels);
        assert_eq!((image.height, image.width, crc.sum()), (*height, *width, *sum), "{name}");
    }
}

#[test]
fn pictures_are_told_by_their_content() {
    let format = |ending: &str| match ending {
        "jpg" => Format::Jpeg,
        "png" => Format::Png,
        "webp" => Format::WebP,
        "gif" => Format::Gif,
        "bmp" => Format::Bmp,
        "tif" => Format::Tiff,
        _ => Format::Pnm,
    };
    let elsewhere = tempfile::tempdir().unwrap();
    for name in expected().into_keys() {
        let path = elsewhere.path().join(format!("{name}.txt"));
        std::fs::copy(folder().join(&name), &path).unwrap();
        let ending = name.rsplit('.').next().unwrap();
        assert_eq!(kind_of(&path).unwrap(), Kind::Picture(format(ending)), "{name}");
        assert_eq!(read_image(&path).unwrap(), read_image(folder().join(&name)).unwrap(), "{name}");
    }
}

/// Every beginning of every file is a picture or an error of one line, and no panic.
#[test]
fn cut_files_are_errors_of_one_line() {
    for name in expected().into_keys() {
        let bytes = std::fs::read(folder().join(&name)).unwrap();
        for length in (0..bytes.len()).step_by(7) {
            if let Err(error) = decode_image(&bytes[..length]) {
                let error = error.to_string();
                assert!(!error.contains('\n') && !error.contains("could not go on"), "{name} {length}: {error}");
            }
        }
    }
}
