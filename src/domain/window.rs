//! Maintenance windows: when a device may fetch and when it may change.
//!
//! A window is a stretch of the time that clocks on the wall show: it opens whenever the local date and time match its
//! [`Schedule`], and is open for as long as local time lies within its length from there. It is never open when a clock on the
//! wall shows another time, also where clocks are set:
//!
//! - Clocks go forward: the hour that is left out is missing from the window, and a window that lies wholly within that hour
//!   does not open that day.
//! - Clocks go back: the hour that comes twice counts twice. A window that ends within it closes, and opens again when the
//!   clocks show its time once more.
//!
//! Counting the length in elapsed time instead would keep a device busy an hour into the opening hours of the shop that it
//! stands in, once a year.
//!
//! A window carries the rule of its time zone as POSIX writes it (`STD-1DST,M3.5.0,M10.5.0/3`), so that whoever evaluates it
//! needs no database of time zones.

mod schedule;
#[cfg(all(test, feature = "repo"))]
mod tests;
mod timeline;

pub use schedule::{Schedule, ScheduleError};

use super::time::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The longest window, in minutes: a week. One that is open longer is no window; several may lie end to end.
pub const MAX_WINDOW_MINUTES: u32 = 7 * 24 * 60;

/// The longest rule of a time zone, in bytes. The longest in use has about 40.
const MAX_RULE_BYTES: usize = 100;

/// The offset of a place's clocks, now and over the year, as POSIX writes it in `TZ`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ZoneRule(String);

/// The text is no rule of a time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a POSIX rule of a time zone such as `STD-1DST,M3.5.0,M10.5.0/3`")]
pub struct ZoneRuleError(pub String);

impl ZoneRule {
    /// The rule as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn zone(&self) -> TimeZone {
        TimeZone::posix(&self.0).expect("a rule is checked when it is made")
    }
}

impl FromStr for ZoneRule {
    type Err = ZoneRuleError;
    fn from_str(text: &str) -> Result<Self, ZoneRuleError> {
        let fits = text.len() <= MAX_RULE_BYTES && TimeZone::posix(text).is_ok();
        fits.then(|| Self(text.to_owned())).ok_or_else(|| ZoneRuleError(text.chars().take(MAX_RULE_BYTES).collect()))
    }
}

impl TryFrom<String> for ZoneRule {
    type Error = ZoneRuleError;
    fn try_from(text: String) -> Result<Self, ZoneRuleError> {
        text.parse()
    }
}

impl From<ZoneRule> for String {
    fn from(rule: ZoneRule) -> Self {
        rule.0
    }
}

impl fmt::Display for ZoneRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long a window is, in minutes: 1 to [`MAX_WINDOW_MINUTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Minutes(u32);

/// A window cannot be this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a window is 1 to {MAX_WINDOW_MINUTES} minutes long, not {0}")]
pub struct MinutesError(pub u32);

impl Minutes {
    /// The number of minutes.
    pub fn count(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Minutes {
    type Error = MinutesError;
    fn try_from(minutes: u32) -> Result<Self, MinutesError> {
        (1..=MAX_WINDOW_MINUTES).contains(&minutes).then_some(Self(minutes)).ok_or(MinutesError(minutes))
    }
}

impl From<Minutes> for u32 {
    fn from(minutes: Minutes) -> Self {
        minutes.0
    }
}

/// Shown as `90m`, `2h`, `1h30m`.
impl fmt::Display for Minutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 60, self.0 % 60) {
            (0, minutes) => write!(f, "{minutes}m"),
            (hours, 0) => write!(f, "{hours}h"),
            (hours, minutes) => write!(f, "{hours}h{minutes}m"),
        }
    }
}

/// One recurring stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// When it opens, in local time.
    pub opens: Schedule,
    /// How long it is open, in local time.
    pub minutes: Minutes,
    /// What local time is.
    pub zone: ZoneRule,
}

/// Shown as `30 2 * * 1-5 for 2h (STD-1DST,M3.5.0,M10.5.0/3)`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { opens, minutes, zone } = self;
        write!(f, "{opens} for {minutes} ({zone})")
    }
}

/// Windows for one purpose: open while at least one of them is. None at all means that there is no restriction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Windows(pub BTreeSet<Window>);

impl FromIterator<Window> for Windows {
    fn from_iter<T: IntoIterator<Item = Window>>(windows: T) -> Self {
        Self(windows.into_iter().collect())
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join("; "))
    }
}

/// How windows stand at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// There are no windows, so everything is allowed at any time.
    Unrestricted,
    /// At least one is open.
    Open {
        /// When the last of those that follow without a break closes; `None` if that is more than a week away.
        closes: Option<Timestamp>,
    },
    /// None is open.
    Closed {
        /// When the next one opens; `None` if none does within nine years.
        opens: Option<Timestamp>,
    },
}

impl Windows {
    /// Whether there is no restriction.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is open, or there are none.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.is_empty() || self.0.iter().any(|window| window.is_open(at))
    }

    /// From when on one of them is open: `at` itself if one is open then; `None` if none opens within nine years.
    pub fn next_opening(&self, at: Timestamp) -> Option<Timestamp> {
        if self.is_open(at) {
            return Some(at);
        }
        self.0.iter().filter_map(|window| window.next_change(at)).min()
    }

    /// Until when they are open without a break; `None` if none is open at `at`, if there are none at all, and if the end is
    /// more than a week away.
    pub fn closes_at(&self, at: Timestamp) -> Option<Timestamp> {
        let far = at.plus_secs(timeline::FAR_SECS);
        let mut until = at;
        // Each round goes to the end of a window, and no more than one minute's worth of them fits into what is looked at.
        while until < far {
            let open = self.0.iter().filter(|window| window.is_open(until));
            let ends: Vec<Option<Timestamp>> = open.map(|window| window.next_change(until)).collect();
            match ends.iter().copied().max() {
                None => return (until > at).then_some(until),
                // `None` is less than any moment, and means a far one.
                Some(_) if ends.contains(&None) => return None,
                Some(end) => until = end?,
            }
        }
        None
    }

    /// What a clock on the wall shows at a moment, where a window that is open then is: `Sun 02:00`.
    pub fn local_clock(&self, at: Timestamp) -> Option<String> {
        self.0.iter().find(|window| window.is_open(at))?.local_clock(at)
    }

    /// How they stand.
    pub fn opening(&self, at: Timestamp) -> Opening {
        match (self.is_empty(), self.is_open(at)) {
            (true, _) => Opening::Unrestricted,
            (false, true) => Opening::Open { closes: self.closes_at(at) },
            (false, false) => Opening::Closed { opens: self.next_opening(at) },
        }
    }
}
