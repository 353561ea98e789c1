//! When to try again, and when to ask: spread by hashes, so that a fleet never knocks all at once and nothing needs chance.

use crate::domain::digest::Digest;
use crate::domain::ids::DeviceId;

/// A stream of even numbers that differs from device to device and from start to start.
///
/// Each purpose draws from its own stream: how often one lane failed does not shift the other's times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draws {
    device: DeviceId,
    start: u64,
    purpose: &'static str,
    next: u64,
}

/// A number from 0 up to, but not including, 1: a share of 2³².
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

/// How far apart tries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest first wait, in milliseconds. It doubles with each failure.
    pub base_millis: i64,
    /// The longest wait of all, in milliseconds.
    pub cap_millis: i64,
}

/// The shortest wait between two tries, in milliseconds: full jitter may draw nought, and a loop without a pause would keep
/// a small device busy.
const MIN_WAIT_MILLIS: i64 = 100;

/// The longest `Retry-After` that is honoured, in seconds: a wrong header must not silence a device for good.
pub const MAX_RETRY_AFTER_SECS: u64 = 3600;

impl Draws {
    /// The stream of one device, start and purpose.
    pub fn new(device: &DeviceId, start: u64, purpose: &'static str) -> Self {
        Self { device: device.clone(), start, purpose, next: 0 }
    }

    /// The next number.
    pub fn draw(&mut self) -> Share {
        let digest = Digest::of_parts([
            self.device.as_str().as_bytes(),
            self.purpose.as_bytes(),
            &self.start.to_be_bytes(),
            &self.next.to_be_bytes(),
        ]);
        self.next = self.next.wrapping_add(1);
        // The upper half: 32 bits are finer than any wait.
        Share((digest.first_u64() >> 32) as u32)
    }
}

impl Share {
    /// This share of an amount, rounded down.
    pub fn of(self, amount: i64) -> i64 {
        let product = i128::from(amount) * i128::from(self.0);
        i64::try_from(product >> 32).expect("a share of a number is no larger than the number")
    }
}

impl Backoff {
    /// Milliseconds to wait after so many failures in a row: full jitter over a doubling, capped span.
    pub fn wait_millis(self, failures: u32, share: Share) -> i64 {
        let doublings = failures.saturating_sub(1).min(40);
        let span = self.base_millis.saturating_mul(1 << doublings).min(self.cap_millis);
        share.of(span).max(MIN_WAIT_MILLIS)
    }

    /// Like [`Self::wait_millis`], but no sooner than the other side asked for.
    pub fn wait_honouring(self, failures: u32, share: Share, retry_after_secs: Option<u64>) -> i64 {
        let asked = retry_after_secs.unwrap_or(0).min(MAX_RETRY_AFTER_SECS);
        // The asked time is the same for everybody; the jitter on top of it keeps the fleet apart.
        (asked as i64).saturating_mul(1000).saturating_add(self.wait_millis(failures, share))
    }
}

/// Milliseconds until a device's first poll after a start: anywhere in the interval.
pub fn first_poll_millis(interval_secs: u32, share: Share) -> i64 {
    share.of(i64::from(interval_secs) * 1000)
}

/// Milliseconds between two polls: the interval, give or take a tenth.
pub fn next_poll_millis(interval_secs: u32, share: Share) -> i64 {
    let interval = i64::from(interval_secs) * 1000;
    interval * 9 / 10 + share.of(interval / 5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn device(name: &str) -> DeviceId {
        DeviceId::new(name).expect("a device name")
    }

    #[test]
    fn waits_double_up_to_their_cap() {
        let backoff = Backoff { base_millis: 1000, cap_millis: 60_000 };
        let most = |failures| backoff.wait_millis(failures, Share(u32::MAX));
        let waits: Vec<i64> = [0, 1, 2, 3, 6, 7, 8, u32::MAX].map(most).to_vec();
        assert_eq!(waits, [999, 999, 1999, 3999, 31_999, 59_999, 59_999, 59_999]);
        assert_eq!(backoff.wait_millis(9, Share(0)), MIN_WAIT_MILLIS);
    }

    #[test]
    fn retry_after_is_a_lower_bound_and_itself_bounded() {
        let backoff = Backoff { base_millis: 1000, cap_millis: 60_000 };
        assert_eq!(backoff.wait_honouring(1, Share(1 << 31), Some(30)), 30_500);
        assert_eq!(backoff.wait_honouring(1, Share(1 << 31), Some(u64::MAX)), 3_600_500);
    }

    #[test]
    fn first_polls_of_a_fleet_are_spread_over_the_whole_interval() {
        let mut tenths = [0u32; 10];
        for number in 0..1000 {
            let mut draws = Draws::new(&device(&format!("kiosk-{number}")), 1, "poll");
            let millis = first_poll_millis(60, draws.draw());
            tenths[usize::try_from(millis / 6000).expect("not negative")] += 1;
        }
        // Even would be 100 each; three standard deviations are about 30.
        assert!(tenths.iter().all(|count| (70..=130).contains(count)), "{tenths:?}");
    }

    #[test]
    fn starts_and_purposes_have_their_own_streams() {
        let first = |start, purpose| Draws::new(&device("a"), start, purpose).draw();
        assert_ne!(first(1, "poll"), first(2, "poll"));
        assert_ne!(first(1, "poll"), first(1, "report"));
        let mut draws = Draws::new(&device("a"), 1, "poll");
        assert_ne!(draws.draw(), draws.draw());
    }

    proptest! {
        #[test]
        fn every_wait_lies_within_its_bounds(failures: u32, share: u32, interval in 1u32..=86_400, after: Option<u64>) {
            let backoff = Backoff { base_millis: 500, cap_millis: 300_000 };
            let wait = backoff.wait_honouring(failures, Share(share), after);
            prop_assert!((MIN_WAIT_MILLIS..=3_600_000 + 300_000).contains(&wait));
            let span = i64::from(interval) * 1000;
            prop_assert!((0..span).contains(&first_poll_millis(interval, Share(share))));
            prop_assert!((span * 9 / 10..=span * 11 / 10).contains(&next_poll_millis(interval, Share(share))));
        }
    }
}
