//! Freezes: times in which nothing new is offered to anybody, such as the last week of the year.

use crate::domain::time::Timestamp;
use crate::domain::window::{Opening, Windows};
use serde::{Deserialize, Serialize};

/// How many freezes a fleet may have. Every look at a rollout looks at all of them.
pub const MAX_FREEZES: usize = 64;

/// A time in which nothing new is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Why, for people.
    pub reason: String,
    /// When.
    pub when: FreezeTime,
}

/// When a freeze is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FreezeTime {
    /// Once.
    Between {
        /// The first moment.
        from: Timestamp,
        /// The first moment after it.
        until: Timestamp,
    },
    /// Again and again, while one of these is open.
    Windows(Windows),
}

/// Every freeze of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Freezes(pub Vec<Freeze>);

/// How freezes stand at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weather {
    /// None is on.
    Fair {
        /// When the next one begins; `None` if none is known to.
        until: Option<Timestamp>,
    },
    /// One is on.
    Frozen {
        /// Why.
        reason: String,
        /// When this one ends; `None` if that is more than a week away. Another may follow.
        until: Option<Timestamp>,
    },
}

impl Freeze {
    fn weather(&self, now: Timestamp) -> Weather {
        let reason = || self.reason.clone();
        match &self.when {
            FreezeTime::Between { from, until } if *from <= now && now < *until => {
                Weather::Frozen { reason: reason(), until: Some(*until) }
            }
            FreezeTime::Between { from, .. } => Weather::Fair { until: Some(*from).filter(|from| now < *from) },
            FreezeTime::Windows(windows) => match windows.opening(now) {
                Opening::Open { closes } => Weather::Frozen { reason: reason(), until: closes },
                Opening::Closed { opens } => Weather::Fair { until: opens },
                // No windows freeze nothing.
                Opening::Unrestricted => Weather::Fair { until: None },
            },
        }
    }
}

impl Freezes {
    /// How they stand: the freeze that ends last, where several are on.
    pub fn weather(&self, now: Timestamp) -> Weather {
        let mut all = Weather::Fair { until: None };
        for freeze in &self.0 {
            all = match (all, freeze.weather(now)) {
                (Weather::Fair { until: one }, Weather::Fair { until: other }) => {
                    Weather::Fair { until: one.into_iter().chain(other).min() }
                }
                (Weather::Fair { .. }, frozen) | (frozen, Weather::Fair { .. }) => frozen,
                (Weather::Frozen { reason: a, until: one }, Weather::Frozen { reason: b, until: other }) => {
                    let longer = match (one, other) {
                        (None, _) => true,
                        (_, None) => false,
                        (Some(one), Some(other)) => one >= other,
                    };
                    let (reason, until) = if longer { (a, one) } else { (b, other) };
                    Weather::Frozen { reason, until }
                }
            };
        }
        all
    }

    /// Whether one is on.
    pub fn is_frozen(&self, now: Timestamp) -> bool {
        matches!(self.weather(now), Weather::Frozen { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::window::Window;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    fn freezes() -> Freezes {
        let friday = Window {
            opens: "0 12 * * fri".parse().expect("a schedule"),
            minutes: (36 * 60).try_into().expect("a length"),
            zone: "CET-1CEST,M3.5.0,M10.5.0/3".parse().expect("a rule"),
        };
        Freezes(vec![
            Freeze {
                reason: "end of year".to_owned(),
                when: FreezeTime::Between { from: at("2026-12-18T00:00:00Z"), until: at("2027-01-04T00:00:00Z") },
            },
            Freeze {
                reason: "no change on Fridays".to_owned(),
                when: FreezeTime::Windows([friday].into_iter().collect()),
            },
        ])
    }

    #[test]
    fn the_freeze_that_ends_last_is_the_one_that_is_shown() {
        let shown = |text: &str| match freezes().weather(at(text)) {
            Weather::Fair { until } => format!("{text}: fair until {until:?}"),
            Weather::Frozen { reason, until } => format!("{text}: {reason} until {until:?}"),
        };
        let cases = [
            "2026-12-16T10:00:00Z",
            "2026-12-11T11:00:00Z",
            "2026-12-18T11:00:00Z",
            "2027-01-03T23:59:59Z",
            "2027-01-04T00:00:00Z",
        ];
        insta::assert_snapshot!(cases.map(shown).join("\n"), @r"
        2026-12-16T10:00:00Z: fair until Some(2026-12-18T00:00:00Z)
        2026-12-11T11:00:00Z: no change on Fridays until Some(2026-12-12T23:00:00Z)
        2026-12-18T11:00:00Z: end of year until Some(2027-01-04T00:00:00Z)
        2027-01-03T23:59:59Z: end of year until Some(2027-01-04T00:00:00Z)
        2027-01-04T00:00:00Z: fair until Some(2027-01-08T11:00:00Z)
        ");
    }

    #[test]
    fn no_freezes_freeze_nothing() {
        assert_eq!(Freezes::default().weather(Timestamp::EPOCH), Weather::Fair { until: None });
        let none = FreezeTime::Windows(Windows::default());
        assert!(!Freezes(vec![Freeze { reason: String::new(), when: none }]).is_frozen(Timestamp::EPOCH));
    }
}
