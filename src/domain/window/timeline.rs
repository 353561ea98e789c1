//! A window on the line of time: between two settings of the clocks, local time and time run in parallel.

use super::Window;
use super::schedule::Schedule;
use crate::domain::time::Timestamp;
use jiff::tz::TimeZone;

/// How far ahead the end of an open window is looked for: longer than any single window.
pub(super) const FAR_SECS: i64 = 8 * 86_400;
/// How far ahead an opening is looked for: nine years, because up to eight lie between two leap days.
const HORIZON_SECS: i64 = (9 * 365 + 3) * 86_400;
/// How many settings of the clocks are passed on the way. Rules have two a year.
const MAX_SETTINGS: usize = 32;
const MILLIS_PER_MINUTE: i64 = 60_000;

/// The clocks of a place from one moment to the next setting.
struct Stretch {
    /// What is added to time to get local time, in milliseconds.
    offset: i64,
    /// When the clocks are set next.
    ends: Option<Timestamp>,
}

impl Stretch {
    fn at(zone: &TimeZone, at: Timestamp) -> Option<Self> {
        let moment = jiff::Timestamp::from_millisecond(at.millis()).ok()?;
        let offset = i64::from(zone.to_offset(moment).seconds()) * 1000;
        let next = zone.following(moment).next();
        Some(Self { offset, ends: next.map(|next| Timestamp::from_millis(next.timestamp().as_millisecond())) })
    }

    /// The minute that a clock on the wall shows.
    fn local_minute(&self, at: Timestamp) -> i64 {
        at.millis().saturating_add(self.offset).div_euclid(MILLIS_PER_MINUTE)
    }

    /// When a clock on the wall shows a minute, if the clocks are not set before.
    fn moment(&self, local_minute: i64) -> Timestamp {
        Timestamp::from_millis(local_minute.saturating_mul(MILLIS_PER_MINUTE).saturating_sub(self.offset))
    }
}

impl Window {
    /// Whether a clock on the wall shows a time within the window. Outside the years that a calendar can write, never.
    pub fn is_open(&self, at: Timestamp) -> bool {
        Stretch::at(&self.zone.zone(), at).is_some_and(|stretch| self.covers(stretch.local_minute(at)))
    }

    /// When it opens next, or, while it is open, when it closes. `None` if that is too far away to be looked for.
    pub fn next_change(&self, at: Timestamp) -> Option<Timestamp> {
        let zone = self.zone.zone();
        let mut stretch = Stretch::at(&zone, at)?;
        let open = self.covers(stretch.local_minute(at));
        let far = at.plus_secs(if open { FAR_SECS } else { HORIZON_SECS });
        let mut from = at;
        for _ in 0..MAX_SETTINGS {
            let ends = stretch.ends.map_or(far, |ends| ends.min(far));
            let local = stretch.local_minute(from);
            let last = stretch.local_minute(ends);
            let change = if open { self.end_of_cover(local, last) } else { self.opens.next(local, last) };
            let change = change.map(|minute| stretch.moment(minute)).filter(|moment| *moment < ends);
            if change.is_some() {
                return change;
            }
            if ends >= far {
                return None;
            }
            from = ends;
            stretch = Stretch::at(&zone, from)?;
            if self.covers(stretch.local_minute(from)) != open {
                return Some(from);
            }
        }
        None
    }

    pub(super) fn local_clock(&self, at: Timestamp) -> Option<String> {
        let local = Stretch::at(&self.zone.zone(), at)?.local_minute(at);
        let (day, minute) = (local.div_euclid(24 * 60), local.rem_euclid(24 * 60));
        // 1970 began on a Thursday.
        let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][usize::try_from(day.rem_euclid(7)).ok()?];
        Some(format!("{weekday} {:02}:{:02}", minute / 60, minute % 60))
    }

    fn length(&self) -> i64 {
        i64::from(self.minutes.count())
    }

    fn covers(&self, local: i64) -> bool {
        self.opens.last(local, local - self.length() + 1).is_some()
    }

    /// The first minute after an open one that is not covered, at most `last`.
    fn end_of_cover(&self, local: i64, last: i64) -> Option<i64> {
        let length = self.length();
        let reach = |opens: &Schedule, from: i64| opens.last(from, from - length).map(|start| start + length);
        let mut end = local;
        while end <= last {
            match reach(&self.opens, end) {
                Some(farther) if farther > end => end = farther,
                Some(_) | None => return Some(end),
            }
        }
        None
    }
}
