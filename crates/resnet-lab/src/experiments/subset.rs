//! The first images of a data set.

use std::ops::Range;
use std::sync::Arc;

use resnet_data::{Dataset, Image};

struct First {
    inner: Arc<dyn Dataset>,
    count: usize,
}

/// At most so many images; all of them where no number is given.
pub(super) fn first(inner: Arc<dyn Dataset>, count: Option<usize>) -> Arc<dyn Dataset> {
    match count {
        Some(count) if count < inner.len() => Arc::new(First { inner, count }),
        _ => inner,
    }
}

impl Dataset for First {
    fn len(&self) -> usize {
        self.count
    }

    fn classes(&self) -> &[String] {
        self.inner.classes()
    }

    fn label(&self, index: usize) -> u32 {
        self.inner.label(index)
    }

    fn image(&self, index: usize) -> resnet_data::Result<Image> {
        self.inner.image(index)
    }

    fn origin(&self, index: usize) -> String {
        self.inner.origin(index)
    }

    fn name(&self, index: usize) -> Option<String> {
        self.inner.name(index)
    }

    fn stamp(&self, index: usize) -> u64 {
        self.inner.stamp(index)
    }

    fn runs(&self) -> Option<Vec<Range<usize>>> {
        let cut = |run: Range<usize>| run.start.min(self.count)..run.end.min(self.count);
        Some(self.inner.runs()?.into_iter().map(cut).filter(|run| !run.is_empty()).collect())
    }

    fn expect(&self, images: usize) {
        self.inner.expect(images);
    }
}
