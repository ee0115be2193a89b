//! Work in fixed shares, so that sums come out the same bit for bit at one number of threads.

use rayon::prelude::*;

/// The number of shares: one a thread of the current pool.
pub(crate) fn count() -> usize {
    rayon::current_num_threads().max(1)
}

/// Cuts `0..items` into at most `count()` contiguous shares, calls `work(share)` for each in parallel and returns
/// the results in the order of the shares.
pub(crate) fn shares<R: Send>(items: usize, work: impl Fn(std::ops::Range<usize>) -> R + Sync) -> Vec<R> {
    let shares = count().min(items).max(1);
    if shares == 1 {
        return vec![work(0..items)];
    }
    let range = |i: usize| i * items / shares..(i + 1) * items / shares;
    (0..shares).into_par_iter().with_max_len(1).map(|i| work(range(i))).collect()
}
