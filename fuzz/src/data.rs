//! Pictures and data sets.

use resnet_data::cifar::Cifar;
use resnet_data::{Dataset, ParquetShards, Split, TarShards, decode_image};

use crate::{one_line, scratch};

/// A picture, of whatever format its bytes say.
pub fn picture(bytes: &[u8]) {
    match decode_image(bytes) {
        Ok(image) => assert_eq!(image.pixels.len(), image.height * image.width * 3),
        Err(error) => one_line(&error),
    }
}

/// EXIF data within a JPEG and within a PNG.
pub fn exif(bytes: &[u8]) {
    let exif = &bytes[..bytes.len().min(60_000)];
    let jpeg = include_bytes!("../corpus/jpeg/grey.jpg");
    let mut whole = jpeg[..2].to_vec();
    whole.extend([0xff, 0xe1]);
    whole.extend((exif.len() as u16 + 8).to_be_bytes());
    whole.extend(b"Exif\0\0");
    whole.extend(exif);
    whole.extend(&jpeg[2..]);
    picture(&whole);
    let png = include_bytes!("../corpus/png/grey.png");
    let (head, rest) = png.split_at(33);
    let mut whole = head.to_vec();
    whole.extend((exif.len() as u32).to_be_bytes());
    whole.extend(b"eXIf");
    whole.extend(exif);
    whole.extend(crc32(&[b"eXIf", exif]).to_be_bytes());
    whole.extend(rest);
    picture(&whole);
}

/// PNG's check sum (ISO 3309).
fn crc32(parts: &[&[u8]]) -> u32 {
    let step = |crc: u32, &byte: &u8| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    };
    !parts.iter().flat_map(|part| part.iter()).fold(!0, step)
}

/// A tar shard: its index, and every image.
pub fn tar(bytes: &[u8]) {
    let path = scratch::file("tar/train-0.tar", bytes);
    match TarShards::open(&path.display().to_string(), Split::Train) {
        Ok(set) => every_image(&set),
        Err(error) => one_line(&error),
    }
}

/// A parquet file: its index, and every image.
pub fn parquet(bytes: &[u8]) {
    let path = scratch::file("parquet/train-0.parquet", bytes);
    match ParquetShards::open(&path.display().to_string(), Split::Train) {
        Ok(set) => every_image(&set),
        Err(error) => one_line(&error),
    }
}

/// So many images tell what a thousand would.
const IMAGES: usize = 16;

fn every_image(set: &dyn Dataset) {
    let classes = set.classes().len();
    for index in 0..set.len().min(IMAGES) {
        assert!((set.label(index) as usize) < classes, "a label beyond the classes");
        if let Err(error) = set.image(index) {
            one_line(&error);
        }
        set.origin(index);
    }
}

/// A file of CIFAR-10's Python version.
pub fn cifar_pickle(bytes: &[u8]) {
    let path = scratch::file("cifar/cifar-10-batches-py/test_batch", bytes);
    match path.ancestors().nth(2).map(|folder| Cifar::Ten.load(folder, Split::Test)) {
        Some(Err(error)) => one_line(&error),
        other => drop(other),
    }
}

/// `classes.txt` beside a shard of two images.
pub fn class_names(bytes: &[u8]) {
    let path = scratch::file("names/train-0.tar", include_bytes!("../corpus/tar/two.tar"));
    scratch::file("names/classes.txt", bytes);
    match TarShards::open(&path.display().to_string(), Split::Train) {
        Ok(set) => every_image(&set),
        Err(error) => one_line(&error),
    }
}
