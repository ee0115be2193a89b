use std::collections::BTreeMap;

use super::*;

/// What Pillow 13 makes of a picture that the same rule paints (`tests/pillow/operations.py`): a list of values by
/// "operation parameter filter".
const GOLDEN: &str = include_str!("../../../tests/pillow/operations.json");
const FILL: [u8; 3] = [124, 116, 104];

/// 11 rows of 14 columns; no value is missing for long, none rules.
fn picture() -> Image {
    let value = |i: usize| ((i * i * 7 + i * 31) % 241) as u8 / 2 + (i % 97) as u8;
    Image { height: 11, width: 14, pixels: (0..11 * 14 * 3).map(value).collect() }
}

fn operation(name: &str, parameter: f64) -> Operation {
    match name {
        "autocontrast" => Operation::AutoContrast,
        "equalize" => Operation::Equalize,
        "invert" => Operation::Invert,
        "rotate" => Operation::Rotate(parameter),
        "posterize" => Operation::Posterize(parameter as u32),
        "solarize" => Operation::Solarize(parameter as u32),
        "solarize_add" => Operation::SolarizeAdd(parameter as u8),
        "color" => Operation::Color(parameter as f32),
        "contrast" => Operation::Contrast(parameter as f32),
        "brightness" => Operation::Brightness(parameter as f32),
        "sharpness" => Operation::Sharpness(parameter as f32),
        "shear_x" => Operation::ShearX(parameter),
        "shear_y" => Operation::ShearY(parameter),
        "translate_x" => Operation::TranslateX(parameter),
        "translate_y" => Operation::TranslateY(parameter),
        other => panic!("{other}"),
    }
}

#[test]
fn every_operation_is_pillows() {
    let golden: BTreeMap<String, Vec<u8>> = serde_json::from_str(GOLDEN).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    for (case, want) in &golden {
        let [name, parameter, filter] = case.split(' ').collect::<Vec<_>>()[..] else { panic!("{case}") };
        let filter = if filter == "bicubic" { Filter::Bicubic } else { Filter::Bilinear };
        let got = operation(name, parameter.parse().unwrap()).apply(&picture(), filter, FILL).pixels;
        assert_eq!(got.len(), want.len(), "{case}");
        let far = got.iter().zip(want).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(far <= Some(1), "{case}: off by {far:?}");
        kinds.insert(name);
    }
    assert_eq!(kinds.len(), 15);
}

#[test]
fn pictures_of_one_colour_or_one_pixel_are_no_trouble() {
    for image in [Image::filled(1, 1, [7, 0, 255]), Image::filled(2, 5, [9; 3])] {
        for kind in ["autocontrast", "equalize", "sharpness", "contrast", "rotate", "shear_x", "translate_y"] {
            let out = operation(kind, 0.4).apply(&image, Filter::Bicubic, FILL);
            assert_eq!((out.height, out.width, out.pixels.len()), (image.height, image.width, image.pixels.len()));
        }
    }
}
