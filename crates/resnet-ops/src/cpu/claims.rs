//! Items that belong to a share, but that a thread without work may take from it.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::threads;

/// Which items are taken, and what came of each. The results are in the order of the items, whoever computed them, so
/// that sums over them come out the same bit for bit.
pub(crate) struct Claims<R> {
    shares: Vec<(Range<usize>, AtomicBool)>,
    items: Vec<(AtomicBool, Mutex<Option<R>>)>,
}

impl<R: Send> Claims<R> {
    /// The items of [`threads::shares`].
    pub(crate) fn new(items: usize) -> Self {
        let shares = threads::count().min(items).max(1);
        let share = |i| (threads::part(i, shares, items), AtomicBool::new(false));
        let item = |_| (AtomicBool::new(false), Mutex::new(None));
        Self { shares: (0..shares).map(share).collect(), items: (0..items).map(item).collect() }
    }

    /// Says that a thread has begun a share. Only then may others take from it: a share without a thread would
    /// otherwise be emptied by one that then does it anyway.
    pub(crate) fn begin(&self, share: &Range<usize>) {
        if let Some((_, begun)) = self.shares.iter().find(|(range, _)| range.start == share.start) {
            begun.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the item is the caller's to do: true once.
    pub(crate) fn take(&self, item: usize) -> bool {
        !self.items[item].0.swap(true, Ordering::Relaxed)
    }

    /// An item that is left in a share which has begun, from its end.
    pub(crate) fn left(&self) -> Option<usize> {
        let begun = self.shares.iter().filter(|(_, begun)| begun.load(Ordering::Relaxed));
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
                let claims = Claims::new(items);
                threads::shares(items, |share| {
                    claims.begin(&share);
                    for item in share.filter(|&item| claims.take(item)) {
                        claims.put(item, item * item);
                    }
                    while let Some(item) = claims.left() {
                        claims.put(item, item * item);
                    }
                });
                claims.results()
            });
            assert_eq!(results, (0..items).map(|item| item * item).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_share_that_has_not_begun_is_left_alone() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let claims: Claims<()> = pool.install(|| Claims::new(4));
        assert_eq!(claims.left(), None);
        claims.begin(&(2..4));
        assert_eq!([claims.left(), claims.left(), claims.left()], [Some(3), Some(2), None]);
    }
}
