//! The policies that every fleet has without writing one.

use super::gate::Gate;
use super::policy::{Policy, Selector, StepPolicy};
use super::share::{Amount, Share};
use crate::domain::ids::PolicyName;

const HOUR: u32 = 3600;
const DAY: u32 = 24 * HOUR;

/// A policy that every fleet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Everybody at once.
    Immediate,
    /// One in a hundred, one in ten, everybody, over a day and a half.
    Cautious,
    /// The group `canaries` first.
    CanaryFirst,
    /// Everybody over two days and two nights, after one in twenty.
    Weekend,
}

impl Ready {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Immediate, Self::Cautious, Self::CanaryFirst, Self::Weekend];

    /// The name under which `fleet.yml` refers to it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Cautious => "cautious",
            Self::CanaryFirst => "canary-first",
            Self::Weekend => "weekend",
        }
    }

    /// The ready policy of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ready| ready.name() == name)
    }

    /// The policy.
    pub fn policy(self) -> Policy {
        let name = PolicyName::new(self.name()).expect("a fixed text that keeps the rule");
        let mut policy = Policy::new(name);
        match self {
            Self::Immediate => {}
            Self::Cautious => {
                policy.steps = vec![
                    StepPolicy { window_secs: HOUR, ..share_of_all("one in a hundred", 1, 2 * HOUR) },
                    StepPolicy { window_secs: 6 * HOUR, ..share_of_all("one in ten", 10, 2 * HOUR) },
                ];
                policy.last.window_secs = DAY;
                policy.last.soak_secs = 10 * 60;
            }
            Self::CanaryFirst => {
                policy.steps = vec![StepPolicy {
                    gate: Gate { min_reports: Share::percent(80), min_success: Share::ALL },
                    soak_secs: 30 * 60,
                    timeout_secs: 4 * HOUR,
                    ..StepPolicy::with_defaults("canaries", Selector::Group("canaries".to_owned()))
                }];
                policy.last.window_secs = 4 * HOUR;
                policy.last.soak_secs = 10 * 60;
            }
            Self::Weekend => {
                policy.steps = vec![StepPolicy { window_secs: 4 * HOUR, ..share_of_all("one in twenty", 5, 4 * HOUR) }];
                policy.last.window_secs = 40 * HOUR;
                policy.last.soak_secs = 10 * 60;
            }
        }
        policy
    }
}

/// A step of a share of all devices, by rank, that must work on all of them.
fn share_of_all(name: &str, percent: u16, timeout_secs: u32) -> StepPolicy {
    StepPolicy {
        take: Some(Amount::Share(Share::percent(percent))),
        timeout_secs,
        gate: Gate { min_reports: Share::percent(80), min_success: Share::percent(99) },
        soak_secs: 30 * 60,
        ..StepPolicy::with_defaults(name, Selector::All)
    }
}
