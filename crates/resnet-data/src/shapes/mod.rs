//! `shapes`: a set of small pictures that needs no download.
//!
//! Every image is 32x32 and shows one of ten figures in a random place, size, direction and colour, on a textured
//! background among small distractors and noise. A linear classifier on the pixels does little better than guessing;
//! a small residual network learns it in a minute on a CPU.

mod draw;
mod figure;
#[cfg(test)]
mod tests;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::seed::stream;
use crate::{InMemory, Split};
pub use figure::Figure;

/// Rows and columns of every image.
pub const SIZE: usize = 32;
/// Images in the training part, where nothing else is asked for.
pub const TRAIN: usize = 8_000;
/// Images in the test split, where nothing else is asked for.
pub const TEST: usize = 2_000;

/// Mean of all channels of the training part, in units of 255.
pub const MEAN: f32 = 0.502;
/// Deviation of all channels of the training part, in units of 255.
pub const STD: f32 = 0.258;

/// Draws `count` images of a split. The same arguments give the same bytes; the splits have no image in common.
///
/// Figures take turns, so that every class is equally frequent. A smaller `count` gives the first images of a larger
/// one.
///
/// ```
/// use resnet_data::{Dataset, Split, shapes};
/// let set = shapes(Split::Train, 20, 0);
/// assert_eq!(set.classes()[set.label(3) as usize], "triangle");
/// assert_eq!(set.image(3).unwrap().height, 32);
/// ```
pub fn shapes(split: Split, count: usize, seed: u64) -> InMemory {
    let part = match split {
        Split::Train => 0,
        Split::Val | Split::Test => 1,
    };
    let mut pixels = vec![0; count * SIZE * SIZE * 3];
    pixels.par_chunks_exact_mut(SIZE * SIZE * 3).enumerate().for_each(|(index, image)| {
        let mut rng = ChaCha8Rng::from_seed(stream(seed, part, index as u64, "shapes"));
        draw::draw(figure(index), &mut rng, image);
    });
    let labels = (0..count).map(|index| figure(index) as u32).collect();
    let classes = Figure::ALL.iter().map(|figure| figure.name().to_string()).collect();
    InMemory::from_parts(format!("shapes/{split}"), (SIZE, SIZE), pixels, labels, classes)
}

fn figure(index: usize) -> Figure {
    Figure::ALL[index % Figure::ALL.len()]
}
