use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::{Augment, Image, Normalize, Split, shapes};

fn loader(config: LoaderConfig) -> Loader {
    let transform = Transform::crop_and_flip(32, Normalize::channel([0.5; 3], [0.25; 3])).unwrap();
    Loader::new(Arc::new(shapes(Split::Train, 50, 0)), transform, config).unwrap()
}

fn config(workers: usize) -> LoaderConfig {
    LoaderConfig { batch_size: 8, shuffle: true, seed: 3, workers, prefetch: 3, ..LoaderConfig::default() }
}

type Content = (Vec<f32>, Vec<u32>, Vec<usize>);

fn contents(epoch: Epoch) -> Vec<Content> {
    epoch
        .map(|batch| {
            let batch = batch.unwrap();
            let images = batch.images.flatten_all().unwrap().to_vec1().unwrap();
            (images, batch.labels.to_vec1().unwrap(), batch.indices)
        })
        .collect()
}

#[test]
fn batches_do_not_depend_on_the_threads() {
    let expected = contents(loader(config(0)).epoch(2, 0));
    assert_eq!(expected.len(), 7);
    assert_eq!(expected.iter().map(|batch| batch.2.len()).sum::<usize>(), 50);
    for workers in [1, 2, 3, 16] {
        for prefetch in [0, 1, 9] {
            let loader = loader(LoaderConfig { prefetch, ..config(workers) });
            assert!(contents(loader.epoch(2, 0)) == expected, "{workers} threads, {prefetch} ahead");
        }
    }
}

#[test]
fn an_epoch_goes_on_where_it_was_left() {
    let loader = loader(config(2));
    let whole = contents(loader.epoch(1, 0));
    for first in 0..=8 {
        assert!(contents(loader.epoch(1, first)) == whole[first.min(7)..], "from batch {first}");
    }
}

#[test]
fn order_and_augmentation_change_with_epoch_and_seed() {
    let loader = loader(config(1));
    let orders = |loader: &Loader, epoch| -> Vec<usize> {
        order::order(&*loader.dataset, &loader.config, epoch).into_iter().map(|place| place.index).collect()
    };
    let mut sorted = orders(&loader, 0);
    assert_ne!(orders(&loader, 0), orders(&loader, 1));
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    let other = super::tests::loader(LoaderConfig { seed: 4, ..config(1) });
    assert_ne!(orders(&loader, 0), orders(&other, 0));

    // The same image in the same place, augmented otherwise.
    let fixed = super::tests::loader(LoaderConfig { shuffle: false, ..config(1) });
    let (first, second) = (contents(fixed.epoch(0, 0)), contents(fixed.epoch(1, 0)));
    assert_eq!(first[0].2, (0..8).collect::<Vec<_>>());
    assert_eq!(first[0].2, second[0].2);
    assert_ne!(first[0].0, second[0].0);
}

#[test]
fn the_last_batch_is_short_or_left_out() {
    let short = loader(config(1));
    assert_eq!((short.batches(), short.samples()), (7, 50));
    let full = loader(LoaderConfig { drop_last: true, ..config(1) });
    assert_eq!((full.batches(), full.samples()), (6, 48));
    assert!(contents(full.epoch(0, 0)).iter().all(|batch| batch.2.len() == 8));
    let labels = contents(short.epoch(0, 0)).pop().unwrap();
    assert!(labels.1.iter().zip(&labels.2).all(|(&label, &index)| label as usize == index % 10));
}

/// Images of changing size, one of which cannot be read; counts how many were asked for.
struct Awkward {
    classes: Vec<String>,
    asked: AtomicUsize,
    fails_at: usize,
    panics_at: usize,
}

impl Awkward {
    fn new(fails_at: usize, panics_at: usize) -> Arc<Self> {
        Arc::new(Self { classes: vec!["only".to_string()], asked: AtomicUsize::new(0), fails_at, panics_at })
    }
}

impl Dataset for Awkward {
    fn len(&self) -> usize {
        1000
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn label(&self, _: usize) -> u32 {
        0
    }
    fn image(&self, index: usize) -> Result<Image> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert_ne!(index, self.panics_at, "this image panics");
        if index == self.fails_at {
            return Err(Error::Decode { path: self.origin(index), message: "no JPEG".to_string() });
        }
        Ok(Image::filled(8 + index % 2, 8, [0; 3]))
    }
    fn origin(&self, index: usize) -> String {
        format!("photos/{index}.jpg")
    }
}

fn awkward(set: Arc<Awkward>, workers: usize, steps: Vec<Augment>) -> Loader {
    let transform = Transform::new(steps, Normalize::channel([0.5; 3], [0.5; 3])).unwrap();
    let config = LoaderConfig { batch_size: 4, workers, prefetch: 2, ..LoaderConfig::default() };
    Loader::new(set, transform, config).unwrap()
}

#[test]
fn an_unreadable_image_ends_the_epoch_by_its_name() {
    for workers in [0, 1, 3] {
        let crop = vec![Augment::CenterCrop { size: 8 }];
        let mut epoch = awkward(Awkward::new(22, usize::MAX), workers, crop).epoch(0, 0);
        assert_eq!(epoch.by_ref().take_while(|batch| batch.is_ok()).count(), 5);
        assert!(epoch.next().is_none());
        let crop = vec![Augment::CenterCrop { size: 8 }];
        let error = awkward(Awkward::new(22, usize::MAX), workers, crop).epoch(0, 5).next().unwrap().unwrap_err();
        assert!(error.to_string().contains("photos/22.jpg: not a readable image (no JPEG)"), "{error}");
    }
}

#[test]
fn images_of_different_size_are_named() {
    let error = awkward(Awkward::new(usize::MAX, usize::MAX), 2, vec![]).epoch(0, 0).next().unwrap().unwrap_err();
    assert!(error.to_string().contains("photos/1.jpg: the image is 9x8 but 8x8 is needed"), "{error}");
}

#[test]
fn a_panic_in_a_thread_is_an_error() {
    let crop = vec![Augment::CenterCrop { size: 8 }];
    let mut epoch = awkward(Awkward::new(usize::MAX, 9), 2, crop).epoch(0, 0);
    assert!(epoch.next().unwrap().is_ok() && epoch.next().unwrap().is_ok());
    let error = epoch.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("batch 2") && error.contains("this image panics"), "{error}");
    assert!(epoch.next().is_none());
}

#[test]
fn queues_are_bounded_and_dropping_stops_the_threads() {
    let set = Awkward::new(usize::MAX, usize::MAX);
    let crop = vec![Augment::CenterCrop { size: 8 }];
    let mut epoch = awkward(Arc::clone(&set), 2, crop).epoch(0, 0);
    epoch.next().unwrap().unwrap();
    let settled = || {
        let mut last = usize::MAX;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            let now = set.asked.load(Ordering::SeqCst);
            if now == last {
                break;
            }
            last = now;
            std::thread::sleep(Duration::from_millis(100));
        }
        last
    };
    // One batch taken, one in each of two queues, one in the hands of each thread, of 4 images each.
    let asked = settled();
    assert!(asked <= 5 * 4, "{asked} of 1000 images were read for the first batch");
    drop(epoch);
    assert_eq!(Arc::strong_count(&set), 1, "the threads are gone");
    assert_eq!(set.asked.load(Ordering::SeqCst), asked);
}

#[test]
fn settings_without_a_batch_are_refused() {
    let transform = Transform::plain(Normalize::channel([0.5; 3], [0.5; 3])).unwrap();
    let make = |count, batch_size, drop_last| {
        let config = LoaderConfig { batch_size, drop_last, ..LoaderConfig::default() };
        Loader::new(Arc::new(shapes(Split::Test, count, 0)), transform.clone(), config).map(|_| ())
    };
    assert!(make(10, 0, false).unwrap_err().to_string().contains("batch_size"));
    assert!(make(10, 11, true).unwrap_err().to_string().contains("10 images make no batch of 11"));
    assert!(make(0, 4, false).is_err());
    assert!(make(10, 11, false).is_ok());
}

/// Every fourth image cannot be read.
struct Holed(Arc<dyn Dataset>);

impl Dataset for Holed {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn classes(&self) -> &[String] {
        self.0.classes()
    }
    fn label(&self, index: usize) -> u32 {
        self.0.label(index)
    }
    fn image(&self, index: usize) -> Result<Image> {
        match index % 4 {
            3 => Err(Error::Decode { path: format!("{index}.jpg"), message: "a hole".to_string() }),
            _ => self.0.image(index),
        }
    }
}

#[test]
fn broken_images_are_fatal_or_left_out_and_named() {
    let set: Arc<dyn Dataset> = Arc::new(Holed(Arc::new(shapes(Split::Train, 12, 0))));
    let epoch = |on_broken, batch_size, workers| {
        let transform = Transform::plain(Normalize::channel([0.5; 3], [0.25; 3])).unwrap();
        let config = LoaderConfig { batch_size, workers, on_broken, ..LoaderConfig::default() };
        Loader::new(set.clone(), transform, config).unwrap().epoch(0, 0).collect::<Result<Vec<_>>>()
    };
    assert!(epoch(OnBroken::Fail, 4, 1).unwrap_err().to_string().contains("3.jpg"));
    for workers in [0, 2] {
        let batches = epoch(OnBroken::Skip, 4, workers).unwrap();
        assert_eq!(batches[1].indices, [4, 5, 6]);
        assert_eq!((batches[1].images.dims(), batches[1].labels.dims()), (&[3, 3, 32, 32][..], &[3][..]));
        assert_eq!(batches[1].broken[0].index, 7);
        assert!(batches[1].broken[0].message.contains("7.jpg"));
    }
    let alone = epoch(OnBroken::Skip, 1, 1).unwrap();
    assert_eq!((alone.len(), alone[3].indices.len(), alone[3].broken.len()), (12, 0, 1));
}
