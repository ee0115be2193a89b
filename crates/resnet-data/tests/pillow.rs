//! Decoding, resizing and cropping against values of Pillow 13 and torchvision 0.29 (`tests/pillow/compare.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use resnet_data::{Filter, Image, Normalize, Transform, read_image};
use serde::Deserialize;

/// A few pixels of one image.
#[derive(Deserialize)]
struct Expected {
    /// Height and width.
    size: (usize, usize),
    /// RGB of twelve pixels.
    decoded: Vec<u8>,
    /// The same after each of [`SETTINGS`].
    crops: Vec<Vec<u8>>,
}

const SIZE: usize = 224;
const SETTINGS: [(f64, Filter); 2] = [(0.875, Filter::Bilinear), (0.95, Filter::Bicubic)];

fn expected(name: &str) -> BTreeMap<String, Expected> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pillow").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The twelve places that the script takes, spread by two primes.
fn at(image: &Image) -> Vec<u8> {
    let place = |i: usize| image.get((i * 7919 + 13) % image.height, (i * 104_729 + 57) % image.width).unwrap();
    (0..12).flat_map(place).collect()
}

fn crop(image: Image, share: f64, filter: Filter) -> Image {
    let unit = Normalize::channel([0.0; 3], [1.0; 3]);
    let tensor = Transform::center_crop(SIZE, share, filter, unit).unwrap().tensor(image).unwrap();
    let planes: Vec<u8> = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(byte).collect();
    Image::from_planes(SIZE, SIZE, &planes)
}

fn byte(value: &f32) -> u8 {
    (value * 255.0).round() as u8
}

/// The share of values that differ by 1 at most.
fn near(pairs: &[(Vec<u8>, &Vec<u8>)]) -> f64 {
    let all = || pairs.iter().flat_map(|(a, b)| a.iter().zip(b.iter()));
    assert!(pairs.iter().all(|(a, b)| a.len() == b.len()));
    all().filter(|(a, b)| a.abs_diff(**b) <= 1).count() as f64 / all().count() as f64
}

fn compare(name: &str, file: impl Fn(&str) -> PathBuf) {
    let expected = expected(name);
    let mut crops = Vec::new();
    for (path, expected) in &expected {
        let image = read_image(file(path)).unwrap();
        assert_eq!((image.height, image.width), expected.size, "{path}");
        assert_eq!(at(&image), expected.decoded, "{path}");
        for ((share, filter), values) in SETTINGS.into_iter().zip(&expected.crops) {
            crops.push((at(&crop(image.clone(), share, filter)), values));
        }
    }
    assert_eq!(crops.len(), 2 * expected.len());
    let share = near(&crops);
    assert!(share >= 0.99, "{share} of the values of {name} are within 1/255 of Pillow's");
}

#[test]
fn small_images_of_every_kind_are_pillows() {
    compare("images.json", |name| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name));
}

#[test]
fn photos_are_pillows() {
    match std::env::var_os("RESNET_TEST_DATA").map(|folder| Path::new(&folder).join("imagenet-sample")) {
        Some(folder) if folder.is_dir() => compare("photos.json", |name| folder.join(name)),
        _ => println!("skipped: RESNET_TEST_DATA names no folder with imagenet-sample"),
    }
}
