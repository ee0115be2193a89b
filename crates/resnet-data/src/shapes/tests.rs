use std::time::{Duration, Instant};

use rand::seq::SliceRandom;

use super::*;
use crate::Dataset;

#[test]
fn the_seed_decides_every_byte() {
    let set = shapes(Split::Train, 200, 7);
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let again = one_thread.install(|| shapes(Split::Train, 100, 7));
    assert!((0..100).all(|i| set.pixels(i) == again.pixels(i)), "a smaller set is the beginning of a larger one");
    assert!((0..100).all(|i| set.pixels(i) != shapes(Split::Train, 100, 8).pixels(i)));
    let test = shapes(Split::Test, 200, 7);
    assert!((0..200).all(|i| (0..200).all(|j| set.pixels(i) != test.pixels(j))), "the splits share an image");
}

#[test]
fn classes_are_equally_frequent_and_named() {
    let set = shapes(Split::Test, 100, 0);
    for (label, figure) in Figure::ALL.iter().enumerate() {
        assert_eq!(set.labels().iter().filter(|&&l| l as usize == label).count(), 10);
        assert_eq!(set.classes()[label], figure.name());
    }
}

/// Every figure covers a plausible part of the square around it, and lies within the circle that `draw` looks at.
#[test]
fn figures_fill_their_place() {
    for figure in Figure::ALL {
        let at = |i: i32| (i as f32 + 0.5) / 50.0;
        let inside = |&(x, y): &(f32, f32)| figure.distance(x, y) < 0.0;
        let points: Vec<_> = (-75..75).flat_map(|i| (-75..75).map(move |j| (at(i), at(j)))).filter(inside).collect();
        let share = points.len() as f32 / 10_000.0;
        assert!((0.2..0.65).contains(&share), "{}: {share}", figure.name());
        let far = points.iter().map(|(x, y)| x * x + y * y).fold(0.0, f32::max);
        assert!(far < 1.25, "{}: {far}", figure.name());
    }
}

/// Softmax regression on the pixels by stochastic gradient descent, to convergence on this many images.
#[test]
fn a_linear_classifier_stays_under_half() {
    const INPUTS: usize = SIZE * SIZE * 3 + 1;
    let (train, test) = (shapes(Split::Train, TRAIN, 0), shapes(Split::Test, TEST, 0));
    let input = |set: &InMemory, index: usize| -> Vec<f32> {
        set.pixels(index).iter().map(|&p| f32::from(p) / 128.0 - 1.0).chain([1.0]).collect()
    };
    let logits = |weights: &[f32], x: &[f32]| -> Vec<f32> {
        weights.chunks_exact(INPUTS).map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
    };
    let accuracy = |weights: &[f32], set: &InMemory| {
        let right = (0..set.len()).into_par_iter().filter(|&i| {
            let y = logits(weights, &input(set, i));
            let label = set.label(i) as usize;
            (0..10).all(|class| class == label || y[class] < y[label])
        });
        right.count() as f32 / set.len() as f32
    };
    let mut weights = vec![0.0_f32; 10 * INPUTS];
    let mut order: Vec<usize> = (0..train.len()).collect();
    for epoch in 0..8 {
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(epoch));
        for &index in &order {
            let x = input(&train, index);
            let y = logits(&weights, &x);
            let top = y.iter().copied().fold(f32::MIN, f32::max);
            let sum: f32 = y.iter().map(|y| (y - top).exp()).sum();
            for (class, w) in weights.chunks_exact_mut(INPUTS).enumerate() {
                let target = f32::from(u8::from(class == train.label(index) as usize));
                let step = 3e-4 / (1.0 + epoch as f32) * (target - (y[class] - top).exp() / sum);
                w.iter_mut().zip(&x).for_each(|(w, x)| *w += step * x);
            }
        }
    }
    let (seen, unseen) = (accuracy(&weights, &train), accuracy(&weights, &test));
    assert!(seen > 0.2, "it learned nothing even of what it saw: {seen}");
    assert!(unseen < 0.5, "a linear classifier reaches {unseen}");
    println!("linear classifier: {seen} of the training part, {unseen} of the test part");
}

#[test]
fn the_whole_set_is_drawn_while_one_waits() {
    let start = Instant::now();
    shapes(Split::Train, TRAIN, 1);
    shapes(Split::Test, TEST, 1);
    // Half a second on two idle cores; the limit leaves room for a busy machine.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// `open` tells recipes these figures.
#[test]
fn mean_and_deviation_are_those_of_the_training_part() {
    let set = shapes(Split::Train, TRAIN, 0);
    let values = || (0..set.len()).flat_map(|i| set.pixels(i)).map(|&p| f64::from(p) / 255.0);
    let count = (set.len() * SIZE * SIZE * 3) as f64;
    let mean = values().sum::<f64>() / count;
    let std = (values().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count).sqrt();
    assert!((mean - f64::from(MEAN)).abs() < 0.005 && (std - f64::from(STD)).abs() < 0.005, "{mean} {std}");
}
