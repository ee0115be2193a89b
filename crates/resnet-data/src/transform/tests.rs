use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::InMemory;

/// Every pixel differs from every other in all channels.
fn gradient(height: usize, width: usize) -> Image {
    let pixels = (0..height * width).flat_map(|i| [i as u8, (i * 3) as u8, (255 - i % 256) as u8]).collect();
    Image { height, width, pixels }
}

fn unit() -> Normalize {
    Normalize::channel([0.0; 3], [1.0 / 255.0; 3])
}

/// Runs a transform with a seed; values (channel, row, column).
fn run(transform: &Transform, image: &Image, seed: u64) -> (Vec<f32>, usize, usize) {
    let origin = || "test".to_string();
    let view = transform.view(image.clone(), &origin, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
    let (height, width) = view.size();
    let mut out = vec![f32::NAN; 3 * height * width];
    transform.write(&view, &origin, &mut out).unwrap();
    (out, height, width)
}

fn setting(steps: Vec<Augment>) -> String {
    Transform::new(steps, unit()).unwrap_err().to_string()
}

#[test]
fn bytes_become_what_torchvision_makes_of_them() {
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let transform = Transform::plain(Normalize::channel(mean, std)).unwrap();
    let image = gradient(5, 7);
    let (out, ..) = run(&transform, &image, 0);
    for channel in 0..3 {
        for position in 0..35 {
            let byte = f32::from(image.pixels[position * 3 + channel]);
            assert_eq!(out[channel * 35 + position], (byte / 255.0 - mean[channel]) / std[channel]);
        }
    }
}

/// The slow way: pad, crop and flip one after the other, and look for the result among all places.
#[test]
fn random_crops_are_flipped_windows_of_the_padded_image() {
    let image = gradient(6, 6);
    for (fill, outside) in [(Padding::Black, -2.0), (Padding::Mean, 0.0)] {
        let normalize = Normalize::channel([0.5; 3], [0.25; 3]);
        let steps =
            vec![Augment::RandomCrop { size: 6, padding: 2, fill }, Augment::HorizontalFlip { probability: 0.5 }];
        let transform = Transform::new(steps, normalize).unwrap();
        let mut found = std::collections::BTreeSet::new();
        for seed in 0..600 {
            let (out, ..) = run(&transform, &image, seed);
            let hit = (0..=4).flat_map(|top| (0..=4).flat_map(move |left| [(top, left, false), (top, left, true)]));
            let same = |&(top, left, flip): &(usize, usize, bool)| {
                (0..3).all(|channel| {
                    (0..36).all(|i| {
                        let (row, column) = (i / 6 + top, if flip { 5 - i % 6 } else { i % 6 } + left);
                        let expected = match (row.checked_sub(2), column.checked_sub(2)) {
                            (Some(row), Some(column)) => image
                                .get(row, column)
                                .map_or(outside, |pixel| (f32::from(pixel[channel]) / 255.0 - 0.5) / 0.25),
                            _ => outside,
                        };
                        out[channel * 36 + i] == expected
                    })
                })
            };
            let hit = hit.into_iter().find(same).expect("no window of the padded image looks like this");
            found.insert(hit);
        }
        assert_eq!(found.len(), 50, "every place, mirrored and not, comes up");
    }
}

#[test]
fn a_mean_image_is_subtracted_at_the_pixels_own_place() {
    let pixels: Vec<u8> = (0..2 * 4 * 4 * 3).map(|i| (i * 37 % 251) as u8).collect();
    let set = InMemory::new("set", (4, 4), pixels, vec![0, 0], vec!["a".to_string()]).unwrap();
    let mean = MeanImage::of(&set).unwrap();
    let image = crate::Dataset::image(&set, 1).unwrap();
    let at = |channel: usize, row: usize, column: usize| {
        f32::from(image.get(row, column).unwrap()[channel]) / 255.0 - mean.planes[(channel * 4 + row) * 4 + column]
    };
    assert!((mean.planes[5] - (f32::from(set.pixels(0)[15]) + f32::from(set.pixels(1)[15])) / 510.0).abs() < 1e-6);

    let normalize = Normalize::MeanImage { mean: mean.clone().into(), std: None };
    let origin = || "test".to_string();
    let mut view = View::new(image.clone());
    view.crop(-1, 1, 4, 4);
    view.flip();
    let mut out = vec![f32::NAN; 48];
    Transform::plain(normalize.clone()).unwrap().write(&view, &origin, &mut out).unwrap();
    for channel in 0..3 {
        for row in 0..4 {
            for column in 0..4 {
                // Row 0 is padding, and so is column 0: before the flip, the frame's last column was beyond the edge.
                let expected = if row == 0 || column == 0 { 0.0 } else { at(channel, row - 1, 4 - column) };
                let got = out[(channel * 4 + row) * 4 + column];
                assert!((got - expected).abs() < 1e-6, "{channel} {row} {column}: {got} {expected}");
            }
        }
    }

    let error = Transform::plain(normalize).unwrap().tensor(gradient(5, 4)).unwrap_err().to_string();
    assert!(error.contains("5x4 but 4x4 is needed"), "{error}");
}

/// Values of Pillow 13: `Image.resize((5, 4), BILINEAR)` and `BICUBIC` of an image made by the same rule.
#[test]
fn resizing_equals_pillow() {
    let pixels = (0..9 * 13).flat_map(|i| [(i * 7 % 256) as u8, (i * i % 251) as u8, (i * 29 % 241) as u8]).collect();
    let image = Image { height: 9, width: 13, pixels };
    for (filter, golden) in [(Filter::Bilinear, BILINEAR), (Filter::Bicubic, BICUBIC)] {
        let out = resize::resize(&image, (0, 0, 9, 13), (4, 5), filter).unwrap();
        let far = out.pixels.iter().zip(golden).map(|(&a, b)| a.abs_diff(b)).max();
        assert!(far <= Some(1), "{filter:?}: off by {far:?}");
        let part = resize::resize(&image, (2, 3, 5, 6), (8, 8), filter).unwrap();
        let alone = Image {
            height: 5,
            width: 6,
            pixels: (2..7).flat_map(|row| image.pixels[(row * 13 + 3) * 3..(row * 13 + 9) * 3].to_vec()).collect(),
        };
        assert_eq!(part, resize::resize(&alone, (0, 0, 5, 6), (8, 8), filter).unwrap(), "pixels outside have no part");
    }
}

#[test]
fn a_part_of_a_resized_image_is_what_the_whole_would_have_there() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..300 {
        let mut side = |most| rng.random_range(1..most);
        let (height, width, rows, columns) = (side(60), side(60), side(90), side(90));
        let image = Image { pixels: (0..height * width * 3).map(|_| rng.random()).collect(), height, width };
        let (top, left) = (rng.random_range(0..rows), rng.random_range(0..columns));
        let (down, right) = (rng.random_range(1..=rows - top), rng.random_range(1..=columns - left));
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            let whole = resize::resize(&image, (0, 0, height, width), (rows, columns), filter).unwrap();
            let part = resize::resize_part(&image, (rows, columns), (top, left, down, right), filter).unwrap();
            let cut = (top..top + down)
                .flat_map(|row| whole.pixels[(row * columns + left) * 3..(row * columns + left + right) * 3].to_vec());
            assert!(part.pixels.iter().copied().eq(cut), "{height}x{width} to {rows}x{columns}, {filter:?}");
        }
    }
}

/// Pictures of one column or two rows, whose shorter side a resize to 256 makes gigabytes of.
#[test]
fn thin_pictures_cost_what_their_crop_needs() {
    let crop = Transform::center_crop(224, 0.875, Filter::Bilinear, unit()).unwrap();
    for (height, width) in [(1_000_000, 1), (2, 65_000), (1, 100_000_000)] {
        let image = Image { height, width, pixels: [10, 20, 200].repeat(height * width) };
        let (out, rows, columns) = run(&crop, &image, 0);
        assert_eq!((rows, columns), (224, 224));
        assert!(out[..224 * 224].iter().all(|&value| value == 10.0));
        assert!(out[2 * 224 * 224..].iter().all(|&value| value == 200.0));
        let ten = Transform::new(vec![crop.steps()[0].clone()], unit()).unwrap().ten_crops(image, 224).unwrap();
        assert_eq!(ten.dims(), [10, 3, 224, 224]);
    }
    // Each row a colour of its own: the middle is what it would be, and no more than that is made.
    let image =
        Image { height: 20_000, width: 1, pixels: (0..20_000).flat_map(|row| [(row / 100) as u8; 3]).collect() };
    let (out, ..) = run(&crop, &image, 0);
    assert!(out[..224].iter().all(|&value| value == 99.0 || value == 100.0), "{}", out[0]);
    assert_eq!(out[223 * 224], 100.0);

    let steps = vec![crop.steps()[0].clone()];
    let error = Transform::new(steps, unit()).unwrap().tensor(image).unwrap_err().to_string();
    assert!(error.contains("20000x1 pixels would have to be resized to 5120000x256"), "{error}");
    let flip = vec![
        Augment::HorizontalFlip { probability: 1.0 },
        Augment::RandomResize { min: 256, max: 480, filter: Filter::Bicubic },
        Augment::RandomCrop { size: 224, padding: 0, fill: Padding::Black },
    ];
    let strip = Image { height: 2, width: 200_000, pixels: [1, 2, 3].repeat(400_000) };
    let (out, ..) = run(&Transform::new(flip, unit()).unwrap(), &strip, 0);
    assert!(out[..224 * 224].iter().all(|&value| value == 1.0));
}

#[test]
fn ten_crops_are_corners_and_middle_and_their_mirror_images() {
    let image = Image { height: 3, width: 4, pixels: (0..12).flat_map(|value| [value; 3]).collect() };
    let crops = Transform::plain(unit()).unwrap().ten_crops(image.clone(), 2).unwrap();
    let values = crops.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let firsts: Vec<f32> = values.iter().step_by(12).copied().collect();
    assert_eq!(firsts, [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 1.0, 7.0, 5.0, 2.0]);
    assert_eq!(values[..4], [0.0, 1.0, 4.0, 5.0]);
    let error = Transform::plain(unit()).unwrap().ten_crops(image, 4).unwrap_err().to_string();
    assert!(error.contains("3x4 but 4x4"), "{error}");
}

#[test]
fn resize_and_center_crop_have_torchvisions_sizes() {
    let transform = Transform::center_crop(224, 0.875, Filter::Bilinear, unit()).unwrap();
    assert_eq!(transform.steps()[0], Augment::Resize { size: 256, filter: Filter::Bilinear });
    for (height, width) in [(300, 500), (500, 300), (100, 90), (256, 256)] {
        let shorter = Transform::new(vec![transform.steps()[0].clone()], unit()).unwrap();
        let (_, rows, columns) = run(&shorter, &gradient(height, width), 0);
        let longer = 256 * height.max(width) / height.min(width);
        assert_eq!((rows, columns), if height <= width { (256, longer) } else { (longer, 256) });
        let (_, rows, columns) = run(&transform, &gradient(height, width), 0);
        assert_eq!((rows, columns), (224, 224));
    }
    // Odd room: torchvision's round(2.5) is 2 and round(1.5) is 2.
    let image = gradient(9, 7);
    let (out, ..) = run(&Transform::new(vec![Augment::CenterCrop { size: 4 }], unit()).unwrap(), &image, 0);
    assert_eq!(out[0], f32::from(image.get(2, 2).unwrap()[0]));
    let (out, ..) = run(&Transform::new(vec![Augment::CenterCrop { size: 10 }], unit()).unwrap(), &image, 0);
    assert_eq!((out[0], out[9], out[11].round()), (0.0, 0.0, 7.0), "one column of padding on the left, no row above");
}

#[test]
fn random_resized_crops_cover_the_image_and_repeat_with_the_seed() {
    let transform = Transform::resized_crop_and_flip(16, unit()).unwrap();
    let image = gradient(40, 60);
    let (first, rows, columns) = run(&transform, &image, 1);
    assert_eq!((rows, columns), (16, 16));
    assert_eq!(first, run(&transform, &image, 1).0);
    assert_ne!(first, run(&transform, &image, 2).0);
    // A strip so narrow that no try fits: the middle of it.
    let (_, rows, columns) = run(&transform, &gradient(2, 200), 3);
    assert_eq!((rows, columns), (16, 16));
}

#[test]
fn a_flip_before_a_resize_is_kept() {
    let image = gradient(8, 8);
    let resize = Augment::Resize { size: 4, filter: Filter::Bilinear };
    let flip = Augment::HorizontalFlip { probability: 1.0 };
    let before = Transform::new(vec![flip.clone(), resize.clone()], unit()).unwrap();
    let after = Transform::new(vec![resize, flip], unit()).unwrap();
    assert_eq!(run(&before, &image, 0), run(&after, &image, 0));
}

#[test]
fn holes_are_zero_and_nothing_else_is() {
    let image = Image::filled(8, 8, [10, 20, 30]);
    let cutout = Transform::new(vec![Augment::Cutout { size: 4 }], unit()).unwrap();
    let mut areas = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let (out, ..) = run(&cutout, &image, seed);
        let holes: Vec<usize> = (0..64).filter(|&i| out[i] == 0.0).collect();
        assert!(holes.iter().all(|&i| out[64 + i] == 0.0 && out[128 + i] == 0.0));
        let rows: std::collections::BTreeSet<_> = holes.iter().map(|i| i / 8).collect();
        let columns: std::collections::BTreeSet<_> = holes.iter().map(|i| i % 8).collect();
        assert_eq!(holes.len(), rows.len() * columns.len(), "a rectangle");
        areas.insert(holes.len());
    }
    assert_eq!(areas.last(), Some(&16));
    assert_eq!(areas.first(), Some(&4), "centred on a corner, a quarter is seen");

    let erasing = Transform::new(vec![Augment::random_erasing()], unit()).unwrap();
    let erased = (0..400).filter(|&seed| run(&erasing, &Image::filled(32, 32, [9; 3]), seed).0.contains(&0.0)).count();
    assert!((150..250).contains(&erased), "{erased} of 400");
}

#[test]
fn a_hole_moves_with_the_picture() {
    let mut view = View::new(gradient(8, 8));
    view.hide(0, 1, 2, 3);
    view.flip();
    view.crop(0, 2, 4, 6);
    let mut out = vec![f32::NAN; 72];
    Transform::plain(unit()).unwrap().write(&view, &|| String::new(), &mut out).unwrap();
    // Columns 1..4 are 4..7 after the flip and 2..5 after the crop.
    let holes: Vec<usize> = (0..24).filter(|&i| out[48 + i] == 0.0).collect();
    assert_eq!(holes, [2, 3, 4, 8, 9, 10]);
}

#[test]
fn settings_that_cannot_work_are_named() {
    let erase_first = vec![Augment::Cutout { size: 8 }, Augment::Resize { size: 8, filter: Filter::Bilinear }];
    assert!(setting(erase_first).contains("resize first"));
    assert!(setting(vec![Augment::CenterCrop { size: 0 }]).contains("size: must be at least 1 pixel"));
    assert!(setting(vec![Augment::HorizontalFlip { probability: 1.5 }]).contains("1.5 is not between 0 and 1"));
    let scale = Augment::RandomResizedCrop { size: 8, scale: (0.5, 0.1), ratio: (0.7, 1.3), filter: Filter::Bilinear };
    assert!(setting(vec![scale]).contains("scale"));
    assert!(setting(vec![Augment::RandomResize { min: 9, max: 8, filter: Filter::Bilinear }]).contains("max"));
    let std = Transform::plain(Normalize::channel([0.5; 3], [0.25, 0.0, 0.25])).unwrap_err().to_string();
    assert!(std.contains("three positive numbers"), "{std}");
    let crop =
        Transform::new(vec![Augment::RandomCrop { size: 40, padding: 1, fill: Padding::Black }], unit()).unwrap();
    let error = crop.tensor(gradient(32, 32)).unwrap_err().to_string();
    assert!(error.contains("32x32 but 40x40"), "{error}");
}

#[test]
fn one_image_is_a_batch_of_one() {
    let tensor: Tensor = Transform::plain(unit()).unwrap().tensor(gradient(2, 3)).unwrap();
    assert_eq!(tensor.dims(), [1, 3, 2, 3]);
    assert_eq!(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()[..3], [0.0, 1.0, 2.0]);
}

const BILINEAR: [u8; 60] = [
    82, 110, 95, 99, 58, 115, 117, 81, 131, 134, 128, 122, 116, 108, 110, 98, 118, 129, 115, 103, 111, 133, 113, 134,
    146, 138, 121, 114, 139, 101, 132, 142, 130, 149, 139, 120, 167, 117, 131, 127, 131, 120, 96, 113, 102, 148, 161,
    121, 165, 138, 144, 117, 102, 119, 106, 145, 116, 123, 141, 136,
];
const BICUBIC: [u8; 60] = [
    79, 112, 93, 96, 51, 113, 115, 77, 132, 134, 129, 126, 114, 105, 106, 103, 121, 130, 120, 103, 110, 140, 120, 138,
    157, 140, 119, 112, 139, 101, 125, 141, 129, 141, 139, 121, 171, 123, 133, 127, 127, 118, 94, 110, 101, 149, 163,
    122, 170, 141, 145, 114, 94, 116, 100, 148, 116, 122, 143, 138,
];
