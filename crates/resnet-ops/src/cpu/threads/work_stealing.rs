//! Items that belong to a chunk, but that a thread without work may take from it.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cpu::threads;

/// Which items are taken, and what came of each. The results are in the order of the items, whoever computed them, so
/// that sums over them come out the same bit for bit.
pub(crate) struct WorkStealing<R> {
    chunks: Vec<(Range<usize>, AtomicBool)>,
    items: Vec<(AtomicBool, Mutex<Option<R>>)>,
}

impl<R: Send> WorkStealing<R> {
    /// The items of [`threads::static_partition`].
    pub(crate) fn new(items: usize) -> Self {
        let chunks = threads::count().min(items).max(1);
        let chunk = |i| (threads::chunk(i, chunks, items), AtomicBool::new(false));
        let item = |_| (AtomicBool::new(false), Mutex::new(None));
        Self { chunks: (0..chunks).map(chunk).collect(), items: (0..items).map(item).collect() }
    }

    /// Says that a thread has begun a chunk. Only then may others take from it: a chunk without a thread would
    /// otherwise be emptied by one that then does it anyway.
    pub(crate) fn begin(&self, chunk: &Range<usize>) {
        if let Some((_, begun)) = self.chunks.iter().find(|(range, _)| range.start == chunk.start) {
            begun.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the item is the caller's to do: true once.
    pub(crate) fn take(&self, item: usize) -> bool {
        !self.items[item].0.swap(true, Ordering::Relaxed)
    }

    /// An item that is left in a chunk which has begun, from its end.
    pub(crate) fn steal(&self) -> Option<usize> {
        let begun = self.chunks.iter().filter(|(_, begun)| begun.load(Ordering::Relaxed));
        begun.flat_map(|(range, _)| range.clone().rev()).find(|&item| self.take(item))
    }

    /// Puts down what came of an item.
    pub(crate) fn put(&self, item: usize, result: R) {
        *self.items[item].1.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(result);
    }

    /// What came of the items, in their order.
    pub(crate) fn results(self) -> Vec<R> {
        let item =
            |(_, result): (_, Mutex<Option<R>>)| result.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.items.into_iter().filter_map(item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_taken_once_and_its_result_is_in_order() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for items in [1, 2, 7, 50] {
            let results = pool.install(|| {
                let work = WorkStealing::new(items);
                threads::static_partition(items, |chunk| {
                    work.begin(&chunk);
                    for item in chunk.filter(|&item| work.take(item)) {
                        work.put(item, item * item);
                    }
                    while let Some(item) = work.steal() {
                        work.put(item, item * item);
                    }
                });
                work.results()
            });
            assert_eq!(results, (0..items).map(|item| item * item).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_share_that_has_not_begun_is_left_alone() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let work: WorkStealing<()> = pool.install(|| WorkStealing::new(4));
        assert_eq!(work.steal(), None);
        work.begin(&(2..4));
        assert_eq!([work.steal(), work.steal(), work.steal()], [Some(3), Some(2), None]);
    }
}
