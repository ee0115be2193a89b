//! Work in a static partition, so that sums come out the same bit for bit at one number of threads.

pub(crate) mod work_stealing;

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use rayon::prelude::*;

/// The number of chunks: one a thread of the current pool.
pub(crate) fn count() -> usize {
    rayon::current_num_threads().max(1)
}

/// Chunk `i` of `0..len` cut into so many, as even as can be.
pub(crate) fn chunk(i: usize, parts: usize, len: usize) -> Range<usize> {
    i * len / parts..(i + 1) * len / parts
}

/// Cuts `0..items` into at most `count()` contiguous chunks, calls `work(chunk)` for each in parallel and returns
/// the results in the order of the chunks.
pub(crate) fn static_partition<R: Send>(items: usize, work: impl Fn(Range<usize>) -> R + Sync) -> Vec<R> {
    let chunks = count().min(items).max(1);
    if chunks == 1 {
        return vec![work(0..items)];
    }
    let mut results: Vec<Option<R>> = (0..chunks).map(|_| None).collect();
    let slots = Slots(results.as_mut_ptr());
    in_parallel(chunks, &|i| {
        let result = work(chunk(i, chunks, items));
        // SAFETY: every chunk has its own slot.
        unsafe { *slots.at(i) = Some(result) };
    });
    results.into_iter().flatten().collect()
}

/// Calls `work(i)` for each of so many chunks. By a pointer: one such function is compiled, where one for each kind of work
/// would be a fifth of this crate's code.
fn in_parallel(chunks: usize, work: &(dyn Fn(usize) + Sync)) {
    let team = TEAM.get();
    if team.is_null() {
        (0..chunks).into_par_iter().with_max_len(1).for_each(work);
    } else {
        // SAFETY: the pointer is that of a team whose `team_scope` has not returned.
        unsafe { &*team }.work_on(chunks, work);
    }
}

/// Where the chunks put their results.
struct Slots<R>(*mut Option<R>);

// SAFETY: every chunk writes its own slot.
unsafe impl<R: Send> Sync for Slots<R> {}

impl<R> Slots<R> {
    fn at(&self, i: usize) -> *mut Option<R> {
        self.0.wrapping_add(i)
    }
}

/// Calls `work(i)` for each of `0..items`, in parallel where that is worth it.
pub(crate) fn each(items: usize, parallel: bool, work: impl Fn(usize) + Sync) {
    if parallel {
        static_partition(items, |chunk| chunk.for_each(&work));
    } else {
        (0..items).for_each(work);
    }
}

/// Calls `work(i)` for each of `0..items` in parallel. Every thread begins with a chunk of its own and then takes what others
/// have left, from their ends: one that is slower, or late, does less.
pub(crate) fn balanced(items: usize, work: impl Fn(usize) + Sync) {
    let taken: Vec<AtomicBool> = (0..items).map(|_| AtomicBool::new(false)).collect();
    let take = |item: &usize| !taken[*item].swap(true, Ordering::Relaxed);
    static_partition(items, |chunk| {
        chunk.filter(take).for_each(&work);
        (0..items).rev().filter(take).for_each(&work);
    });
}

thread_local! {
    /// The team whose leader this thread is.
    static TEAM: Cell<*const Team> = const { Cell::new(std::ptr::null()) };
}

/// Runs `body` with a team of threads that stay awake between its [`static_partition`]: waking a thread costs as much as a small
/// layer. Where the pool is busy, the caller does the others' chunks.
pub(crate) fn team_scope<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    if count() == 1 || !TEAM.get().is_null() {
        return body();
    }
    let team = Team::default();
    rayon::in_place_scope(|scope| {
        for _ in 1..count() {
            scope.spawn(|_| team.help());
        }
        let _leader = Leader::new(&team);
        body()
    })
}

/// Makes a thread the leader of a team until it is dropped, by a panic too.
struct Leader<'a>(&'a Team);

impl<'a> Leader<'a> {
    fn new(team: &'a Team) -> Self {
        TEAM.set(team);
        Self(team)
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        TEAM.set(std::ptr::null());
        self.0.over.store(true, Ordering::Release);
    }
}

/// Chunks that any member may take.
struct Task<'a> {
    work: &'a (dyn Fn(usize) + Sync),
    chunks: usize,
    next: AtomicUsize,
    done: AtomicUsize,
    failed: AtomicBool,
}

impl Task<'_> {
    fn take(&self) {
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= self.chunks {
                return;
            }
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (self.work)(i)));
            if result.is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }
}

#[derive(Default)]
struct Team {
    task: AtomicPtr<Task<'static>>,
    /// Members that may be looking at the task.
    busy: AtomicUsize,
    over: AtomicBool,
}

/// Spins before a waiting thread offers its core to others.
const PATIENCE: usize = 20_000;

fn wait(spins: &mut usize) {
    *spins += 1;
    if *spins < PATIENCE { std::hint::spin_loop() } else { std::thread::yield_now() }
}

impl Team {
    fn help(&self) {
        let mut spins = 0;
        while !self.over.load(Ordering::Acquire) {
            if self.task.load(Ordering::Acquire).is_null() {
                wait(&mut spins);
                continue;
            }
            self.busy.fetch_add(1, Ordering::SeqCst);
            let task = self.task.load(Ordering::SeqCst);
            if !task.is_null() {
                // SAFETY: the leader waits for busy members before the task ends.
                unsafe { &*task }.take();
            }
            self.busy.fetch_sub(1, Ordering::SeqCst);
            spins = 0;
        }
    }

    fn work_on(&self, chunks: usize, work: &(dyn Fn(usize) + Sync)) {
        let task =
            Task { work, chunks, next: AtomicUsize::new(0), done: AtomicUsize::new(0), failed: AtomicBool::new(false) };
        self.task.store((&raw const task).cast_mut().cast(), Ordering::SeqCst);
        task.take();
        let mut spins = 0;
        while task.done.load(Ordering::Acquire) < chunks {
            wait(&mut spins);
        }
        self.task.store(std::ptr::null_mut(), Ordering::SeqCst);
        while self.busy.load(Ordering::SeqCst) > 0 {
            wait(&mut spins);
        }
        assert!(!task.failed.load(Ordering::Relaxed), "a chunk of the work panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_gives_the_results_in_order() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let sums = pool.install(|| {
            team_scope(|| {
                (1..200)
                    .map(|items| static_partition(items, |range| range.sum::<usize>()).iter().sum())
                    .collect::<Vec<usize>>()
            })
        });
        assert_eq!(sums, (1..200).map(|n| n * (n - 1) / 2).collect::<Vec<usize>>());
    }

    #[test]
    fn balanced_work_is_done_once() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for items in [0, 1, 2, 7, 50] {
            let done: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
            pool.install(|| {
                team_scope(|| {
                    balanced(items, |item| {
                        done[item].fetch_add(1, Ordering::Relaxed);
                    })
                })
            });
            assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn a_panic_of_a_member_reaches_the_leader() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.install(|| team_scope(|| static_partition(2, |range| assert_ne!(range.start, 1))));
        }));
        assert!(result.is_err());
    }
}
