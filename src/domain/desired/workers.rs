//! Work in pieces that need nothing of each other, so that a shell can give it to several threads.
//!
//! What decides stays pure: results are put together in the order of the pieces, so nothing can be seen of who did what when.

use std::sync::OnceLock;

/// How many values make one piece: enough that handing it out costs nothing beside it.
const PIECE: usize = 128;

/// Does pieces of work.
pub trait Workers: std::fmt::Debug + Send + Sync {
    /// Calls `work` once for each number below `pieces`, in any order, some at the same time, and returns when all are done.
    fn all(&self, pieces: usize, work: &(dyn Fn(usize) + Sync));
}

/// One piece after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneByOne;

impl Workers for OneByOne {
    fn all(&self, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        (0..pieces).for_each(work);
    }
}

/// What `make` makes of each value, in their order.
pub fn each<T: Sync, R: Send + Sync>(workers: &dyn Workers, values: &[T], make: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let pieces: Vec<&[T]> = values.chunks(PIECE).collect();
    let done: Vec<OnceLock<Vec<R>>> = pieces.iter().map(|_| OnceLock::new()).collect();
    workers.all(pieces.len(), &|piece| {
        done[piece].get_or_init(|| pieces[piece].iter().map(&make).collect());
    });
    done.into_iter().flat_map(|done| done.into_inner().expect("workers do every piece")).collect()
}

#[cfg(test)]
mod tests {
    use super::{OneByOne, Workers, each};

    #[derive(Debug)]
    struct LastFirst;

    impl Workers for LastFirst {
        fn all(&self, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
            (0..pieces).rev().for_each(work);
        }
    }

    #[test]
    fn results_stand_in_the_order_of_the_values_whoever_worked_when() {
        let values: Vec<usize> = (0..1000).collect();
        let doubled: Vec<usize> = values.iter().map(|value| value * 2).collect();
        assert_eq!(each(&OneByOne, &values, |value| value * 2), doubled);
        assert_eq!(each(&LastFirst, &values, |value| value * 2), doubled);
    }
}
