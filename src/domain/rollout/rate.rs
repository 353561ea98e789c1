//! How many devices may start per minute: a token bucket, in integers, on a step's own clock.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One token, in the bucket's units: one per minute flows in at one unit per millisecond.
const TOKEN: u64 = 60_000;
/// How much the bucket holds, in milliseconds of flow. Long enough that a controller that looks every few seconds loses
/// nothing, short enough that in no minute more than seven sixths of the rate can start.
const HOLDS_MS: u64 = 10_000;
/// How finely the growing rate is counted.
const FINE: u128 = 1_000_000;

/// So many devices per minute, more as more have succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// At first; 1 or more.
    pub base_per_min: u32,
    /// By how much it grows each time, in hundredths: 100 (not at all) to 500.
    pub factor_hundredths: u32,
    /// After how many successes it grows; 1 or more.
    pub after: u32,
    /// The largest that it grows to.
    pub max_per_min: u32,
}

impl Rate {
    /// A rate that does not grow.
    pub fn steady(per_min: u32) -> Self {
        let per_min = per_min.max(1);
        Self { base_per_min: per_min, factor_hundredths: 100, after: 1, max_per_min: per_min }
    }

    /// The rate per minute once so many have succeeded: at least 1.
    pub fn per_min(&self, succeeded: u32) -> u32 {
        let most = u128::from(self.max_per_min.max(self.base_per_min).max(1));
        let mut rate = u128::from(self.base_per_min.max(1)) * FINE;
        if self.factor_hundredths > 100 {
            // Grows by a hundredth at the least, so this ends after some two thousand rounds.
            for _ in 0..succeeded / self.after.max(1) {
                rate = rate * u128::from(self.factor_hundredths) / 100;
                if rate >= most * FINE {
                    break;
                }
            }
        }
        u32::try_from((rate / FINE).min(most)).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base_per_min, factor_hundredths, after, max_per_min } = self;
        write!(f, "{base_per_min} per minute")?;
        if *factor_hundredths > 100 && max_per_min > base_per_min {
            let (whole, part) = (factor_hundredths / 100, factor_hundredths % 100);
            write!(f, ", times {whole}.{part:02} after each {after} successes, at most {max_per_min}")?;
        }
        Ok(())
    }
}

/// What may start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// What is in it; below zero after a group that had to start together.
    level: i64,
    /// When that was, on the step's clock.
    at_ms: u64,
}

impl Bucket {
    /// A bucket with one token.
    pub fn new(clock_ms: u64) -> Self {
        Self { level: TOKEN as i64, at_ms: clock_ms }
    }

    fn filled(self, per_min: u32, clock_ms: u64) -> Self {
        let holds = (u64::from(per_min) * HOLDS_MS).max(TOKEN);
        let flow = u128::from(clock_ms.saturating_sub(self.at_ms)) * u128::from(per_min);
        let flow = i64::try_from(flow).unwrap_or(i64::MAX);
        let holds = i64::try_from(holds).unwrap_or(i64::MAX);
        Self { level: self.level.saturating_add(flow).min(holds), at_ms: clock_ms.max(self.at_ms) }
    }

    /// Takes `count` tokens if there is one. What must start together may leave a debt, which the next wait for.
    pub fn take(&mut self, per_min: u32, count: u32, clock_ms: u64) -> bool {
        let filled = self.filled(per_min, clock_ms);
        let some = filled.level >= TOKEN as i64;
        if some {
            let cost = i64::from(count).saturating_mul(TOKEN as i64);
            *self = Self { level: filled.level.saturating_sub(cost), ..filled };
        }
        some
    }

    /// When there will be a token, on the step's clock.
    pub fn ready_at(&self, per_min: u32, clock_ms: u64) -> u64 {
        let Self { level, at_ms } = self.filled(per_min, clock_ms);
        let missing = u64::try_from((TOKEN as i64).saturating_sub(level)).unwrap_or(0);
        at_ms.saturating_add(missing.div_ceil(u64::from(per_min.max(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_rate_grows_as_in_the_worked_example() {
        let rate = Rate { base_per_min: 50, factor_hundredths: 200, after: 1000, max_per_min: 1000 };
        let shown =
            [0, 999, 1000, 2000, 3000, 4000, 5000, u32::MAX].map(|done| format!("{done}: {}", rate.per_min(done)));
        assert_eq!(
            shown.join(", "),
            "0: 50, 999: 50, 1000: 100, 2000: 200, 3000: 400, 4000: 800, 5000: 1000, 4294967295: 1000"
        );
    }

    #[test]
    fn a_bucket_says_when_its_next_token_comes() {
        let mut bucket = Bucket::new(0);
        assert!(bucket.take(6, 1, 0));
        assert!(!bucket.take(6, 1, 9_999));
        assert_eq!(bucket.ready_at(6, 0), 10_000);
        assert!(bucket.take(6, 1, 10_000));
    }

    proptest! {
        #[test]
        fn in_no_minute_more_than_the_rate_and_a_sixth_start(
            per_min in 1_u32..300, steps in prop::collection::vec(0_u64..20_000, 1..100),
        ) {
            let (mut bucket, mut clock, mut starts) = (Bucket::new(0), 0, Vec::new());
            for step in steps {
                clock += step;
                while bucket.take(per_min, 1, clock) {
                    starts.push(clock);
                }
            }
            let most = u64::from(per_min) + (u64::from(per_min) / 6).max(1);
            let most = usize::try_from(most).expect("small");
            for within in starts.windows(most + 1) {
                prop_assert!(within[most] >= within[0] + 60_000, "more than {} started within a minute", most);
            }
        }

        #[test]
        fn a_token_is_there_when_it_was_announced_and_not_before(per_min in 1_u32..2000, takes in 1_u32..50, later in 0_u64..120_000) {
            let mut bucket = Bucket::new(0);
            prop_assert!(bucket.take(per_min, takes, 0));
            let ready = bucket.ready_at(per_min, later);
            let (mut early, mut in_time) = (bucket, bucket);
            prop_assert!(ready <= later + 1 || !early.take(per_min, 1, ready - 1));
            prop_assert!(in_time.take(per_min, 1, ready.max(later)));
        }
    }
}
