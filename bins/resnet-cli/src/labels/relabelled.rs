//! A data set under a network's labels.

use std::ops::Range;
use std::sync::Arc;

use resnet_data::{Dataset, Image};

/// A data set whose images have the labels of a network's classes; those of some of its classes may be left out.
pub(super) struct Relabelled {
    inner: Arc<dyn Dataset>,
    /// The number of each image in the inner set, where not all are taken.
    images: Option<Vec<usize>>,
    /// The network's class for each class of the inner set.
    map: Vec<u32>,
    classes: Vec<String>,
}

impl Relabelled {
    /// `map` says the network's class for each class, `None` for one whose images are left out.
    pub(super) fn new(inner: &Arc<dyn Dataset>, map: &[Option<u32>], classes: Vec<String>) -> Self {
        let taken = |index: &usize| map.get(inner.label(*index) as usize).copied().flatten().is_some();
        let images: Vec<usize> = (0..inner.len()).filter(taken).collect();
        let images = (images.len() < inner.len()).then_some(images);
        let map = map.iter().map(|class| class.unwrap_or_default()).collect();
        Self { inner: Arc::clone(inner), images, map, classes }
    }

    fn index(&self, index: usize) -> usize {
        self.images.as_ref().map_or(index, |images| images[index])
    }
}

impl Dataset for Relabelled {
    fn len(&self) -> usize {
        self.images.as_ref().map_or(self.inner.len(), Vec::len)
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.map[self.inner.label(self.index(index)) as usize]
    }

    fn image(&self, index: usize) -> resnet_data::Result<Image> {
        self.inner.image(self.index(index))
    }

    fn origin(&self, index: usize) -> String {
        self.inner.origin(self.index(index))
    }

    fn runs(&self) -> Option<Vec<Range<usize>>> {
        // With holes in them they are no runs any more.
        if self.images.is_some() { None } else { self.inner.runs() }
    }

    fn expect(&self, images: usize) {
        self.inner.expect(images);
    }
}
