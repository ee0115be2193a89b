//! The pictures that a run's weights are for, so that whoever uses the weights makes the same of a picture.

use resnet_data::{Augment, Dataset, Filter};
use resnet_models::{Fit, Interpolation, Preprocessing};

use crate::recipe::{Normalization, Recipe};

/// What the run's evaluation makes of a picture; none where these words do not say it: for mean images, and steps before
/// evaluation other than to resize and then to cut out the middle.
///
/// Images that are taken whole have one size, which is that of the test set's first; of oblong ones it is the shorter side.
pub(super) fn preprocessing(recipe: &Recipe, test: &dyn Dataset) -> Option<Preprocessing> {
    let Normalization::Channel { mean, std } = recipe.normalize else { return None };
    let (side, filter, size) = match recipe.test_transform[..] {
        [] => {
            let first = (0..test.len()).find_map(|index| test.image(index).ok())?;
            let side = first.height.min(first.width);
            (side, Filter::Bilinear, side)
        }
        [Augment::Resize { size, filter }] => (size, filter, size),
        [Augment::Resize { size: side, filter }, Augment::CenterCrop { size }] if size <= side => (side, filter, size),
        _ => return None,
    };
    let interpolation = match filter {
        Filter::Bicubic => Interpolation::Bicubic,
        Filter::Bilinear | Filter::Random => Interpolation::Bilinear,
    };
    Some(Preprocessing { size, crop: share(size, side), fit: Fit::Crop, interpolation, mean, std })
}

/// The share of a side that a crop takes, in billionths, and such that `size / share` rounded down is the side again.
fn share(size: usize, side: usize) -> f64 {
    const UNITS: f64 = 1e9;
    let units = (size as f64 / side as f64 * UNITS).floor();
    let share = units / UNITS;
    if (size as f64 / share) as usize == side { share } else { (units - 1.0) / UNITS }
}

#[cfg(test)]
mod tests {
    use resnet_data::{Normalize, Split, Transform, shapes};

    use super::*;

    #[test]
    fn the_pictures_are_those_of_the_recipes_evaluation() {
        let test = shapes(Split::Test, 1, 0);
        for name in Recipe::names() {
            let recipe = Recipe::load(name).unwrap();
            let (mean, std) = ([0.5; 3], [0.25; 3]);
            if recipe.normalize == Normalization::MeanImage {
                assert_eq!(preprocessing(&recipe, &test), None, "{name}");
                continue;
            }
            // As the run has it once the data set's moments are measured.
            let recipe = Recipe { normalize: Normalization::Channel { mean, std }, ..recipe };
            let pictures = preprocessing(&recipe, &test).unwrap();
            assert_eq!((pictures.mean, pictures.std), (mean, std));
            let own = Transform::new(recipe.test_transform.clone(), Normalize::channel(mean, std)).unwrap();
            if recipe.test_transform.is_empty() {
                assert_eq!((pictures.size, pictures.crop), (32, 1.0), "{name}");
                let values = |transform: &Transform| {
                    let tensor = transform.tensor(test.image(0).unwrap()).unwrap();
                    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
                };
                assert_eq!(values(&pictures.transform().unwrap()), values(&own), "{name}: taken whole");
            } else {
                assert_eq!(pictures.transform().unwrap().steps(), own.steps(), "{name}");
            }
        }
    }

    #[test]
    fn every_side_comes_back_from_its_share() {
        for side in 1..1000 {
            for size in 1..=side {
                assert_eq!((size as f64 / share(size, side)) as usize, side, "{size} of {side}");
            }
        }
        assert_eq!((share(224, 256), share(32, 32)), (0.875, 1.0));
    }

    #[test]
    fn what_cannot_be_said_is_left_out() {
        let test = shapes(Split::Test, 1, 0);
        let channel = Normalization::Channel { mean: [0.5; 3], std: [0.5; 3] };
        let recipe = Recipe { normalize: channel, ..Recipe::load("quick").unwrap() };
        let resize = Augment::Resize { size: 30, filter: Filter::Bilinear };
        for steps in [
            vec![Augment::CenterCrop { size: 28 }],
            vec![resize.clone(), Augment::CenterCrop { size: 32 }],
            vec![resize, Augment::HorizontalFlip { probability: 0.5 }],
        ] {
            assert_eq!(preprocessing(&Recipe { test_transform: steps, ..recipe.clone() }, &test), None);
        }
    }
}
