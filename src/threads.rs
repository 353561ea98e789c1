//! Work shared out to threads.

use crate::domain::desired::Resolver;
use crate::domain::desired::workers::Workers;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many threads work at most. Reading a fleet repo gains little beyond it, and the machine has other things to do.
const MOST: usize = 8;
/// Fewer pieces than this are done at once: starting a thread costs more.
const WORTH_IT: usize = 4;

/// As many threads as the machine has processors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads;

impl Workers for Threads {
    fn all(&self, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let next = AtomicUsize::new(0);
        let take = || {
            loop {
                let piece = next.fetch_add(1, Ordering::Relaxed);
                if piece >= pieces {
                    return;
                }
                work(piece);
            }
        };
        if pieces < WORTH_IT || processors == 1 {
            return take();
        }
        // The scope waits for all of them, and passes a panic on.
        std::thread::scope(|scope| {
            (1..processors.min(MOST).min(pieces)).for_each(|_| {
                scope.spawn(take);
            });
            take();
        });
    }
}

/// A resolver that uses all processors.
pub fn resolver() -> Resolver {
    Resolver::new(Arc::new(Threads))
}

#[cfg(test)]
mod tests {
    use super::{Threads, Workers};
    use std::sync::Mutex;

    #[test]
    fn every_piece_is_done_once() {
        for pieces in [0, 1, 3, 4, 1000] {
            let done = Mutex::new(Vec::new());
            Threads.all(pieces, &|piece| done.lock().unwrap().push(piece));
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert_eq!(done, (0..pieces).collect::<Vec<_>>());
        }
    }
}
