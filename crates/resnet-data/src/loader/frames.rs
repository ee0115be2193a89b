//! What of each image a batch shows, without its pixels: for sets whose pixels lie on a device already.

use std::ops::Range;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::Loader;
use super::order::{self, ImageRef};
use crate::seed::stream;
use crate::transform::View;
use crate::{Augment, Image, InMemory, Padding, Result};

/// The part of an image that a batch shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which image of the data set.
    pub index: usize,
    /// Row of the image that is shown first; negative where the frame begins above the image.
    pub top: isize,
    /// Column of the image where the frame begins; negative where that is left of the image.
    pub left: isize,
    /// Rows of the frame.
    pub height: usize,
    /// Columns of the frame.
    pub width: usize,
    /// Whether the frame is read from right to left.
    pub flipped: bool,
}

/// The frames of an epoch's batches, in order.
pub struct Frames<'a> {
    loader: &'a Loader,
    set: &'a InMemory,
    order: Vec<ImageRef>,
    epoch: u64,
    batches: Range<usize>,
}

impl Loader {
    /// The frames of an epoch from batch number `first_batch` on: the images that [`Loader::epoch`] gives, in the same
    /// places, crops and mirrorings. `None` where the set's images are not in memory, repeated or mixed with one
    /// another, or a step does more than crop and mirror.
    pub fn frames(&self, epoch: u64, first_batch: usize) -> Option<Frames<'_>> {
        let framed = |step: &Augment| {
            matches!(step, Augment::RandomCrop { .. } | Augment::CenterCrop { .. } | Augment::HorizontalFlip { .. })
        };
        let set = self.dataset.in_memory()?;
        let whole = self.config.mix.is_none() && self.config.repeats <= 1;
        if !whole || !self.transform.steps().iter().all(framed) {
            return None;
        }
        Some(Frames {
            loader: self,
            set,
            order: order::order(&*self.dataset, &self.config, epoch),
            epoch,
            batches: first_batch..self.batches(),
        })
    }

    /// What a batch holds beyond the images' edges.
    pub fn border(&self) -> [f32; 3] {
        let fill = |step: &Augment| match step {
            Augment::RandomCrop { fill, .. } => Some(*fill),
            _ => None,
        };
        let padding = self.transform.steps().iter().rev().find_map(fill).unwrap_or(Padding::Black);
        self.transform.outside(padding)
    }
}

impl Frames<'_> {
    fn frame(&self, index: usize) -> Result<Frame> {
        let (height, width) = self.set.size();
        // The steps look at the size alone.
        let image = Image { height, width, pixels: Vec::new() };
        let mut rng = ChaCha8Rng::from_seed(stream(self.loader.config.seed, self.epoch, index as u64, "augment"));
        let view: View = self.loader.transform.view(image, &|| self.loader.dataset.origin(index), &mut rng)?;
        let (top, left, flipped) = view.place();
        let (height, width) = view.size();
        Ok(Frame { index, top, left, height, width, flipped })
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<Vec<Frame>>;

    fn next(&mut self) -> Option<Self::Item> {
        let size = self.loader.config.batch_size;
        let start = self.batches.next()? * size;
        let images = &self.order[start..self.order.len().min(start + size)];
        Some(images.iter().map(|place| self.frame(place.index)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Dataset, LoaderConfig, Normalize, Split, Transform, shapes};

    #[test]
    fn frames_show_what_batches_hold() -> Result<()> {
        let (mean, std) = ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]);
        for fill in [Padding::Black, Padding::Mean] {
            let set = Arc::new(shapes(Split::Train, 11, 0));
            let crop = Augment::RandomCrop { size: 30, padding: 4, fill };
            let steps = vec![crop, Augment::HorizontalFlip { probability: 0.5 }];
            let transform = Transform::new(steps, Normalize::channel(mean, std))?;
            let config = LoaderConfig { batch_size: 4, shuffle: true, seed: 3, ..LoaderConfig::default() };
            let loader = Loader::new(set.clone(), transform, config)?;
            let border = loader.border();
            let frames: Vec<_> = loader.frames(2, 1).expect("crops and flips").collect::<Result<_>>()?;
            let batches: Vec<_> = loader.epoch(2, 1).collect::<Result<_>>()?;
            assert_eq!(frames.len(), batches.len());
            for (frames, batch) in frames.iter().zip(&batches) {
                assert_eq!(frames.iter().map(|frame| frame.index).collect::<Vec<_>>(), batch.indices);
                let mut wanted = Vec::new();
                for frame in frames {
                    let image = set.image(frame.index)?;
                    for (c, i, j) in (0..3 * 30 * 30).map(|at| (at / 900, at / 30 % 30, at % 30)) {
                        let j = if frame.flipped { frame.width - 1 - j } else { j };
                        let (row, column) = (frame.top + i as isize, frame.left + j as isize);
                        let inside = row >= 0 && column >= 0;
                        let pixel = if inside { image.get(row as usize, column as usize) } else { None };
                        wanted.push(pixel.map_or(border[c], |p| (f32::from(p[c]) / 255.0 - mean[c]) / std[c]));
                    }
                }
                assert_eq!(batch.images.flatten_all()?.to_vec1::<f32>()?, wanted);
            }
        }
        Ok(())
    }

    #[test]
    fn steps_that_make_pixels_have_no_frames() -> Result<()> {
        let set = Arc::new(shapes(Split::Train, 4, 0));
        let config = LoaderConfig { batch_size: 2, ..LoaderConfig::default() };
        let normalize = Normalize::channel([0.5; 3], [0.5; 3]);
        let loader = Loader::new(set, Transform::resized_crop_and_flip(16, normalize)?, config)?;
        assert!(loader.frames(0, 0).is_none());
        Ok(())
    }
}
