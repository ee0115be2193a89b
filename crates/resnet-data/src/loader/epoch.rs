//! The threads behind an epoch: thread t of n makes the batches t, t + n, t + 2n and so on into a queue of its own, and
//! the queues are emptied in turn. So the order needs no sorting and every queue is bounded.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use super::{Batch, Source};
use crate::{Error, Result};

/// The batches of one epoch, in order.
pub struct Epoch {
    source: Arc<Source>,
    next: usize,
    first: usize,
    lanes: Vec<Lane>,
    stop: Arc<AtomicBool>,
}

/// A thread and its queue.
struct Lane {
    batches: Receiver<Result<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl Epoch {
    pub(super) fn new(source: Source, first: usize, workers: usize, prefetch: usize) -> Self {
        let source = Arc::new(source);
        let stop = Arc::new(AtomicBool::new(false));
        let workers = workers.min(source.batches.saturating_sub(first));
        let ahead = prefetch.div_ceil(workers.max(1)).max(1);
        let lanes = (0..workers)
            .map_while(|lane| Lane::start(&source, &stop, (first + lane, workers), ahead))
            .collect::<Vec<_>>();
        // Lanes take turns, so a thread that cannot be had leaves a gap: then do without threads.
        let lanes = if lanes.len() == workers { lanes } else { Vec::new() };
        Self { source, next: first, first, lanes, stop }
    }
}

impl Lane {
    fn start(
        source: &Arc<Source>,
        stop: &Arc<AtomicBool>,
        (first, step): (usize, usize),
        ahead: usize,
    ) -> Option<Self> {
        let (sender, batches) = sync_channel(ahead);
        let (source, stop) = (Arc::clone(source), Arc::clone(stop));
        let work = move || {
            for number in (first..source.batches).step_by(step) {
                let batch = match source.batch(number, &|| stop.load(Ordering::Relaxed)) {
                    Ok(Some(batch)) => Ok(batch),
                    Ok(None) => return,
                    Err(error) => Err(error),
                };
                let failed = batch.is_err();
                // Nobody listens any more: the epoch was dropped.
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("loader-{first}")).spawn(work).ok()?;
        Some(Self { batches, thread: Some(thread) })
    }

    /// Why the thread ended before its batch.
    fn panic(&mut self) -> String {
        let message = |panic: Box<dyn Any + Send>| match panic.downcast::<String>() {
            Ok(message) => *message,
            Err(other) => other.downcast::<&str>().map_or_else(|_| "no message".to_string(), |text| text.to_string()),
        };
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => message(panic),
            _ => "the thread ended early".to_string(),
        }
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.next;
        if number >= self.source.batches {
            return None;
        }
        self.next += 1;
        let lanes = self.lanes.len();
        let batch = if lanes == 0 {
            self.source.batch(number, &|| false).transpose()?
        } else {
            let lane = &mut self.lanes[(number - self.first) % lanes];
            lane.batches.recv().unwrap_or_else(|_| Err(Error::Worker { batch: number, message: lane.panic() }))
        };
        if batch.is_err() {
            self.next = self.source.batches;
        }
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // An error ends the epoch early.
        (0, Some(self.source.batches.saturating_sub(self.next)))
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for lane in std::mem::take(&mut self.lanes) {
            // Dropping the receiver wakes a thread that waits for room in its queue.
            drop(lane.batches);
            if let Some(thread) = lane.thread {
                // A panic was reported by `next`, or nobody asked for its batch.
                let _ = thread.join();
            }
        }
    }
}
