//! A clock that runs only while a step does, so that a pause takes nothing away from a step's window.

use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How long a step has been running, pauses left out.
///
/// It never goes backwards: where the clock on the wall is set back, it stands still until that is made up for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveClock {
    /// What it showed when it was stopped or started last, in milliseconds.
    shown_ms: u64,
    /// Since when it runs again; `None` while it stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
}

impl ActiveClock {
    /// A clock that shows nothing and stands still.
    pub const STOPPED: Self = Self { shown_ms: 0, since: None };

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.since.is_some()
    }

    /// What it shows, in milliseconds.
    pub fn shown_ms(&self, now: Timestamp) -> u64 {
        let running = self.since.map_or(0, |since| now.millis().saturating_sub(since.millis()));
        self.shown_ms.saturating_add(u64::try_from(running).unwrap_or(0))
    }

    /// When it will show so many milliseconds, or did; `None` while it stands still and shows less.
    pub fn shows_at(&self, shown_ms: u64, now: Timestamp) -> Option<Timestamp> {
        match (self.since, shown_ms.checked_sub(self.shown_ms)) {
            (_, None | Some(0)) => Some(self.since.unwrap_or(now).min(now)),
            (None, Some(_)) => None,
            (Some(since), Some(left)) => Some(since.plus_millis(i64::try_from(left).unwrap_or(i64::MAX))),
        }
    }

    /// The clock running. One that runs already goes on.
    pub fn started(self, now: Timestamp) -> Self {
        Self { since: self.since.or(Some(now)), ..self }
    }

    /// The clock standing still at what it shows.
    pub fn stopped(self, now: Timestamp) -> Self {
        Self { shown_ms: self.shown_ms(now), since: None }
    }

    /// The clock as if the time from `from` to `now` had not been: nobody was there to let anything happen.
    ///
    /// Without this, everybody whose time came meanwhile would come at once.
    pub fn without(self, from: Timestamp, now: Timestamp) -> Self {
        let Some(since) = self.since else { return self };
        let stopped = self.stopped(from.max(since).min(now.max(since)));
        stopped.started(now.max(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn a_pause_is_not_counted() {
        let clock = ActiveClock::STOPPED.started(at(100)).stopped(at(160)).started(at(1000));
        assert_eq!(clock.shown_ms(at(1000)), 60_000);
        assert_eq!(clock.shows_at(90_000, at(1000)), Some(at(1030)));
        assert_eq!(clock.stopped(at(1010)).shows_at(90_000, at(1010)), None);
    }

    #[test]
    fn time_in_which_nobody_was_there_is_not_counted() {
        let clock = ActiveClock::STOPPED.started(at(0)).without(at(60), at(3600));
        assert_eq!(clock.shown_ms(at(3600)), 60_000);
        assert_eq!(clock.shown_ms(at(3660)), 120_000);
    }

    proptest! {
        #[test]
        fn a_clock_shows_what_it_said_that_it_would(
            acts in prop::collection::vec((0_i64..100, any::<bool>()), 0..20), ask in 0_u64..2_000_000,
        ) {
            let (mut now, mut clock, mut last) = (at(0), ActiveClock::STOPPED, 0);
            for (secs, runs) in acts {
                now = now.plus_secs(secs);
                clock = if runs { clock.started(now) } else { clock.stopped(now) };
                prop_assert!(clock.shown_ms(now) >= last, "it never goes back");
                last = clock.shown_ms(now);
            }
            match clock.shows_at(ask, now) {
                Some(then) if then > now => prop_assert_eq!(clock.shown_ms(then), ask),
                Some(_) => prop_assert!(clock.shown_ms(now) >= ask),
                None => prop_assert!(!clock.runs() && clock.shown_ms(now) < ask),
            }
        }
    }
}
