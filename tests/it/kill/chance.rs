//! Chance with a seed: the same seed strikes the same processes after the same waits. What the machine makes of the time in
//! between is its own affair, so a seed repeats a run closely, not exactly.

use std::time::Duration;

/// A stream of numbers (`SplitMix64` by Steele, Lea and Flood).
pub struct Chance(u64);

/// When a process is struck.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// After this time, whatever it does then.
    After(Duration),
    /// As soon as it has written something; after this time if it does not.
    AtNextWrite(Duration),
}

impl Chance {
    /// The stream of a seed.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let index = self.below(all.len() as u64);
        &all[usize::try_from(index).expect("an index is small")]
    }

    /// A time shorter than this.
    pub fn wait(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(longest.as_micros()).expect("a wait is short")))
    }

    /// A moment not later than `patience`.
    pub fn moment(&mut self, patience: Duration) -> Moment {
        let after = self.wait(patience);
        if self.below(2) == 0 { Moment::After(after) } else { Moment::AtNextWrite(patience) }
    }
}
